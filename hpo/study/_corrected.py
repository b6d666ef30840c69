"""The winner's score without the luck of having been chosen, from what the trials have kept."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hpo.result import StudyResult
from hpo.statistics.paired import corrected_resampled_se
from hpo.statistics.selection_bias import (
    FEWEST_ROWS,
    N_BOOTSTRAPS,
    Bags,
    CorrectedScore,
    corrected_score,
)
from hpo.trial import TrialRecord, TrialState

__all__ = ["CORRECTED", "corrected", "read_corrected"]

CORRECTED = "corrected"
"""Attribute of the study with its `CorrectedScore`."""

_WORK, _FEWEST = 1e11, 50
"""Products of scores and bootstrap samples that are summed up, and least number of the latter."""


def corrected(result: StudyResult) -> CorrectedScore | str:
    """Return the corrected score of a study's winner, or why it cannot be told.

    Candidates are all trials that ended by themselves or were pruned, with each of their epochs, or
    their last ones where these represent the trials. Where the folds were raced, they are the
    trials with all folds, and the rows are those of the other folds: by the first one they were
    chosen among all trials.

    Parameters
    ----------
    result : StudyResult
        The trials of the study, and where their out-of-fold predictions are.
    """
    files = result.out_of_fold
    ended = [r for r in result.records if r.state in {TrialState.COMPLETE, TrialState.PRUNED}]
    chosen = [record for record in ended if record.best_report]
    if files is None or result.winner is None or not chosen:
        return ""
    if result.choose == "finalists":
        return "fresh folds, which choose among the finalists, are not known for all trials"
    known = [files.row_scores(record.number) for record in chosen]
    n_missing = sum(
        rows is None or len(rows.steps) != record.last_step
        for rows, record in zip(known, chosen, strict=True)
    )
    if n_missing == len(chosen) and files.exists:
        return "the scorer's value is not known as a mean over rows"
    if n_missing:  # the winner was chosen from all
        return f"what {n_missing} of {len(chosen)} trials predicted is not kept on this machine"
    study = files.rows
    n_screened = sum(bool(r.screening) and not r.reports for r in ended)
    # In a race the trials that are left were chosen by their first fold: it says too much good.
    fair = study.folds > 0 if any(record.screening for record in chosen) else study.folds >= 0
    last = result.select == "last"
    parts = [rows.scores[-1:] if last else rows.scores for rows in known if rows is not None]
    trials = np.repeat([record.number for record in chosen], [len(part) for part in parts])
    scores = np.concatenate(parts)[:, fair]
    costs = _costs(chosen, [len(part) for part in parts]) if result.choose == "one_se" else None
    labels = None if study.labels is None else study.labels[fair]
    n_bootstraps = int(np.clip(_WORK / scores.size, _FEWEST, N_BOOTSTRAPS))
    report = result.winner.best_report
    training_se = corrected_resampled_se(report.fold_values, result.fold_sizes) if report else 0.0
    found = corrected_score(
        scores,
        Bags(study.folds[fair], study.units[fair], labels=labels, n=n_bootstraps),
        trials=trials,
        training_se=0.0 if math.isnan(training_se) else training_se,
        costs=costs,
    )
    if found and n_screened:
        return replace(found, n_candidates=len(chosen) + n_screened)
    return found or f"there are fewer than {FEWEST_ROWS} independent rows"


def _costs(records: Sequence[TrialRecord], n_steps: Sequence[int]) -> np.ndarray:
    """Return the rank of each candidate by what ``choose="one_se"`` calls cheap, epochs first.

    Pruned trials, which cannot win, are the last choice.
    """
    keys = [
        (
            record.state is TrialState.PRUNED,
            record.last_step - n + 1 + step,
            record.cost("seconds"),
            record.number,
        )
        for record, n in zip(records, n_steps, strict=True)
        for step in range(n)
    ]
    ranks = np.empty(len(keys))
    ranks[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    return ranks


def read_corrected(found: CorrectedScore | Mapping[str, Any] | str | None) -> dict[str, Any]:
    """Return the fields of a `StudyResult` from what `corrected` returned, or from the storage."""
    if isinstance(found, Mapping):
        found = CorrectedScore(**found)
    if isinstance(found, CorrectedScore):
        return {"corrected": found}
    return {"uncorrected": found or ""}
