"""The winner's score without the luck of having been chosen, from what the trials have kept."""

import numpy as np

from hpo.result import StudyResult
from hpo.statistics.selection_bias import N_BOOTSTRAPS, CorrectedScore, corrected_score
from hpo.trial import TrialState

__all__ = ["corrected"]

_WORK, _FEWEST = 1e11, 50
"""Products of scores and bootstrap samples that are summed up, and least number of the latter."""


def corrected(result: StudyResult) -> CorrectedScore | None:
    """Return the corrected score of a study's winner; None if it cannot be told.

    Candidates are all trials that ended by themselves or were pruned, with each of their epochs, or
    their last ones where these represent the trials.

    Parameters
    ----------
    result : StudyResult
        The trials of the study, and where their out-of-fold predictions are.
    """
    files = result.out_of_fold
    ended = [r for r in result.records if r.state in {TrialState.COMPLETE, TrialState.PRUNED}]
    chosen = [record for record in ended if record.best_report]
    if files is None or result.winner is None or not chosen:
        return None
    known = [files.row_scores(record.number) for record in chosen]
    if any(
        rows is None or len(rows.steps) != record.last_step
        for rows, record in zip(known, chosen, strict=True)
    ):
        return None  # those that are known are not the trials that the winner was chosen from
    study = files.rows
    last = result.select == "last"
    parts = [rows.scores[-1:] if last else rows.scores for rows in known if rows is not None]
    trials = np.repeat([record.number for record in chosen], [len(part) for part in parts])
    scores = np.concatenate(parts)
    n_bootstraps = int(np.clip(_WORK / scores.size, _FEWEST, N_BOOTSTRAPS))
    return corrected_score(
        scores, study.folds, trials=trials, groups=study.units, n_bootstraps=n_bootstraps
    )
