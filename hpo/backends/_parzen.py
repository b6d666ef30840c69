"""Optuna's Parzen estimator with a log density that costs a few milliseconds at 10,000 trials."""

from typing import Any

import numpy as np
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.probability_distributions import (
    _BatchedCategoricalDistributions,
    _MixtureOfProductDistribution,
    _unique_inverse_2d,
)
from scipy.special import ndtr

__all__ = ["FastParzenEstimator"]


class FastParzenEstimator(_ParzenEstimator):
    """The same mixture of kernels as Optuna's, evaluated in another order.

    Optuna computes every kernel's density at every candidate, parameter by parameter. Here the
    exponents of all continuous parameters are one matrix product, what belongs to a kernel alone
    is computed once, and no tail of a normal distribution needs care, for each kernel's centre
    lies within the bounds that it is cut off at.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._mixture_distribution = _Mixture(*self._mixture_distribution)


class _Mixture(_MixtureOfProductDistribution):
    def log_pdf(self, x: np.ndarray) -> np.ndarray:
        """Return the log density at ``x``, ``n_candidates x n_parameters``."""
        of_kernel = np.log(self.weights)
        at_points = np.zeros((len(x), len(self.weights)))
        left, right = [], []
        for values, d in zip(x.T, self.distributions, strict=True):
            if isinstance(d, _BatchedCategoricalDistributions):
                at_points += np.log(d.weights).T[values.astype(np.int64)]
            elif d.step:
                at_points += _log_masses(values, d)
            else:
                low, width = d.adapted_low, d.adapted_high - d.adapted_low
                point = ((np.log(values) if d.is_log else values) - low) / width
                mu, precision = (d.mu - low) / width, (width / d.sigma) ** 2
                of_kernel = of_kernel - _log_norm(d) - 0.5 * precision * mu * mu
                left += [-0.5 * point * point, point]
                right += [precision, precision * mu]
        if left:
            at_points += np.column_stack(left) @ np.stack(right)
        at_points += of_kernel
        top = at_points.max(axis=1, keepdims=True)
        return np.asarray(np.log(np.exp(at_points - top).sum(axis=1)) + top[:, 0])


def _log_norm(d: Any) -> np.ndarray:
    """Return the log of what the exponential of each kernel is divided by."""
    inside = _log_inside(d, d.mu, d.sigma)
    return np.asarray(inside + np.log(d.sigma) + 0.5 * np.log(2 * np.pi))


def _log_inside(d: Any, mu: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return the log of the part of each kernel that lies within the bounds."""
    outside = ndtr((d.adapted_low - mu) / sigma) + ndtr((mu - d.adapted_high) / sigma)
    return np.asarray(np.log1p(-outside))


def _log_masses(values: np.ndarray, d: Any) -> np.ndarray:
    """Return the log masses of the kernels in the steps that the candidates lie in.

    Most kernels of a parameter with few values are alike: each kind is computed once.
    """
    points, of_point = np.unique(values, return_inverse=True)
    mu, sigma, of_kernel = _unique_inverse_2d(d.mu, d.sigma)
    low, high = points - d.step / 2, points + d.step / 2
    if d.is_log:
        low, high = np.log(low), np.log(high)
    a, b = (low[:, None] - mu) / sigma, (high[:, None] - mu) / sigma
    flipped = a > 0  # the tail on the left is the one that is exact
    mass = ndtr(np.where(flipped, -a, b)) - ndtr(np.where(flipped, -b, a))
    logs = np.log(np.maximum(mass, 1e-300)) - _log_inside(d, mu, sigma)
    return np.asarray(logs[of_point][:, of_kernel])
