"""Ray Tune's search algorithms, lent to a study as its sampler."""

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
"""Under this name a searcher finds a trial's value in its result."""

_NO_SEARCHERS = {"random", "variant_generator"}
"""Ray's names for points drawn without a searcher, which our own sampler ``random`` does."""

_OURS = {"dim_dict", "evaluated_rewards", "metric", "mode", "points_to_evaluate", "space"}
_OBJECTS = {"analysis", "ax_client", "sampler", "storage"}
"""Arguments of Ray's classes that the study gives, and those that text cannot give."""

_SEEDS = {
    "ax_kwargs": "random_seed",  # of Ax's client
    "random_state": "random_state",
    "random_state_seed": "random_state_seed",
    "seed": "seed",
}
"""Parameters of Ray's classes that take a seed, and under which name."""

_Point = tuple[int, dict[str, Any], float]
"""Number, codes and value of a trial."""


class RaySampler(BaseSampler):
    """Proposes what a searcher of Ray Tune proposes.

    The searcher knows a trial by ``str(trial.number)`` and its value as `METRIC`, greater
    being better. It works on codes (see `_ray_codes`).

    It is told how the trials that it proposed ended. A pruned one counts as complete, with
    its last score: that is what Ray Tune tells its searchers of a trial that was stopped.
    One without a finite score has no result, a failed one is an error.

    Other trials (enqueued ones, those of earlier runs or of other drivers) are told once,
    before the next proposal, by ``add_evaluated_point`` if the algorithm has it (optuna,
    hebo). The other algorithms are given those that ended before the first proposal as
    ``points_to_evaluate``, which are answered at once, and never hear of later ones; bohb and
    zoopt learn from none. Parameters that did not exist in such a trial are drawn.

    Where the searcher has nothing to propose (bayesopt while it waits for its first results
    or repeats itself, hebo and bohb beyond their ``max_concurrent``), the point is random,
    and so are the parameters that an enqueued trial leaves open.

    Only bohb learns from reports, and only from those that Ray's scheduler for it has marked:
    who runs that scheduler tells ``searcher`` of them. Without it, bohb's points are random.

    Parameters
    ----------
    algorithm : str or None
        Ray's name of it, such as ``"hyperopt"``. None is refused, with the names.
    options : mapping of str to object
        Arguments of Ray's class; nevergrad's ``optimizer`` is a name in its registry. Where
        they hold values of parameters, codes are meant.
    distributions : mapping of str to optuna.distributions.BaseDistribution
        The flat space: values are proposed for all parameters and asked for those that
        exist. An empty one serves to check algorithm and options.
    seed : int
        The study's. The searcher's derives from it and from the number of the first trial
        that it proposes: a resumed study does not propose its first points again.

    Attributes
    ----------
    searcher : _Relay
        What a scheduler of Ray's calls as its searcher; ``searcher.wrapped`` is Ray's own.

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
        maker = _Maker(algorithm, options, self._distributions)
        self.searcher = _Relay(maker)
        self._started = False
        self._proposed: dict[int, dict[str, Any]] = {}
        self._told: set[int] = set()
        try:
            self.searcher.start(seed % 2**32, ())
            if self._distributions:  # some options are looked at by the first proposal only
                self.searcher.suggest("check")
        except Exception as error:  # whatever the algorithm's package raises
            raise PluginError(maker.explained(error)) from error

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return an empty space: parameters are asked for one by one."""
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
        # Not in `before_trial`: that hears of trials too that are opened to be closed.
        if trial.number not in self._proposed:
            self._proposed[trial.number] = self._propose(study, trial)
        codes = self._proposed[trial.number]
        if param_name not in codes:
            return self._drawn(study, trial, param_name, param_distribution)
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
        self._told.add(trial.number)
        value = values[0] if values and math.isfinite(values[0]) else None
        self.searcher.complete(str(trial.number), value, failed=state is TrialState.FAIL)

    def _propose(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        """Return the codes that the searcher proposes for a trial; none if it is not asked."""
        if trial.system_attrs.get("fixed_params"):  # enqueued
            return {}
        points = self._untold(study)
        if self._started:
            self.searcher.learn(points)
        else:
            seed = derive_seed(self._seed, "sampler", trial.number) % 2**32
            self.searcher.start(seed, points)
            self._started = True
        return self.searcher.suggest(str(trial.number))

    def _untold(self, study: Study) -> list[_Point]:
        """Return the trials that the searcher has not heard of; failed ones teach nothing."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        new = [trial for trial in ended if trial.number not in self._told]
        self._told.update(trial.number for trial in new)
        return [
            (trial.number, self._codes(study, trial), trial.value)
            for trial in new
            if trial.value is not None and math.isfinite(trial.value)
        ]

    def _codes(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        values = {
            name: trial.params[name]
            if name in trial.params
            else self._drawn(study, trial, name, distribution)
            for name, distribution in self._distributions.items()
        }
        return {name: code_of(self._distributions[name], value) for name, value in values.items()}

    def _drawn(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        seed = derive_seed(self._seed, "sampler", trial.number, name) % 2**32
        return RandomSampler(seed).sample_independent(study, trial, name, distribution)


class _Relay:
    """The way to a searcher of Ray's; it stays the same when the searcher is made anew."""

    def __init__(self, maker: "_Maker") -> None:
        self._maker = maker

    def start(self, seed: int, points: Sequence[_Point]) -> None:
        """Make a searcher that knows ``points``."""
        self._open: set[str] = set()
        self._finished = False
        self._aside = _Aside(seed)
        with self._aside():
            self.wrapped = self._maker.make(seed, points)

    def learn(self, points: Sequence[_Point]) -> None:
        """Tell the searcher of trials that it has not proposed, if it can be told."""
        if self._maker.learns_any:
            with self._aside():
                _add(self.wrapped, points)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Return the codes of the proposed point; none if there is nothing to propose."""
        if self._finished:
            return {}
        with self._aside():
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
        """Tell the searcher how a trial ended that it has proposed."""
        self._open.discard(trial_id)
        result = None if value is None else {METRIC: value}
        with self._aside():
            self.wrapped.on_trial_complete(trial_id, result, error=failed)

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Pass on a report that BOHB's scheduler has marked."""
        if "hyperband_info" in result:
            self._pass_on("on_trial_result", trial_id, dict(result))

    def on_pause(self, trial_id: str) -> None:
        """Pass on that a trial was put aside."""
        self._pass_on("on_pause", trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Pass on that a trial goes on."""
        self._pass_on("on_unpause", trial_id)

    def _pass_on(self, name: str, trial_id: str, *arguments: Any) -> None:
        """Call the searcher, if it has such a method and has proposed the trial."""
        if trial_id in self._open and hasattr(self.wrapped, name):
            with self._aside():
                getattr(self.wrapped, name)(trial_id, *arguments)


class _Maker:
    """Makes the searchers of one algorithm with its options."""

    def __init__(
        self,
        algorithm: str | None,
        options: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
    ) -> None:
        known = [name for name in SEARCH_ALG_IMPORT if name not in _NO_SEARCHERS]
        if algorithm not in known:
            hint = did_you_mean(str(algorithm), known) or "."
            raise PluginError(
                "sampler 'ray': the option 'algorithm' must name a search algorithm of Ray Tune. "
                f"Got {algorithm!r} instead{hint} Choose one of: {', '.join(known)}."
            )
        self._name = algorithm
        self._label = f"sampler 'ray:algorithm={algorithm}'"
        try:
            with _Aside(0)():
                self._class = SEARCH_ALG_IMPORT[algorithm]()
        except Exception as error:  # whatever its package raises
            raise PluginError(f"{self._label}: cannot be imported: {error}") from error
        self._options = self._checked(options)
        self._domains = {name: domain(d) for name, d in distributions.items()}

    @property
    def learns_any(self) -> bool:
        """Whether a searcher can be told of any trial at any time."""
        return self._class.add_evaluated_point is not Searcher.add_evaluated_point

    def make(self, seed: int, points: Sequence[_Point]) -> Any:
        """Return a searcher that knows ``points``; see `RaySampler` for what is known how."""
        options = {**self._seed_option(seed), **self._options}
        # ZOOpt proposes points of its own in place of those that it is given.
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

    def explained(self, error: Exception) -> str:
        """Return the message for an error that the algorithm raised, with what it cannot search."""
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

    def _checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options, nevergrad's optimizer looked up."""
        parameters = inspect.signature(self._class).parameters
        any_goes = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        named = [n for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD]
        known = [name for name in named if name not in _OURS | _OBJECTS]
        for name in options:
            if name not in known and (name in named or not any_goes):
                raise PluginError(
                    f"{self._label} has no option '{name}'{did_you_mean(name, known) or '.'} "
                    f"Its options are: {', '.join(known)}."
                )
        if "optimizer" not in known:
            return dict(options)
        return {**options, "optimizer": self._optimizer(options.get("optimizer"))}

    def _optimizer(self, name: Any) -> Any:
        """Return the optimizer of Nevergrad that ``name`` stands for."""
        try:
            registry = importlib.import_module("nevergrad").optimizers.registry
        except ImportError:
            return None  # Ray tells what to install
        if name not in registry:
            given = f"Got {name!r} instead{did_you_mean(str(name), registry) or '.'}"
            raise PluginError(
                f"{self._label}: the option 'optimizer' must name an optimizer in Nevergrad's "
                f"registry, such as OnePlusOne. {given}"
            )
        return registry[name]

    def _seed_option(self, seed: int) -> dict[str, int]:
        parameters = inspect.signature(self._class).parameters
        return {_SEEDS[name]: seed for name in parameters if name in _SEEDS}


class _Aside:
    """Lets a searcher work in silence, with global random numbers of its own.

    Nevergrad, HpBandSter and ZOOpt draw from the generators of Python and NumPy that all
    code shares: what is drawn between two proposals would change a study.
    """

    def __init__(self, seed: int) -> None:
        self._numbers = random.Random(seed).getstate(), np.random.RandomState(seed).get_state()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Make it so inside the block."""
        theirs, level = _numbers(), logging.root.manager.disable
        _set_numbers(self._numbers)
        logging.disable(max(level, logging.WARNING))
        try:
            with warnings.catch_warnings(action="ignore"):  # of one package about another
                yield
        finally:
            logging.disable(level)
            self._numbers = _numbers()
            _set_numbers(theirs)


def _numbers() -> tuple[Any, Any]:
    return random.getstate(), np.random.get_state()


def _set_numbers(states: tuple[Any, Any]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])


def _add(searcher: Any, points: Sequence[_Point]) -> None:
    for _, codes, value in points:
        searcher.add_evaluated_point(codes, value)


def _replay(searcher: Any, points: Sequence[_Point]) -> None:
    """Have the searcher propose the points that it was made with, and answer."""
    for number, _, value in points:
        proposal = searcher.suggest(str(number))
        if isinstance(proposal, dict):  # bayesopt makes none of a point that it has seen
            searcher.on_trial_complete(str(number), {METRIC: value})
