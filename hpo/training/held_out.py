"""The score of a fitted estimator on held-out rows, with its interval."""

from typing import Any

from hpo.statistics.intervals import interval_of_mean
from hpo.training.adapters import last_step
from hpo.training.indexing import as_numpy, n_samples
from hpo.training.row_formulas import row_formula
from hpo.training.row_scores import is_mean, watched
from hpo.training.scoring import Scoring

__all__ = ["held_out_score"]

_UNKNOWN = (float("nan"), float("nan"))


def held_out_score(
    estimator: Any, scoring: Scoring, X: Any, y: Any
) -> tuple[float, tuple[float, float]]:
    """Return the score on held-out rows and its interval, for independent rows.

    The interval is exact for an accuracy, and otherwise from a bootstrap of the rows. It holds for
    this fitted estimator: that another training set would give another one is not in it.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    scoring : Scoring
    X, y : data of n_rows rows

    Returns
    -------
    score : float
    interval : (float, float)
        nan where the scorer is a function of the user's own, or y is None.
    """
    targets = as_numpy(y)
    final = last_step(estimator)
    with watched(final, n_samples(X)) as predicted:
        scores = scoring(estimator, X, y)
    score = scores[scoring.main(scores)]
    formula = row_formula(scoring, final)
    rows = None if formula is None or targets is None else formula(predicted, targets)
    if rows is not None and is_mean(rows, score):
        return score, interval_of_mean(rows)
    return score, _UNKNOWN
