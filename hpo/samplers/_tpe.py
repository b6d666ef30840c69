"""TPE whose idea of a good trial comes from the trials that were trained to the end."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo.samplers._finished_trials import FinishedTrials
from hpo.samplers._parzen import FastParzenEstimator
from hpo.samplers._random_share import RandomShare

__all__ = ["CompletesTPESampler", "SobolStart", "n_good"]

_MAX_GOOD = 25


def n_good(n_complete: int) -> int:
    """Return the size of the good set: a tenth of the complete trials, from 1 to 25."""
    return min(max(1, math.ceil(0.1 * n_complete)), _MAX_GOOD)


class CompletesTPESampler(TPESampler):
    """Optuna's TPE, with a good set that is counted by complete trials.

    Optuna takes a tenth of the complete *and pruned* trials for good ones, and fills that number
    from the complete ones first. With many pruned trials nearly half of all complete ones are
    good then, and the model goes flat. Here a tenth of the complete ones is; every other trial
    is bad: pruned ones, and, with ``constant_liar``, those in flight.

    The first trials are points of a scrambled Sobol sequence, until ``n_startup_trials`` have
    ended or run and one is complete. After them a share of the trials is uniform random, so that
    a model that is wrong is found out.

    Parameters
    ----------
    n_startup_trials : int, default=16
        A power of 2 is what a Sobol sequence is most even at.
    random_share : float, default=0.1
        Share of the later trials that are uniform random, from 0 to 1. Which ones they are
        follows from the seed and their numbers.
    seed : int, default=0
    n_ei_candidates, multivariate, group, constant_liar
        As Optuna's.

    Raises
    ------
    ValueError
        If ``random_share`` is not between 0 and 1.

    Notes
    -----
    Trials are ranked as Optuna ranks them: complete ones by their value, pruned ones by the step
    that they reached and the value there, then those that broke a constraint (Bergstra et al.
    2011, "Algorithms for Hyper-Parameter Optimization", for the sampler; Watanabe 2023,
    arXiv:2304.11127, for its parts). Finished trials are read once and kept as arrays. A study
    of several objectives is split by Optuna.
    """

    def __init__(
        self,
        *,
        n_startup_trials: int = 16,
        random_share: float = 0.1,
        n_ei_candidates: int = 24,
        seed: int = 0,
        multivariate: bool | None = None,
        group: bool = False,
        constant_liar: bool = True,
    ) -> None:
        super().__init__(
            n_startup_trials=n_startup_trials,
            n_ei_candidates=n_ei_candidates,
            seed=seed,
            multivariate=multivariate,
            group=group,
            constant_liar=constant_liar,
        )
        self._parzen_estimator_cls = FastParzenEstimator
        self._random = RandomShare(random_share, seed)
        self._finished = FinishedTrials(_MAX_GOOD)
        self._start = SobolStart(seed)
        self._looked_at: tuple[int, bool] | None = None

    def expect(self, names: Sequence[str]) -> None:
        """Name the parameters in order, so that each has its own dimension in the first trials."""
        self._start.expect(names)

    def reseeded(self, seed: int) -> "CompletesTPESampler":
        """Return a sampler that draws from another seed and shares what is known of the study."""
        other = copy.copy(self)
        seed %= 2**32  # what numpy's RandomState takes
        other._random, other._looked_at = replace(self._random, seed=seed), None
        other._rng = _Seeded(seed)
        other._random_sampler = RandomSampler()
        other._random_sampler._rng = _Seeded(seed)
        return other

    def _starting(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the model has too little to go by; looks once a trial at what has happened."""
        if self._looked_at is None or self._looked_at[0] != trial.number:
            known, least = self._finished, self._n_startup_trials
            known.read(study)
            n_begun = known.n_finished + len(known.running) - 1  # the one asked for runs too
            starting = least > 0 and (n_begun < least or not known.n_complete)
            self._looked_at = trial.number, starting
        return self._looked_at[1]

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters that all finished trials have; Optuna's reads them each time."""
        if self._group or not self._is_multivariate(study):
            return super().infer_relative_search_space(study, trial)
        self._starting(study, trial)
        return {name: dist for name, dist in self._finished.common.items() if not dist.single()}

    def _sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space or self._starting(study, trial) or trial.number in self._random:
            return {}
        return self._sample(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a parameter that `sample_relative` has left out."""
        if self._starting(study, trial):
            return self._start.draw(trial.number, param_name, param_distribution)
        if trial.number in self._random:
            return self._random_sampler.sample_independent(
                study, trial, param_name, param_distribution
            )
        return self._sample(study, trial, {param_name: param_distribution})[param_name]

    def _sample(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        known = self._finished
        size = n_good(known.n_complete)
        if study._is_multi_objective():
            self._gamma = lambda _: size
            return super()._sample(study, trial, search_space)
        if self._constant_liar:
            for other in known.running:
                known.put(other, self._get_params(other, study))
        good, bad = known.split(list(search_space), size, trial.number, running=self._constant_liar)
        of_good = self._parzen_estimator_cls(good, search_space, self._parzen_estimator_parameters)
        of_bad = self._parzen_estimator_cls(bad, search_space, self._parzen_estimator_parameters)
        samples = of_good.sample(self._rng.rng, self._n_ei_candidates)
        gain = self._compute_acquisition_func(samples, of_good, of_bad)
        best = TPESampler._compare(samples, gain)
        return {name: dist.to_external_repr(best[name]) for name, dist in search_space.items()}


class _Seeded(LazyRandomState):
    """The random numbers of a seed, which take longer to set up than five parameters to draw.

    Optuna's sets up two streams with each sampler, of which a trial needs one or none.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def _set_rng(self) -> None:
        self._rng = np.random.RandomState(self._seed)


class SobolStart:
    """Trials that fill the space evenly: trial ``i`` is point ``i`` of a scrambled Sobol sequence.

    Parameters
    ----------
    seed : int
        Of the scrambling (Owen 1998), the same for all trials of a study.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._dimension: dict[str, int] = {}
        self._points = np.empty((0, 0))

    def expect(self, names: Sequence[str]) -> None:
        """Give each parameter the next free dimension of the sequence."""
        for name in names:
            self._dimension.setdefault(name, len(self._dimension))

    def draw(self, number: int, name: str, dist: BaseDistribution) -> Any:
        """Return the value of parameter ``name`` in trial ``number``."""
        self.expect([name])
        share = float(self._up_to(number)[number, self._dimension[name]])
        if isinstance(dist, CategoricalDistribution):
            return dist.choices[int(share * len(dist.choices))]
        scale = _SearchSpaceTransform({name: dist})
        low, high = scale.bounds[0]
        return scale.untransform(np.array([low + share * (high - low)]))[name]

    def _up_to(self, number: int) -> np.ndarray:
        n, n_dimensions = self._points.shape
        if number >= n or len(self._dimension) > n_dimensions:
            from scipy.stats import qmc

            power = max(4, math.ceil(math.log2(number + 1)))
            sequence = qmc.Sobol(len(self._dimension), scramble=True, rng=self._seed)
            self._points = sequence.random_base2(power)
        return self._points
