"""Scores without the luck of having been chosen (BBC-CV).

Tsamardinos, Greasidou and Borboudakis (2018): Bootstrapping the out-of-sample predictions for
efficient and accurate cross-validation. Machine Learning 107.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hpo.statistics.intervals import LEVEL

__all__ = ["FEWEST_ROWS", "N_BOOTSTRAPS", "Bags", "CorrectedScore", "corrected_score"]

FEWEST_ROWS = 20
"""Independent rows (or groups) below which nothing is said."""

N_BOOTSTRAPS = 500

_BYTES_AT_A_TIME = 2**27


class Bags:
    """Bootstrap samples of validated rows, and the rows that each of them leaves out.

    Rows are drawn with replacement within each fold.

    Parameters
    ----------
    folds : ndarray of shape (n_rows,)
        Number of each row's fold; a row that is validated several times stands in several columns.
    groups : ndarray of shape (n_rows,) or None
        Rows with the same value are drawn together: those of one subject, or the columns of one
        row. None means that all are independent.
    labels : ndarray of shape (n_rows,) or None
        Rows are drawn within their class, too: a model that prefers a class would otherwise look
        good in samples that happen to have many rows of it, and bad on those that are left.
    n : int
        Number of samples.
    seed : int
    """

    def __init__(
        self,
        folds: np.ndarray,
        groups: np.ndarray | None = None,
        *,
        labels: np.ndarray | None = None,
        n: int = N_BOOTSTRAPS,
        seed: int = 0,
    ) -> None:
        units = np.arange(len(folds)) if groups is None else groups
        self._units = np.unique(units, return_inverse=True)[1]
        self._folds = np.unique(folds, return_inverse=True)[1]
        self._labels = None if labels is None else np.unique(labels, return_inverse=True)[1]
        self._n, self._seed = n, seed
        self.n_units = int(self._units.max()) + 1 if len(folds) else 0

    @property
    def shrink(self) -> float:
        """Ratio of the standard error of a mean over all rows to that of scores out of the bags.

        A score out of a bag is the mean of a share ``p`` of the rows, drawn without replacement.
        Its variance is ``(1 - p) / p`` times that of the mean of all rows.
        """
        share = float((self.weights[1] > 0).mean())
        return float(np.sqrt(share / (1 - share)))

    def chosen(self, scores: np.ndarray) -> np.ndarray:
        """Return what the candidate that is the best in each bag scores out of it.

        Parameters
        ----------
        scores : ndarray of shape (n_candidates, n_rows)
            Out-of-fold scores of each row. A candidate's score is the mean over folds of the mean
            over their rows.

        Returns
        -------
        ndarray of shape (n,)
            nan where a fold has no row out of the bag.
        """
        inside, outside = self.weights
        best = np.full(self._n, -np.inf)
        chosen = np.full(self._n, np.nan)
        at_a_time = max(1, _BYTES_AT_A_TIME // (4 * scores.shape[1]))
        for start in range(0, len(scores), at_a_time):
            some = scores[start : start + at_a_time].astype(np.float32)
            in_bag, out_of_bag = some @ inside, some @ outside
            first = in_bag.argmax(axis=0)[None]
            value = np.take_along_axis(in_bag, first, 0)[0]
            better = value > best
            best = np.where(better, value, best)
            chosen = np.where(better, np.take_along_axis(out_of_bag, first, 0)[0], chosen)
        return chosen

    def cheapest(self, scores: np.ndarray, trials: np.ndarray, costs: np.ndarray) -> np.ndarray:
        """Return what the cheapest trial within one standard error of the best scores out of it.

        A trial's score in a bag is that of its best candidate. The standard error is that of the
        best one in the bag, over the folds of all rows: rows that are drawn twice would make it
        too large.

        Parameters
        ----------
        scores : ndarray of shape (n_candidates, n_rows)
            See `chosen`.
        trials : ndarray of shape (n_candidates,)
            Number of each candidate's trial, in ascending order.
        costs : ndarray of shape (n_candidates,)
            Smaller is cheaper; no two are equal.

        Returns
        -------
        ndarray of shape (n,)
            nan where a fold has no row out of the bag.
        """
        inside, outside = self.weights
        scores = scores.astype(np.float32)
        in_bag = scores @ inside
        of_fold = self._folds[:, None] == np.arange(int(self._folds.max()) + 1)
        means = scores @ (of_fold / of_fold.sum(axis=0)).astype(np.float32)
        n_folds = means.shape[1]
        errors = means.std(axis=1, ddof=1) / np.sqrt(n_folds) if n_folds > 1 else np.zeros(1)
        errors = np.broadcast_to(errors, len(scores))[in_bag.argmax(axis=0)]
        starts, of_trial = np.unique(trials, return_index=True, return_inverse=True)[1:]
        of_trials = np.maximum.reduceat(in_bag, starts, axis=0)[of_trial]
        tied = (in_bag == of_trials) & (in_bag >= in_bag.max(axis=0) - errors)
        chosen = np.where(tied, costs[:, None], np.inf).argmin(axis=0)
        return np.asarray(np.einsum("bi,ib->b", scores[chosen], outside))

    @cached_property
    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the rows in each bag and out of it, (n_rows, n); each sums up to 1."""
        inside = self._counts()[self._units].astype(np.float32)
        outside = (inside == 0).astype(np.float32)
        n_folds = int(self._folds.max()) + 1
        for fold in range(n_folds):
            rows = self._folds == fold
            for weights in (inside, outside):
                total = weights[rows].sum(axis=0, keepdims=True)
                with np.errstate(invalid="ignore", divide="ignore"):
                    weights[rows] /= total * n_folds
        return inside, outside

    def _counts(self) -> np.ndarray:
        """Return how often each unit is drawn, (n_units, n).

        Units are drawn within each set of those that lie in the same folds, so that no fold is
        empty.
        """
        within = np.zeros((self.n_units, int(self._folds.max()) + 1), dtype=bool)
        within[self._units, self._folds] = True
        kinds = within.astype(np.int32)
        if self._labels is not None:  # of a group with several classes, one of them
            of_unit = np.zeros(self.n_units, dtype=np.int32)
            of_unit[self._units] = self._labels
            kinds = np.column_stack([kinds, of_unit])
        strata = np.unique(kinds, axis=0, return_inverse=True)[1].ravel()
        rng = np.random.default_rng(self._seed)
        counts = np.zeros((self.n_units, self._n), dtype=np.int32)
        for stratum in range(int(strata.max()) + 1):
            members = np.flatnonzero(strata == stratum)
            drawn = rng.integers(len(members), size=(len(members), self._n))
            flat = (drawn + len(members) * np.arange(self._n)).ravel()
            n_drawn = np.bincount(flat, minlength=len(members) * self._n)
            counts[members] = n_drawn.reshape(self._n, len(members)).T
        return counts


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
    bags: Bags,
    *,
    trials: np.ndarray,
    training_se: float = 0.0,
    costs: np.ndarray | None = None,
) -> CorrectedScore | None:
    """Return the score of the winner, corrected for having been chosen by the same rows.

    The choice is repeated in each bag, and what is chosen is scored out of it. The mean of these
    scores is the corrected one, and their spread gives its interval.

    Everything that was chosen by the rows has to be a candidate. A trial has one for each of its
    epochs if its best one represents it, and trials that were stopped are candidates too: they
    were stopped because of the same rows, so that without them those that remain would look good.

    Parameters
    ----------
    scores : ndarray of shape (n_candidates, n_rows)
        Out-of-fold scores of each row.
    bags : Bags
    trials : ndarray of shape (n_candidates,)
        Number of each candidate's trial; they are counted.
    training_se : float, default=0.0
        Least standard error: what other training sets would change.
    costs : ndarray of shape (n_candidates,) or None
        If given, the cheapest trial within one standard error of the best wins; see
        `Bags.cheapest`.

    Returns
    -------
    CorrectedScore or None
        None with fewer independent rows than `FEWEST_ROWS`.
    """
    if bags.n_units < FEWEST_ROWS or not len(scores):
        return None
    chosen = bags.chosen(scores) if costs is None else bags.cheapest(scores, trials, costs)
    finite = chosen[np.isfinite(chosen)]
    if len(finite) < len(chosen) / 2:
        return None
    value, se = float(finite.mean()), bags.shrink * float(finite.std(ddof=1))
    widen = bags.shrink * max(1.0, training_se / se if se else 1.0)
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return CorrectedScore(
        value=value,
        low=value - widen * (value - float(low)),
        high=value + widen * (float(high) - value),
        se=max(se, training_se),
        n_candidates=len(np.unique(trials)),
    )
