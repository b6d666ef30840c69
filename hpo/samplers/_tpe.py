"""A TPE sampler whose good set is a share of the complete trials, not of all finished ones."""

import copy
import inspect
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo._private_parts import note_missing
from hpo.samplers._finished_trials import FinishedTrials
from hpo.samplers._parzen import FastParzenEstimator
from hpo.samplers._random_share import RandomShare
from hpo.samplers._scales import value_at

__all__ = ["CompletesTPESampler", "SobolStart", "n_good"]

_MAX_GOOD = 25


def n_good(n_complete: int) -> int:
    """Return the size of the good set: a tenth of the complete trials, from 1 to 25."""
    return min(max(1, math.ceil(0.1 * n_complete)), _MAX_GOOD)


class CompletesTPESampler(BaseSampler):
    """Optuna's TPE algorithm, with a good set whose size depends on the complete trials only.

    Optuna takes a tenth of the complete *and pruned* trials as good ones, and fills that number
    with complete ones first. With many pruned trials, nearly half of all complete trials are then
    good, and the model becomes flat. Here a tenth of the complete trials are good; all others are
    bad: pruned ones, and, with ``constant_liar``, running ones.

    The first trials are points of a scrambled Sobol sequence, until ``n_startup_trials`` have
    finished or are running and one is complete. After them a share of the trials is uniform
    random, so that a wrong model is noticed.

    Parameters
    ----------
    n_startup_trials : int, default=16
        Number of Sobol points, which are most evenly distributed if it is a power of 2.
    random_share : float, default=0.1
        Share of the later trials that are uniform random, from 0 to 1. Which ones they are
        depends on the seed and their numbers.
    n_ei_candidates : int, default=24
        Points drawn from the model of the good trials, of which the best one is proposed.
    seed : int, default=0
    multivariate : bool or None, default=None
        Whether parameters that all trials have are sampled jointly. None samples them jointly in
        a study with one objective, and independently in a study with several.
    group : bool, default=False
        Sample jointly the parameters that occur in the same trials, group by group, which suits
        a space with conditions.
    constant_liar : bool, default=True
        Whether running trials count as bad ones.

    Raises
    ------
    ValueError
        If ``random_share`` is not between 0 and 1, ``n_ei_candidates`` is less than 1, or
        ``group`` is true and ``multivariate`` is false.

    Notes
    -----
    Trials are ranked as in Optuna: complete ones by their value, then pruned ones by the step
    that they reached and the value there, then those that violate a constraint (Bergstra et al.
    2011, "Algorithms for Hyper-Parameter Optimization", for the sampler; Watanabe 2023,
    arXiv:2304.11127, for its components). Finished trials are read once and stored as arrays. A
    study with several objectives uses `optuna.samplers.TPESampler` with the same size of the
    good set.
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
        if n_ei_candidates < 1:
            raise ValueError(f"n_ei_candidates must be at least 1. Got {n_ei_candidates} instead.")
        if group and multivariate is False:
            raise ValueError("group=True draws parameters together: multivariate=False does not.")
        self._n_startup_trials = n_startup_trials
        self._n_ei_candidates = n_ei_candidates
        self._multivariate = multivariate
        self._group = group
        self._constant_liar = constant_liar
        self._random = RandomShare(random_share, seed)
        self._finished = FinishedTrials(_MAX_GOOD)
        self._start = SobolStart(seed)
        self._seed_by(seed)

    def _seed_by(self, seed: int | None) -> None:
        """Use this seed from now on; None takes one from the operating system."""
        # Creating a random generator takes longer than drawing five parameters, and a trial needs
        # at most one of them: they are created when they are needed. The attributes' names enter
        # the fingerprint of an estimator that contains a sampler.
        self._seed = seed
        self._looked_at: tuple[int, bool] | None = None
        self._rng: np.random.RandomState | None = None
        self._random_sampler: RandomSampler | None = None
        self._optunas: TPESampler | None = None

    def expect(self, names: Sequence[str]) -> None:
        """Name the parameters in order, so that each has its own dimension in the first trials."""
        self._start.expect(names)

    def reseeded(self, seed: int) -> "CompletesTPESampler":
        """Return a sampler with another seed that shares the data on the study's trials."""
        other = copy.copy(self)
        seed %= 2**32  # what numpy's RandomState takes
        other._random = replace(self._random, seed=seed)
        other._seed_by(seed)
        return other

    def reseed_rng(self) -> None:
        """Use a seed from the operating system from now on."""
        self._seed_by(None)

    def _starting(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether there are too few trials for the model; reads the study once a trial."""
        if self._looked_at is None or self._looked_at[0] != trial.number:
            finished, n_startup = self._finished, self._n_startup_trials
            finished.read(study)
            # The trial that is being sampled is running too, and does not count.
            n_begun = finished.n_finished + len(finished.running) - 1
            starting = n_startup > 0 and (n_begun < n_startup or not finished.n_complete)
            self._looked_at = trial.number, starting
        return self._looked_at[1]

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters that are sampled jointly, all together or in groups."""
        if len(study.directions) > 1:
            return self._multi_objective().infer_relative_search_space(study, trial)
        if self._multivariate is False:
            return {}
        self._starting(study, trial)
        finished = self._finished
        search_space: dict[str, BaseDistribution] = {}
        for group in finished.groups if self._group else [finished.common]:
            search_space |= {
                name: group[name] for name in sorted(group) if not group[name].single()
            }
        return search_space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample the joint parameters, unless it is a startup trial or a random one."""
        if not search_space or self._starting(study, trial) or trial.number in self._random:
            return {}
        if len(study.directions) > 1:
            return self._multi_objective().sample_relative(study, trial, search_space)
        if not self._group:
            return self._sample(trial, search_space)
        drawn: dict[str, Any] = {}
        for group in self._finished.groups:
            names = sorted(group.keys() & search_space.keys())
            if names:
                drawn |= self._sample(trial, {name: search_space[name] for name in names})
        return drawn

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Sample a parameter that `sample_relative` has not sampled."""
        if self._starting(study, trial):
            return self._start.draw(trial.number, param_name, param_distribution)
        if trial.number in self._random:
            if self._random_sampler is None:
                self._random_sampler = RandomSampler(seed=self._seed)
            sampler: BaseSampler = self._random_sampler
        elif len(study.directions) > 1:
            sampler = self._multi_objective()
        else:
            return self._sample(trial, {param_name: param_distribution})[param_name]
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def _sample(
        self, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the candidate with the highest ratio of the good to the bad trials' density."""
        finished = self._finished
        if self._constant_liar:
            for other in finished.running:
                finished.put(other, other.params)
        good, bad = finished.split(
            list(search_space),
            n_good(finished.n_complete),
            trial.number,
            running=self._constant_liar,
        )
        of_good = FastParzenEstimator(good, search_space)
        of_bad = FastParzenEstimator(bad, search_space)
        if self._rng is None:
            self._rng = np.random.RandomState(self._seed)
        samples = of_good.sample(self._rng, self._n_ei_candidates)
        best = np.argmax(of_good.log_pdf(samples) - of_bad.log_pdf(samples))
        return {
            name: dist.to_external_repr(samples[name][best].item())
            for name, dist in search_space.items()
        }

    def _multi_objective(self) -> TPESampler:
        """Return the sampler of a study with several objectives, which is Optuna's."""
        if self._optunas is None:
            finished = self._finished
            self._optunas = _make_optuna_tpe(
                lambda _: n_good(finished.n_complete),
                n_startup_trials=0,  # startup trials are sampled by this class
                n_ei_candidates=self._n_ei_candidates,
                seed=self._seed,
                multivariate=self._multivariate,
                group=self._group,
                constant_liar=self._constant_liar,
            )
        return self._optunas


def _make_optuna_tpe(gamma: Callable[[int], int], **options: Any) -> TPESampler:
    """Return Optuna's TPE with a good set of this size, if this Optuna supports that."""
    if "gamma" in inspect.signature(TPESampler).parameters:
        options["gamma"] = gamma
    else:
        note_missing(
            "optuna",
            "TPESampler(gamma=)",
            "Optuna's own number of good trials is used in studies with costs",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about experimental or deprecated arguments
        return TPESampler(**options)


class SobolStart:
    """Trials that fill the space evenly: trial ``i`` is point ``i`` of a scrambled Sobol sequence.

    Parameters
    ----------
    seed : int
        Seed of the scrambling (Owen 1998), the same for all trials of a study.
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
        return value_at(share, dist)

    def _up_to(self, number: int) -> np.ndarray:
        n, n_dimensions = self._points.shape
        if number >= n or len(self._dimension) > n_dimensions:
            from scipy.stats import qmc

            power = max(4, math.ceil(math.log2(number + 1)))
            sequence = qmc.Sobol(len(self._dimension), scramble=True, rng=self._seed)
            self._points = sequence.random_base2(power)
        return self._points
