"""Create samplers by name: Optuna's, with a separate seed per trial, and Ray Tune's searchers.

Each sampler has a module in `hpo.samplers` that defines how it is created; Optuna's classes are
re-exported to those modules from here.
"""

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo._discovery import (
    check_class,
    check_options,
    find,
    instantiate,
    names,
    parse_spec,
    plugins,
)
from hpo.exceptions import PluginError
from hpo.samplers._delegating import DelegatingSampler
from hpo.samplers._unrepeated import UnrepeatedSampler
from hpo.space import SearchSpace
from hpo.trial import derive_seed

__all__ = [
    "BaseOptunaFactory",
    "BaseSampler",
    "BaseSamplerFactory",
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
        Whether several trials run at once; TPE then counts running trials as bad ones
        (``constant_liar``), so that it does not propose the same point twice.
    space : SearchSpace or None, default=None
        The search space. Without it, names and options of Ray Tune's algorithms are only
        checked, and the returned sampler cannot be used.

    Raises
    ------
    PluginError
        If the name or an option is unknown, a value is invalid, a package that the sampler needs
        is not installed, or it cannot search the space.
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
        return _make_user_sampler(f"sampler '{name}'", plugin, options, seed)
    factory: BaseSamplerFactory = plugin()
    return factory.make(options, seed, parallel=parallel, space=space)


def _make_user_sampler(
    label: str, sampler: type[BaseSampler], options: dict[str, Any], seed: int
) -> BaseSampler:
    """Return an instance of a user's sampler class, with a seed if it has such a parameter."""
    check_options(label, sampler, options)
    if "seed" in inspect.signature(sampler).parameters:
        options = {"seed": derive_seed(seed, "sampler") % 2**32, **options}
    sampler_made: BaseSampler = instantiate(label, sampler, **options)
    return sampler_made


class BaseSamplerFactory(ABC):
    """Creates the sampler that has the name of the factory's module."""

    @property
    def name(self) -> str:
        """Name of the sampler, which is the last part of the module's name."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def make(
        self, options: dict[str, Any], seed: int, *, parallel: bool, space: SearchSpace | None
    ) -> BaseSampler:
        """Return the sampler.

        Parameters
        ----------
        options : dict of str to object
            The options as the user wrote them.
        seed : int
            Seed of the study.
        parallel : bool
            Whether several trials run at once.
        space : SearchSpace or None
            The search space; None if only the options are to be checked.

        Raises
        ------
        PluginError
            If an option is unknown, a value is invalid, a package that the sampler needs is not
            installed, or it cannot search the space.
        """


class BaseOptunaFactory(BaseSamplerFactory):
    """Creates a sampler that takes ``seed`` and its options as arguments."""

    sampler: ClassVar[type[BaseSampler]]

    memoryless: ClassVar[bool] = False
    """Whether the sampler has no state between two trials except its random generator."""

    liar: ClassVar[bool] = False
    """Whether it has ``constant_liar``, which should be on if several trials run at once."""

    repeats: ClassVar[bool] = False
    """Whether it may propose a point of a finite space twice."""

    n_tries: ClassVar[int | None] = 3
    """How often the sampler is called again if it does; see `UnrepeatedSampler`."""

    def make(
        self, options: dict[str, Any], seed: int, *, parallel: bool, space: SearchSpace | None
    ) -> BaseSampler:
        """Return the sampler; a memoryless one uses a separate seed for each trial.

        In a finite space it proposes no point twice, unless ``repeats`` is true.
        """
        check_options(f"sampler '{self.name}'", self.sampler, options, others=_targets)
        if self.liar:
            options.setdefault("constant_liar", parallel)
        if self.memoryless:
            # Passed on to each trial, a seed would give all trials the same point.
            seed = options.pop("seed", seed)
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
        """Return the sampler for checked options; a memoryless sampler's have no ``seed``."""
        if self.memoryless:
            return PerTrialSampler(
                lambda trial_seed: seeded(self.sampler, options, trial_seed), seed
            )
        return seeded(self.sampler, options, derive_seed(seed, "sampler"))


def _targets() -> dict[str, type[BaseSampler]]:
    """Return the classes that take the options of the samplers, by their names."""
    factories = plugins(_PACKAGE, BaseSamplerFactory)
    targets = {name: getattr(factory, "sampler", None) for name, factory in factories.items()}
    return {name: target for name, target in targets.items() if target is not None}


def seeded(cls: type[_Sampler], options: Mapping[str, Any], seed: int) -> _Sampler:
    """Return a sampler with these options, and with this seed unless the options have one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return cls(**{"seed": seed % 2**32, **options})


class PerTrialSampler(DelegatingSampler):
    """Creates a new sampler for each trial, seeded with the study's seed and the trial's number.

    The proposals then depend only on the previous trials: a study that was interrupted and
    resumed samples the same trials as one that ran without interruption, and drivers on several
    machines do not propose the same random points.

    Parameters
    ----------
    make : callable
        ``make(seed)`` returns a sampler.
    seed : int
        Seed of the study.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._number: int | None = None
        self._sampler = make(seed)

    def sampler_for(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        """Return a sampler that is seeded for this trial."""
        if trial.number != self._number:
            self._number = trial.number
            self._sampler = self._make(derive_seed(self._seed, "sampler", trial.number))
        return self._sampler
