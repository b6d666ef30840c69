"""Which of the complete trials wins."""

import math
from collections.abc import Mapping, Sequence

from hpo.trial import TrialRecord

__all__ = ["CHOOSE", "N_FINALISTS", "winner_of"]

CHOOSE = ("best", "one_se", "finalists")
"""How the winner is chosen; see `winner_of`."""

N_FINALISTS = 5
"""Trials that are trained again on fresh folds."""


def winner_of(
    ranked: Sequence[TrialRecord],
    choose: str = "best",
    finalists: Mapping[int, Sequence[float]] | None = None,
) -> TrialRecord | None:
    """Return the winner among the complete trials; None if there are none.

    Parameters
    ----------
    ranked : sequence of TrialRecord
        Best first.
    choose : {"best", "one_se", "finalists"}
        ``best``: the greatest score. ``one_se``: of the trials within one standard error of the
        best score, the one with the fewest steps, then the least seconds (Breiman, Friedman,
        Olshen and Stone 1984, section 3.4.3). ``finalists``: of the best trials, which are trained
        again on fresh folds, the one with the greatest mean of both scores.
    finalists : mapping of int to sequence of float
        Scores on the fresh folds by trial number.
    """
    if not ranked:
        return None
    best = ranked[0]
    if choose == "one_se":
        least = best.value - _standard_error(best)
        tied = [record for record in ranked if record.value >= least]
        return min(tied, key=lambda r: (r.refit_steps, r.cost("seconds"), r.number))
    again = finalists or {}
    known = [record for record in ranked if again.get(record.number)]
    if choose == "finalists" and known:
        return max(known, key=lambda r: (r.value + _mean(again[r.number]), -r.number))
    return best


def _standard_error(record: TrialRecord) -> float:
    values = record.best_report.fold_values if record.best_report else ()
    if len(values) < 2:
        return 0.0
    mean = _mean(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
