"""Differences between two scores that were measured on the same folds, or on the same rows."""

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["adjusted_by_holm", "corrected_resampled_se", "paired_difference"]


def corrected_resampled_se(
    scores: Sequence[float], fold_sizes: Sequence[tuple[int, int]] = ()
) -> float:
    """Return the standard error of a mean over folds, corrected for the training data they share.

    Nadeau and Bengio (2003, *Inference for the Generalization Error*, Machine Learning 52): the
    variance of a mean over ``J`` folds is ``1 / J + n_valid / n_train`` times that of the folds.

    Parameters
    ----------
    scores : sequence of float, length n_folds
    fold_sizes : sequence of (int, int)
        Training and validation samples of each fold; by default those of ``J`` folds that
        partition all samples.

    Returns
    -------
    float
        nan with one fold, or if a score is not finite.
    """
    values, n = np.asarray(scores, dtype=float), len(scores)
    if n < 2 or not np.isfinite(values).all():
        return math.nan
    train, valid = np.sum(fold_sizes, axis=0) if len(fold_sizes) else (n - 1, 1)
    return float(values.std(ddof=1) * math.sqrt(1 / n + valid / train))


def paired_difference(
    scores: Sequence[float], others: Sequence[float], fold_sizes: Sequence[tuple[int, int]] = ()
) -> tuple[float, float, float]:
    """Return the mean of ``scores - others`` over the folds, its standard error, and a p-value.

    The corrected resampled t-test of Nadeau and Bengio (2003, *Inference for the
    Generalization Error*, Machine Learning 52, section 3.5): training parts of folds overlap,
    so the variance of a mean over ``J`` folds is taken as ``(1 / J + n_valid / n_train)`` times
    that of the differences, with ``J - 1`` degrees of freedom.

    Parameters
    ----------
    scores, others : sequence of float, length n_folds
    fold_sizes : sequence of (int, int)
        Training and validation samples of each fold; by default those of ``J`` folds that
        partition all samples.

    Returns
    -------
    difference, error, p : float
        Error and p (two-sided) are nan with one fold, or if a score is not finite.
    """
    differences = np.asarray(scores, dtype=float) - np.asarray(others, dtype=float)
    n = len(differences)
    mean = float(differences.mean()) if n else math.nan
    error = corrected_resampled_se(differences.tolist(), fold_sizes)
    if math.isnan(error):
        return mean, math.nan, math.nan
    if error == 0:
        return mean, 0.0, 1.0 if mean == 0 else 0.0
    from scipy.special import stdtr  # the distribution function of Student's t

    return mean, error, float(2 * stdtr(n - 1, -abs(mean / error)))


def adjusted_by_holm(p_values: Sequence[float], n: int | None = None) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in the order given.

    Parameters
    ----------
    p_values : sequence of float
    n : int or None
        Number of all tests, of which these have the smallest p-values; by default these alone.
    """
    n = len(p_values) if n is None else n
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (n - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
