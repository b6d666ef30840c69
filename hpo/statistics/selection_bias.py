"""The score of a winner without the luck that made it win (BBC-CV).

Tsamardinos, Greasidou and Borboudakis (2018): Bootstrapping the out-of-sample predictions for
efficient and accurate cross-validation. Machine Learning 107.
"""

from dataclasses import dataclass

import numpy as np

from hpo.statistics.intervals import LEVEL

__all__ = ["FEWEST_ROWS", "N_BOOTSTRAPS", "CorrectedScore", "corrected_score"]

FEWEST_ROWS = 20
"""Independent rows (or groups) below which nothing is said."""

N_BOOTSTRAPS = 500

_BYTES_AT_A_TIME = 2**27


@dataclass(frozen=True, slots=True)
class CorrectedScore:
    """What the winner of a search would score on new rows.

    Parameters
    ----------
    value : float
    low, high : float
        Interval of 95 %.
    se : float
        Standard error of ``value``.
    n_candidates : int
        Trials among which the winner was chosen, stopped ones included.
    """

    value: float
    low: float
    high: float
    se: float
    n_candidates: int

    @property
    def interval(self) -> tuple[float, float]:
        """``low`` and ``high``."""
        return self.low, self.high


def corrected_score(
    scores: np.ndarray,
    folds: np.ndarray,
    *,
    trials: np.ndarray,
    groups: np.ndarray | None = None,
    training_se: float = 0.0,
    seed: int = 0,
    n_bootstraps: int = N_BOOTSTRAPS,
) -> CorrectedScore | None:
    """Return the score of the winner, corrected for having been chosen by the same rows.

    The choice is repeated: rows are drawn with replacement within each fold, the candidate with
    the greatest score (the mean over folds of the mean over rows) on the drawn rows is chosen, and
    scored on the rows that were not drawn. The mean of these scores is the corrected one. Their
    spread is that of the mean of the rows out of the bag, a share p of all rows; the interval is
    narrower than their quantiles by ``sqrt(p / (1 - p))``, because all rows enter into the mean.

    Everything that was chosen by the rows has to be a candidate. A trial has one for each of its
    epochs if its best one represents it, and trials that were stopped are candidates too: they
    were stopped because of the same rows, so that without them those that remain would look good.

    Parameters
    ----------
    scores : ndarray of shape (n_candidates, n_rows)
        Out-of-fold scores of each row.
    folds : ndarray of shape (n_rows,)
        Number of each row's fold; a row that is validated several times stands in several columns.
    trials : ndarray of shape (n_candidates,)
        Number of each candidate's trial; they are counted.
    groups : ndarray of shape (n_rows,) or None
        Rows with the same value are drawn together: those of one subject, or the columns of one
        row. None means that all are independent.
    training_se : float, default=0.0
        Least standard error: what other training sets would change.
    seed : int
    n_bootstraps : int

    Returns
    -------
    CorrectedScore or None
        None with fewer independent rows than `FEWEST_ROWS`.
    """
    units = np.arange(len(folds)) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_units = int(units.max()) + 1 if len(units) else 0
    if n_units < FEWEST_ROWS or not len(scores):
        return None
    rng = np.random.default_rng(seed)
    in_bag, out_of_bag = _weights(folds, units, n_units, rng, n_bootstraps)
    n_trials = len(np.unique(trials))
    best = np.full(n_bootstraps, -np.inf)
    chosen = np.full(n_bootstraps, np.nan)
    at_a_time = max(1, _BYTES_AT_A_TIME // (4 * scores.shape[1]))
    for start in range(0, len(scores), at_a_time):
        some = scores[start : start + at_a_time].astype(np.float32)
        inside, outside = some @ in_bag, some @ out_of_bag
        first = inside.argmax(axis=0)
        value = np.take_along_axis(inside, first[None], 0)[0]
        better = value > best
        best = np.where(better, value, best)
        chosen = np.where(better, np.take_along_axis(outside, first[None], 0)[0], chosen)
    finite = chosen[np.isfinite(chosen)]
    if len(finite) < n_bootstraps / 2:
        return None
    value = float(finite.mean())
    # A score out of the bag is the mean of a share of the rows, drawn without replacement, which
    # varies more than the mean of all rows.
    outside_share = (out_of_bag > 0).mean()
    shrink = float(np.sqrt(outside_share / (1 - outside_share)))
    se = shrink * float(finite.std(ddof=1))
    widen = shrink * max(1.0, training_se / se if se else 1.0)
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return CorrectedScore(
        value=value,
        low=value - widen * (value - float(low)),
        high=value + widen * (float(high) - value),
        se=max(se, training_se),
        n_candidates=n_trials,
    )


def _weights(
    folds: np.ndarray, units: np.ndarray, n_units: int, rng: np.random.Generator, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights of the rows, (n_rows, n), in the bag and out of it; each sums up to 1.

    Units are drawn within each set of those that lie in the same folds, so that no fold is empty.
    """
    n_rows = len(folds)
    names, of_row = np.unique(folds, return_inverse=True)
    within = np.zeros((n_units, len(names)), dtype=bool)
    within[units, of_row] = True
    strata = np.unique(within, axis=0, return_inverse=True)[1]
    counts = np.zeros((n_units, n), dtype=np.int32)
    for stratum in range(int(strata.max()) + 1):
        members = np.flatnonzero(strata == stratum)
        drawn = rng.integers(len(members), size=(len(members), n))
        for b in range(n):
            counts[members, b] = np.bincount(drawn[:, b], minlength=len(members))
    inside = counts[units].astype(np.float32)
    outside = (inside == 0).astype(np.float32)
    for fold in range(len(names)):
        rows = of_row == fold
        for weights in (inside, outside):
            total = weights[rows].sum(axis=0, keepdims=True)
            with np.errstate(invalid="ignore", divide="ignore"):
                weights[rows] /= total * len(names)
    assert inside.shape == (n_rows, n)
    return inside, outside
