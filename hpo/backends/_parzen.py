"""Optuna's Parzen estimator, evaluated in fewer operations: milliseconds at 10,000 trials."""

from typing import Any

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.probability_distributions import (
    _BatchedCategoricalDistributions,
    _BatchedDiscreteTruncLogNormDistributions,
    _BatchedDiscreteTruncNormDistributions,
    _BatchedDistributions,
    _BatchedTruncLogNormDistributions,
    _BatchedTruncNormDistributions,
    _MixtureOfProductDistribution,
)
from scipy.special import ndtr, ndtri

__all__ = ["FastParzenEstimator"]

_KINDS: dict[tuple[bool, bool], Any] = {
    (False, False): _BatchedTruncNormDistributions,
    (False, True): _BatchedTruncLogNormDistributions,
    (True, False): _BatchedDiscreteTruncNormDistributions,
    (True, True): _BatchedDiscreteTruncLogNormDistributions,
}
_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


class FastParzenEstimator(_ParzenEstimator):
    """The mixture of kernels that Optuna's estimator is.

    Optuna computes every kernel's density at every candidate, parameter by parameter. Here the
    exponents of all continuous parameters are one matrix product, what belongs to a kernel alone
    is computed once, and no tail of a normal distribution needs care, for each kernel's centre
    lies within the bounds that it is cut off at.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._mixture_distribution = _Mixture(*self._mixture_distribution)

    def _calculate_numerical_distributions(
        self,
        observations: np.ndarray,
        search_space: FloatDistribution | IntDistribution,
        parameters: _ParzenEstimatorParameters,
    ) -> _BatchedDistributions:
        """Return the kernels of one parameter; the last one is the prior."""
        half = (search_space.step or 0.0) / 2
        low, high = search_space.low - half, search_space.high + half
        if search_space.log:
            observations, low, high = np.log(observations), np.log(low), np.log(high)
        n, width = len(observations), high - low
        mus, sigmas = np.empty(n + 1), np.empty(n + 1)
        mus[:n], mus[n], sigmas[n] = observations, 0.5 * (low + high), width
        order = np.argsort(observations)
        least = width / min(100.0, 2.0 + n) if parameters.consider_magic_clip else 1e-12
        apart = _gaps(observations[order], low, high, ends=parameters.consider_endpoints)
        sigmas[order] = np.clip(apart, least, width)
        kind = _KINDS[search_space.step is not None, search_space.log]
        step = () if search_space.step is None else (search_space.step,)
        kernels: _BatchedDistributions = kind(
            mus, sigmas, search_space.low, search_space.high, *step
        )
        return kernels


def _gaps(points: np.ndarray, low: float, high: float, *, ends: bool) -> np.ndarray:
    """Return the greater distance of each of the sorted ``points`` to its two neighbours."""
    between = np.diff(points, prepend=low, append=high)
    gaps = np.maximum(between[:-1], between[1:])
    if not ends and len(points) > 1:
        gaps[0], gaps[-1] = between[1], between[-2]
    return gaps


class _Mixture(_MixtureOfProductDistribution):
    def sample(self, rng: np.random.RandomState, batch_size: int) -> np.ndarray:
        """Draw ``batch_size x n_parameters`` values, from the random numbers that Optuna uses."""
        drawn = np.empty((batch_size, len(self.distributions)))
        kernels = rng.choice(len(self.weights), p=self.weights, size=batch_size)
        numerical = []
        for i, d in enumerate(self.distributions):
            if isinstance(d, _BatchedCategoricalDistributions):
                upto = np.cumsum(d.weights[kernels], axis=1)
                upto[:, -1] = 1.0
                drawn[:, i] = (upto < rng.rand(batch_size)[:, None]).sum(axis=1)
            else:
                numerical.append(i)
        if numerical:
            shares = rng.uniform(size=(len(numerical), batch_size))
            for i, share in zip(numerical, shares, strict=True):
                drawn[:, i] = _draw(self.distributions[i], kernels, share)
        return drawn

    def log_pdf(self, x: np.ndarray) -> np.ndarray:
        """Return the log density at ``x``, ``n_candidates x n_parameters``."""
        of_kernel = np.log(self.weights)
        left, right, tables = [], [], []
        for values, d in zip(x.T, self.distributions, strict=True):
            if isinstance(d, _BatchedCategoricalDistributions):
                tables.append(np.log(d.weights.T)[values.astype(np.int64)])
            elif d.step:
                tables.append(_log_masses(values, d))
            else:
                low, width = d.adapted_low, d.adapted_high - d.adapted_low
                point = ((np.log(values) if d.is_log else values) - low) / width
                mu, precision = (d.mu - low) / width, (width / d.sigma) ** 2
                of_kernel -= _log_inside(d, d.mu, d.sigma) + np.log(d.sigma) + _HALF_LOG_2PI
                of_kernel -= 0.5 * precision * mu * mu
                left += [-0.5 * point * point, point]
                right += [precision, precision * mu]
        left.append(np.ones(len(x)))
        right.append(of_kernel)
        at_points = np.column_stack(left) @ np.stack(right)
        for table in tables:
            at_points += table
        top = at_points.max(axis=1, keepdims=True)
        at_points -= top
        np.exp(at_points, out=at_points)
        return np.asarray(np.log(at_points.sum(axis=1)) + top[:, 0])


def _draw(d: Any, kernels: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return where these kernels, cut off at their bounds, have ``share`` of their mass below."""
    mu, sigma = d.mu[kernels], d.sigma[kernels]
    below, above = ndtr((d.adapted_low - mu) / sigma), ndtr((mu - d.adapted_high) / sigma)
    inside = 1.0 - below - above
    # From the nearer end: the other one loses digits.
    upper = share > 0.5
    z = ndtri(np.where(upper, above + (1.0 - share) * inside, below + share * inside))
    drawn = np.clip(mu + sigma * np.where(upper, -z, z), d.adapted_low, d.adapted_high)
    if d.is_log:
        drawn = np.exp(drawn)
    if d.step:
        drawn = d.low + np.round((drawn - d.low) / d.step) * d.step
    return np.asarray(np.clip(drawn, d.low, d.high))


def _log_inside(d: Any, mu: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return the log of the part of each kernel that lies within the bounds."""
    outside = ndtr((d.adapted_low - mu) / sigma) + ndtr((mu - d.adapted_high) / sigma)
    return np.asarray(np.log1p(-outside))


def _log_masses(values: np.ndarray, d: Any) -> np.ndarray:
    """Return the log masses of the kernels in the steps that the candidates lie in.

    A parameter with steps has many kernels that are alike: each kind is computed once.
    """
    points, of_point = np.unique(values, return_inverse=True)
    order = np.argsort(d.mu)
    mu, sigma = d.mu[order], d.sigma[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(mu) != 0) | (np.diff(sigma) != 0)
    of_kernel = np.empty(len(order), dtype=np.intp)
    of_kernel[order] = np.cumsum(new) - 1
    mu, sigma = mu[new], sigma[new]
    low, high = points - d.step / 2, points + d.step / 2
    if d.is_log:
        low, high = np.log(low), np.log(high)
    a, b = (low[:, None] - mu) / sigma, (high[:, None] - mu) / sigma
    right = a > 0  # a tail is exact on the left
    mass = ndtr(np.where(right, -a, b)) - ndtr(np.where(right, -b, a))
    logs = np.log(np.maximum(mass, 1e-300)) - _log_inside(d, mu, sigma)
    return np.asarray(logs[of_point].take(of_kernel, axis=1))
