"""Adapter for Ray Tune's search algorithms, which makes them Optuna samplers."""

import importlib
import inspect
import logging
import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import SEARCH_ALG_IMPORT, Searcher

from hpo._discovery import did_you_mean
from hpo.exceptions import PluginError
from hpo.samplers._ray_codes import code_of, domain, value_of
from hpo.trial import derive_seed

__all__ = ["METRIC", "RaySampler"]

METRIC = "score"
"""Name of a trial's value in the results that a searcher gets."""

_NO_SEARCHERS = {"random", "variant_generator"}
"""Ray's names for random points without a searcher; the sampler ``random`` does the same."""

_SET_BY_STUDY = {"dim_dict", "evaluated_rewards", "metric", "mode", "points_to_evaluate", "space"}
_NOT_TEXT = {"analysis", "ax_client", "sampler", "storage"}
"""Arguments of Ray's classes that the study sets, and those that cannot be given as text."""

_SEEDS = {
    "ax_kwargs": "random_seed",  # of Ax's client
    "random_state": "random_state",
    "random_state_seed": "random_state_seed",
    "seed": "seed",
}
"""Parameters of Ray's classes that take a seed, and the name of the option to set."""

_Point = tuple[int, dict[str, Any], float]
"""Number, codes and value of a trial."""


class RaySampler(BaseSampler):
    """Proposes the points of a searcher of Ray Tune.

    The searcher identifies a trial by ``str(trial.number)`` and gets its value as `METRIC`, to be
    maximized. It works on codes (see `_ray_codes`).

    The searcher gets the results of the trials that it proposed. A pruned trial counts as
    complete, with its last score, just as Ray Tune reports a stopped trial to its searchers. A
    trial without a finite score has no result, and a failed one is an error.

    Other trials (enqueued ones, those of earlier runs or of other drivers) are passed on once,
    before the next proposal, with ``add_evaluated_point`` if the algorithm has it (optuna,
    hebo). The other algorithms get the trials that ended before the first proposal as
    ``points_to_evaluate``, whose results are reported at once, and never get later ones; bohb
    and zoopt learn from none of these trials. Parameters that such a trial does not have are
    drawn at random.

    If the searcher has nothing to propose (bayesopt while it waits for its first results or
    repeats itself, hebo and bohb beyond their ``max_concurrent``), the point is random, and so
    are the parameters that an enqueued trial does not fix.

    Only bohb learns from intermediate reports, and only from those that Ray's scheduler for it
    has marked: whoever runs that scheduler must pass them to ``searcher``. Without it, bohb's
    points are random.

    Parameters
    ----------
    algorithm : str or None
        Ray's name of the algorithm, such as ``"hyperopt"``. None raises an error that lists the
        names.
    options : mapping of str to object
        Arguments of Ray's class; nevergrad's ``optimizer`` is a name in its registry. Values
        of parameters in them must be given as codes.
    distributions : mapping of str to optuna.distributions.BaseDistribution
        The flat space: the searcher proposes values for all parameters, and the study uses those
        of the parameters that exist. An empty one serves to check algorithm and options.
    seed : int
        Seed of the study. The searcher's seed is derived from it and from the number of the first
        trial that it proposes, so that a resumed study does not propose its first points again.

    Attributes
    ----------
    searcher : _SearcherProxy
        The searcher to pass to a Ray scheduler; ``searcher.wrapped`` is Ray's own.

    Raises
    ------
    PluginError
        If the algorithm or an option is unknown, its package is missing or does not fit, or
        it cannot search a parameter.
    """

    def __init__(
        self,
        algorithm: str | None,
        options: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        seed: int,
    ) -> None:
        self._seed = seed
        self._distributions = {n: d for n, d in distributions.items() if not d.single()}
        factory = _SearcherFactory(algorithm, options, self._distributions)
        self.searcher = _SearcherProxy(factory)
        self._started = False
        self._proposed: dict[int, dict[str, Any]] = {}
        self._reported: set[int] = set()
        try:
            self.searcher.start(seed % 2**32, ())
            if self._distributions:  # some options are only checked by the first proposal
                self.searcher.suggest("check")
        except Exception as error:  # whatever the algorithm's package raises
            raise PluginError(factory.explain(error)) from error

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return an empty space: parameters are sampled one by one."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the value that is proposed for the parameter."""
        # Not in `before_trial`, which is also called for trials that are opened only to be closed.
        if trial.number not in self._proposed:
            self._proposed[trial.number] = self._propose(study, trial)
        codes = self._proposed[trial.number]
        if param_name not in codes:
            return self._draw_random(study, trial, param_name, param_distribution)
        return value_of(param_distribution, codes[param_name])

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Tell the searcher how a trial ended; ``values`` of a pruned one is its last score."""
        if not self._proposed.pop(trial.number, {}):
            return
        self._reported.add(trial.number)
        value = values[0] if values and math.isfinite(values[0]) else None
        self.searcher.complete(str(trial.number), value, failed=state is TrialState.FAIL)

    def _propose(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        """Return the codes that the searcher proposes for a trial; empty for an enqueued one."""
        if trial.system_attrs.get("fixed_params"):  # enqueued
            return {}
        points = self._unreported(study)
        if self._started:
            self.searcher.learn(points)
        else:
            seed = derive_seed(self._seed, "sampler", trial.number) % 2**32
            self.searcher.start(seed, points)
            self._started = True
        return self.searcher.suggest(str(trial.number))

    def _unreported(self, study: Study) -> list[_Point]:
        """Return the trials that the searcher has not been told of, without failed ones."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        new = [trial for trial in ended if trial.number not in self._reported]
        self._reported.update(trial.number for trial in new)
        return [
            (trial.number, self._codes(study, trial), trial.value)
            for trial in new
            if trial.value is not None and math.isfinite(trial.value)
        ]

    def _codes(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        values = {
            name: trial.params[name]
            if name in trial.params
            else self._draw_random(study, trial, name, distribution)
            for name, distribution in self._distributions.items()
        }
        return {name: code_of(self._distributions[name], value) for name, value in values.items()}

    def _draw_random(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        seed = derive_seed(self._seed, "sampler", trial.number, name) % 2**32
        return RandomSampler(seed).sample_independent(study, trial, name, distribution)


class _SearcherProxy:
    """A proxy for a Ray searcher, which stays the same object when the searcher is re-created."""

    def __init__(self, factory: "_SearcherFactory") -> None:
        self._factory = factory

    def start(self, seed: int, points: Sequence[_Point]) -> None:
        """Create a searcher that knows ``points``."""
        self._open: set[str] = set()
        self._finished = False
        self._isolated = _Isolated(seed)
        with self._isolated():
            self.wrapped = self._factory.make(seed, points)

    def learn(self, points: Sequence[_Point]) -> None:
        """Tell the searcher of trials that it has not proposed, if the algorithm supports it."""
        if self._factory.learns_any:
            with self._isolated():
                _add(self.wrapped, points)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Return the codes of the proposed point; none if there is nothing to propose."""
        if self._finished:
            return {}
        with self._isolated():
            proposal = self.wrapped.suggest(trial_id)
        if isinstance(proposal, dict):
            self._open.add(trial_id)
            return proposal
        if proposal == Searcher.FINISHED:
            self._finished = True
            warnings.warn(
                f"Ray's {type(self.wrapped).__name__} has ended its search before trial "
                f"{trial_id}: from there on points are random. Its options say when it ends.",
                UserWarning,
                stacklevel=2,
            )
        return {}

    def complete(self, trial_id: str, value: float | None, *, failed: bool) -> None:
        """Tell the searcher the result of a trial that it has proposed."""
        self._open.discard(trial_id)
        result = None if value is None else {METRIC: value}
        with self._isolated():
            self.wrapped.on_trial_complete(trial_id, result, error=failed)

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Pass on a report that BOHB's scheduler has marked."""
        if "hyperband_info" in result:
            self._pass_on("on_trial_result", trial_id, dict(result))

    def on_pause(self, trial_id: str) -> None:
        """Pass on that a trial was paused."""
        self._pass_on("on_pause", trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Pass on that a trial was resumed."""
        self._pass_on("on_unpause", trial_id)

    def _pass_on(self, name: str, trial_id: str, *arguments: Any) -> None:
        """Call this method of the searcher, if it has one and has proposed the trial."""
        if trial_id in self._open and hasattr(self.wrapped, name):
            with self._isolated():
                getattr(self.wrapped, name)(trial_id, *arguments)


class _SearcherFactory:
    """Creates the searchers of one algorithm with its options."""

    def __init__(
        self,
        algorithm: str | None,
        options: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
    ) -> None:
        algorithms = [name for name in SEARCH_ALG_IMPORT if name not in _NO_SEARCHERS]
        if algorithm not in algorithms:
            hint = did_you_mean(str(algorithm), algorithms) or "."
            raise PluginError(
                "sampler 'ray': the option 'algorithm' must name a search algorithm of Ray Tune. "
                f"Got {algorithm!r} instead{hint} Choose one of: {', '.join(algorithms)}."
            )
        self._name = algorithm
        self._label = f"sampler 'ray:algorithm={algorithm}'"
        try:
            with _Isolated(0)():
                self._class = SEARCH_ALG_IMPORT[algorithm]()
        except Exception as error:  # whatever its package raises
            raise PluginError(f"{self._label}: cannot be imported: {error}") from error
        self._options = self._check_options(options)
        self._domains = {name: domain(d) for name, d in distributions.items()}

    @property
    def learns_any(self) -> bool:
        """Whether a searcher can be told of any trial at any time."""
        return self._class.add_evaluated_point is not Searcher.add_evaluated_point

    def make(self, seed: int, points: Sequence[_Point]) -> Any:
        """Return a searcher that knows ``points``; `RaySampler` describes how it learns them."""
        options = {**self._seed_option(seed), **self._options}
        # ZOOpt proposes its own points instead of those that are passed to it.
        replayed = not self.learns_any and self._name != "zoopt"
        if points and replayed:
            options["points_to_evaluate"] = [codes for _, codes, _ in points]
        searcher = self._class(**options)
        if self._domains:
            searcher.set_search_properties(METRIC, "max", dict(self._domains))
        if self.learns_any:
            _add(searcher, points)
        elif replayed:
            _replay(searcher, points)
        return searcher

    def explain(self, error: Exception) -> str:
        """Return the message for an error of the algorithm, with the parameters it rejects."""
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, ValueError):
            refused = [name for name in self._domains if self._refuses(name)]
            text = f"it cannot search {', '.join(refused)}: {text}" if refused else text
        elif isinstance(error, AttributeError | ImportError | TypeError):
            text += f". Ray {ray.__version__} may want another version of the algorithm's package."
        elif self._options.get("optimizer"):
            text += " Some of Nevergrad's want optimizer_kwargs={'budget': <number of trials>}."
        return f"{self._label}: {text}"

    def _refuses(self, name: str) -> bool:
        try:
            self._class.convert_search_space({name: self._domains[name]})
        except ValueError:
            return True
        return False

    def _check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the checked options, with the name of nevergrad's optimizer resolved."""
        parameters = inspect.signature(self._class).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        parameter_names = [n for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD]
        allowed = [name for name in parameter_names if name not in _SET_BY_STUDY | _NOT_TEXT]
        for name in options:
            if name not in allowed and (name in parameter_names or not takes_any):
                raise PluginError(
                    f"{self._label} has no option '{name}'{did_you_mean(name, allowed) or '.'} "
                    f"Its options are: {', '.join(allowed)}."
                )
        if "optimizer" not in allowed:
            return dict(options)
        return {**options, "optimizer": self._optimizer(options.get("optimizer"))}

    def _optimizer(self, name: Any) -> Any:
        """Return the optimizer of Nevergrad that ``name`` stands for."""
        try:
            registry = importlib.import_module("nevergrad").optimizers.registry
        except ImportError:
            return None  # Ray tells what to install
        if name not in registry:
            hint = f"Got {name!r} instead{did_you_mean(str(name), registry) or '.'}"
            raise PluginError(
                f"{self._label}: the option 'optimizer' must name an optimizer in Nevergrad's "
                f"registry, such as OnePlusOne. {hint}"
            )
        return registry[name]

    def _seed_option(self, seed: int) -> dict[str, int]:
        parameters = inspect.signature(self._class).parameters
        return {_SEEDS[name]: seed for name in parameters if name in _SEEDS}


class _Isolated:
    """Runs a searcher without log output, and with its own global random state.

    Nevergrad, HpBandSter and ZOOpt use the global random generators of Python and NumPy: numbers
    drawn by other code between two proposals would change the study.
    """

    def __init__(self, seed: int) -> None:
        self._numbers = random.Random(seed).getstate(), np.random.RandomState(seed).get_state()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Apply both inside the block."""
        outer_state, level = _numbers(), logging.root.manager.disable
        _set_numbers(self._numbers)
        logging.disable(max(level, logging.WARNING))
        try:
            with warnings.catch_warnings(action="ignore"):  # of one package about another
                yield
        finally:
            logging.disable(level)
            self._numbers = _numbers()
            _set_numbers(outer_state)


def _numbers() -> tuple[Any, Any]:
    return random.getstate(), np.random.get_state()


def _set_numbers(states: tuple[Any, Any]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])


def _add(searcher: Any, points: Sequence[_Point]) -> None:
    for _, codes, value in points:
        searcher.add_evaluated_point(codes, value)


def _replay(searcher: Any, points: Sequence[_Point]) -> None:
    """Let the searcher propose the points that it was created with, and report their values."""
    for number, _, value in points:
        proposal = searcher.suggest(str(number))
        if isinstance(proposal, dict):  # bayesopt proposes nothing for a point it has seen
            searcher.on_trial_complete(str(number), {METRIC: value})
