"""Intervals of a score on held-out rows."""

from collections.abc import Callable

import numpy as np

__all__ = ["LEVEL", "bootstrap_interval", "error_of", "interval_of_mean", "interval_of_share"]

LEVEL = 0.95
"""Probability with which an interval covers."""

N_BOOTSTRAPS = 1000


def error_of(interval: tuple[float, float] | None) -> float:
    """Return the standard error of which a normal score would have an interval; nan without one."""
    return float("nan") if interval is None else (interval[1] - interval[0]) / (2 * 1.96)


def interval_of_share(n_right: int, n: int) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper and Pearson 1934), at `LEVEL`.

    Parameters
    ----------
    n_right, n : int
        Rows that count, of all independent rows.
    """
    from scipy.stats import binomtest  # takes 0.3 s

    interval = binomtest(n_right, n).proportion_ci(confidence_level=LEVEL, method="exact")
    return float(interval.low), float(interval.high)


def interval_of_mean(scores: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the interval of the mean of independent rows: exact for shares, else a bootstrap.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)
        Each row's score; of bool or with the values 0 and 1 it is a share.
    seed : int
    """
    if scores.dtype == bool or np.isin(scores, (0, 1)).all():
        return interval_of_share(int(scores.sum()), len(scores))
    return bootstrap_interval(lambda rows: float(scores[rows].mean()), len(scores), seed=seed)


def bootstrap_interval(
    score: Callable[[np.ndarray], float], n_rows: int, *, seed: int = 0, n: int = N_BOOTSTRAPS
) -> tuple[float, float]:
    """Return the percentile interval of a score over rows drawn with replacement, at `LEVEL`.

    Parameters
    ----------
    score : callable
        ``score(rows)`` returns the score of an array of row numbers, some of them repeated; one
        that is not finite (a class is missing) is left out.
    n_rows : int
    seed : int
    n : int
        Number of bootstrap samples.

    Returns
    -------
    low, high : float
        nan if fewer than half of the samples have a score.
    """
    rng = np.random.default_rng(seed)
    values = np.array([score(rng.integers(n_rows, size=n_rows)) for _ in range(n)])
    finite = values[np.isfinite(values)]
    if len(finite) < n / 2:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
