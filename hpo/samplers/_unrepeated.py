"""A sampler for finite spaces that proposes no point twice."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo.samplers._delegating import DelegatingSampler
from hpo.space import SearchSpace
from hpo.storage.finite_points import FinitePoints
from hpo.storage.tried_points import Key, Tried, key_of
from hpo.trial import derive_seed

__all__ = ["UnrepeatedSampler"]

_MOST_DRAWS = 100


class UnrepeatedSampler(DelegatingSampler):
    """Proposes the points of another sampler, except those that have been tried.

    If a point has been tried, the other sampler is called again; after ``n_tries`` more attempts
    the nearest untried point is taken, or a random one if the space is too large to list.

    Parameters
    ----------
    sampler : optuna.samplers.BaseSampler
    space : SearchSpace
        A finite space.
    seed : int
        Seed of the study.
    n_tries : int or None
        How often ``sampler`` is called again. With None, and if the points can be listed, an
        untried point is drawn uniformly without calling ``sampler``.
    """

    def __init__(
        self, sampler: BaseSampler, space: SearchSpace, seed: int, n_tries: int | None
    ) -> None:
        self.inner = sampler
        self._space = space
        self._seed = seed
        self._n_tries = n_tries
        self._points = FinitePoints.of(space)
        self._tried = Tried(space.distributions)
        self._random = RandomSampler(seed=seed % 2**32)

    def reseed_rng(self) -> None:
        """Delegate."""
        self.inner.reseed_rng()

    def sampler_for(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        """Return the other sampler."""
        return self.inner

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the whole space, since all parameters are proposed together."""
        return {n: d for n, d in self._space.distributions.items() if not d.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose a point, in which the fixed parameters keep their values."""
        fixed = trial.system_attrs.get("fixed_params", {})
        self._tried.read(study.get_trials(deepcopy=False), trial.number)
        point = self._propose(study, trial, fixed)
        return {name: value for name, value in point.items() if name in search_space}

    def _propose(
        self, study: Study, trial: FrozenTrial, fixed: Mapping[str, Any]
    ) -> dict[str, Any]:
        if self._n_tries is None and self._points is not None and not fixed:
            return self._nearest_untried(None, trial, fixed) or {}
        relative_space = self.inner.infer_relative_search_space(study, trial)
        n_tries = _MOST_DRAWS if self._n_tries is None else self._n_tries
        for _ in range(n_tries + 1):
            point = self._draw(self.inner, study, trial, relative_space, fixed)
            if point.keys() <= fixed.keys() or self._key(point) not in self._tried:
                return point
        if self._points is not None:
            return self._nearest_untried(point, trial, fixed) or point
        for _ in range(_MOST_DRAWS):
            other = self._draw(self._random, study, trial, {}, fixed)
            if self._key(other) not in self._tried:
                return other
        return point

    def _draw(
        self,
        sampler: BaseSampler,
        study: Study,
        trial: FrozenTrial,
        relative_space: dict[str, BaseDistribution],
        fixed: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return a complete point from ``sampler``, as a trial would sample it."""
        relative = sampler.sample_relative(study, trial, relative_space)

        def suggest(name: str, distribution: BaseDistribution) -> Any:
            if name in fixed:
                return fixed[name]
            if distribution.single():
                return distribution.to_external_repr(_single_value(distribution))
            if name in relative:
                return relative[name]
            return sampler.sample_independent(study, trial, name, distribution)

        return self._space.sample(suggest)

    def _nearest_untried(
        self, point: Mapping[str, Any] | None, trial: FrozenTrial, fixed: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Return the untried point nearest to ``point`` that has the fixed values, or None.

        If ``point`` is None, an untried point is drawn uniformly.
        """
        assert self._points is not None
        fixed_key = self._key(fixed)
        untried = [
            i
            for i, key in enumerate(self._points.keys)
            if fixed_key <= key and key not in self._tried
        ]
        if not untried:
            return None
        rng = np.random.default_rng(derive_seed(self._seed, "untried", trial.number))
        if point is None:
            return self._points.stored[untried[int(rng.integers(len(untried)))]]
        return self._points.nearest(point, untried, rng)

    def _key(self, point: Mapping[str, Any]) -> Key:
        return key_of(point, self._space.distributions)


def _single_value(distribution: Any) -> float:
    """Return the only value of a distribution, in Optuna's internal form."""
    first = 0 if isinstance(distribution, CategoricalDistribution) else distribution.low
    return float(first)
