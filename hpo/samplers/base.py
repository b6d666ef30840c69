"""Samplers by name: Optuna's, each trial drawn from its own seed, and Ray Tune's searchers.

A sampler is a module of `hpo.samplers`, which says how it is made; Optuna's own are handed on to
those modules from here.
"""

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo._discovery import check_class, check_options, find, names, parse_spec
from hpo.exceptions import PluginError
from hpo.samplers._unrepeated import UnrepeatedSampler
from hpo.space import SearchSpace
from hpo.trial import derive_seed

__all__ = [
    "BaseOptunaFactory",
    "BaseSampler",
    "BaseSamplerFactory",
    "CmaEsSampler",
    "GPSampler",
    "PerTrialSampler",
    "QMCSampler",
    "RandomSampler",
    "TPESampler",
    "make_sampler",
    "seeded",
]

_PACKAGE = "hpo.samplers"

_Sampler = TypeVar("_Sampler", bound=BaseSampler)


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
    if isinstance(spec, str):
        name, options = parse_spec(spec)
        plugin = find(_PACKAGE, name, BaseSamplerFactory, BaseSampler)
    elif inspect.isclass(spec):
        name, plugin, options = spec.__name__, spec, {}
        check_class(f"sampler {name}", plugin, BaseSamplerFactory, BaseSampler)
    elif isinstance(spec, BaseSamplerFactory):
        return spec.make({}, seed, parallel=parallel, space=space)
    else:
        raise PluginError(
            f"The sampler must be a name ({', '.join(names(_PACKAGE))}), MODULE:CLASS or an Optuna "
            f"sampler. Got {spec!r} instead."
        )
    if issubclass(plugin, BaseSampler):
        return _own(f"sampler '{name}'", plugin, options, seed)
    factory: BaseSamplerFactory = plugin()
    return factory.make(options, seed, parallel=parallel, space=space)


def _own(label: str, sampler: type[BaseSampler], options: dict[str, Any], seed: int) -> BaseSampler:
    """Return a sampler of the user's; it is given the seed where it takes one."""
    check_options(label, sampler, options)
    if "seed" in inspect.signature(sampler).parameters:
        options = {"seed": derive_seed(seed, "sampler") % 2**32, **options}
    try:
        return sampler(**options)
    except (TypeError, ValueError) as error:
        raise PluginError(f"{label}: {error}") from error


class BaseSamplerFactory(ABC):
    """Makes the sampler of a name, which is that of its module."""

    @property
    def name(self) -> str:
        """Name of its module."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def make(
        self, options: dict[str, Any], seed: int, *, parallel: bool, space: SearchSpace | None
    ) -> BaseSampler:
        """Return the sampler.

        Parameters
        ----------
        options : dict of str to object
            As they were given.
        seed : int
            The study's.
        parallel : bool
            Whether several trials run at once.
        space : SearchSpace or None
            What is searched; None if the options are checked and no more.

        Raises
        ------
        PluginError
            If an option is unknown, a value is refused, what the sampler needs is not installed,
            or it cannot search the space.
        """


class BaseOptunaFactory(BaseSamplerFactory):
    """Makes a sampler that takes ``seed`` and its options as arguments."""

    sampler: ClassVar[type[BaseSampler]]

    memoryless: ClassVar[bool] = False
    """Whether it keeps nothing between two trials but its random state."""

    liar: ClassVar[bool] = False
    """Whether it can take running trials for bad ones, and should where several run."""

    repeats: ClassVar[bool] = False
    """Whether it may propose a point of a finite space twice."""

    n_tries: ClassVar[int | None] = 3
    """How often it is asked again where it does; see `UnrepeatedSampler`."""

    def make(
        self, options: dict[str, Any], seed: int, *, parallel: bool, space: SearchSpace | None
    ) -> BaseSampler:
        """Return the sampler; a memoryless one draws each trial from a seed of its own.

        Of a finite space it proposes no point twice.
        """
        check_options(f"sampler '{self.name}'", self.sampler, options)
        if self.liar:
            options.setdefault("constant_liar", parallel)
        if self.memoryless:
            seed = options.pop("seed", seed)  # given to each trial, it would draw one point for all
        try:
            sampler = self.build(options, seed, space)
        except (TypeError, ValueError) as error:
            raise PluginError(f"sampler '{self.name}': {error}") from error
        if self.repeats or space is None or not space.is_finite:
            return sampler
        return UnrepeatedSampler(sampler, space, seed, self.n_tries)

    def build(
        self, options: Mapping[str, Any], seed: int, space: SearchSpace | None
    ) -> BaseSampler:
        """Return the sampler; the options have been checked, and lack a memoryless one's seed."""
        if self.memoryless:
            return PerTrialSampler(lambda own: seeded(self.sampler, options, own), seed)
        return seeded(self.sampler, options, derive_seed(seed, "sampler"))


def seeded(cls: type[_Sampler], options: Mapping[str, Any], seed: int) -> _Sampler:
    """Return a sampler with these options and, unless they have one, this seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return cls(**{"seed": seed % 2**32, **options})


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
