"""Samplers by name: Optuna's, each trial drawn from its own seed, and Ray Tune's searchers."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo._discovery import check_options, did_you_mean, parse_spec
from hpo.backends._gp import StoppedGPSampler
from hpo.backends._tpe import CompletesTPESampler
from hpo.exceptions import PluginError
from hpo.space import SearchSpace
from hpo.trial import derive_seed

__all__ = ["SAMPLERS", "PerTrialSampler", "make_sampler"]

SAMPLERS: Mapping[str, type[BaseSampler]] = {
    "cmaes": optuna.samplers.CmaEsSampler,
    "gp": StoppedGPSampler,
    "grid": optuna.samplers.RandomSampler,  # proposes nothing: the grid's points are enqueued
    "optuna_gp": optuna.samplers.GPSampler,
    "optuna_tpe": optuna.samplers.TPESampler,
    "qmc": optuna.samplers.QMCSampler,
    "random": optuna.samplers.RandomSampler,
    "tpe": CompletesTPESampler,
}

_MEMORYLESS = {"gp", "grid", "random", "optuna_tpe", "tpe"}
"""Samplers that keep nothing between two trials but their random state."""


def make_sampler(
    spec: Any, seed: int, *, parallel: bool, space: SearchSpace | None = None
) -> BaseSampler:
    """Return the sampler that ``spec`` names.

    Parameters
    ----------
    spec : str or optuna.samplers.BaseSampler
        ``"tpe"``, ``"tpe:random_share=0.2,n_startup_trials=32"``, ``"gp"``, Optuna's own
        (``"optuna_tpe"``, ``"optuna_gp"``), a search algorithm of Ray Tune
        (``"ray:algorithm=hyperopt,n_initial_points=10"``), or a sampler, used as it is.
    seed : int
    parallel : bool
        Whether several trials run at once; TPE then takes running trials for bad ones
        (``constant_liar``), so that it does not propose the same point twice.
    space : SearchSpace or None, default=None
        What is searched. Without it, names and options of Ray Tune's algorithms are checked,
        and such a sampler cannot be used.

    Raises
    ------
    PluginError
        If the name or an option is unknown, a value is refused, what the sampler needs is not
        installed, or it cannot search the space.
    """
    if isinstance(spec, BaseSampler):
        return spec
    names = [*SAMPLERS, "ray"]
    if not isinstance(spec, str):
        raise PluginError(
            f"The sampler must be a name ({', '.join(names)}) or an Optuna sampler. "
            f"Got {spec!r} instead."
        )
    name, options = parse_spec(spec)
    if name == "ray":
        return _rays(options, seed, space)
    if name not in SAMPLERS:
        hint = did_you_mean(name, names) or "."
        raise PluginError(f"There is no sampler '{name}'{hint} Choose one of: {', '.join(names)}.")
    cls = SAMPLERS[name]
    check_options(f"sampler '{name}'", cls, options)
    if name in {"optuna_tpe", "tpe"}:
        options.setdefault("constant_liar", parallel)
    if name in _MEMORYLESS:
        seed = options.pop("seed", seed)  # given to each trial, it would draw one point for all

    def make(own_seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return cls(**{"seed": own_seed % 2**32, **options})

    try:
        sampler = make(derive_seed(seed, "sampler"))
    except (TypeError, ValueError) as error:
        raise PluginError(f"sampler '{name}': {error}") from error
    if isinstance(sampler, CompletesTPESampler):
        sampler.expect(list(space.distributions) if space else [])
        return PerTrialSampler(sampler.reseeded, seed)
    return PerTrialSampler(make, seed) if name in _MEMORYLESS else sampler


def _rays(options: dict[str, Any], seed: int, space: SearchSpace | None) -> BaseSampler:
    try:
        from hpo.backends._ray_sampler import RaySampler
    except ImportError as error:
        raise PluginError(
            f"sampler 'ray' needs Ray Tune, which cannot be imported: {error}. "
            "pip install 'ray[tune]', or choose another sampler."
        ) from error
    algorithm = options.pop("algorithm", None)
    return RaySampler(algorithm, options, space.distributions if space else {}, seed)


class PerTrialSampler(BaseSampler):
    """Makes the sampler anew for each trial, from the study's seed and the trial's number.

    What is proposed then depends on the trials before and on nothing else: a study that was
    interrupted and resumed asks for the same trials as one that ran through, and drivers on
    several machines do not propose the same random points.

    Parameters
    ----------
    make : callable
        ``make(seed)`` returns a sampler.
    seed : int
        The study's.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._number: int | None = None
        self._sampler = make(seed)

    def _for(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            self._number = trial.number
            self._sampler = self._make(derive_seed(self._seed, "sampler", trial.number))
        return self._sampler

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Delegate."""
        return self._for(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Delegate."""
        return self._for(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Delegate."""
        return self._for(trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Delegate."""
        self._for(trial).before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Delegate."""
        self._for(trial).after_trial(study, trial, state, values)
