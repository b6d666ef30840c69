"""Ray Tune's own schedulers, which can stop, pause and clone the trials of a study."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from ray import tune
from ray.tune import schedulers

from hpo._discovery import check_options, did_you_mean, parse_spec
from hpo.backends.ray.driver import StoreScheduler, StudyController
from hpo.backends.ray.worker import CHANGES, EVENT, SCORE, STEP, TRIAL, WORKER
from hpo.exceptions import ExecutorError, PluginError
from hpo.executors import Reported
from hpo.space import SearchSpace
from hpo.training import BaseObjective
from hpo.trial import CHANGED, Report, TrialState

__all__ = ["DelegatingScheduler", "SchedulerSpec", "check_storage", "read_scheduler"]

RULES: Mapping[str, type[schedulers.TrialScheduler]] = {
    "asha": schedulers.ASHAScheduler,
    "bohb": schedulers.HyperBandForBOHB,
    "hyperband": schedulers.HyperBandScheduler,
    "median_stopping": schedulers.MedianStoppingRule,
    "pbt": schedulers.PopulationBasedTraining,
}
"""Ray's schedulers by hpo's names.

PB2 and ResourceChangingScheduler need special arguments, and PBT's replay needs a finished run:
these are not offered.
"""

_SET_BY_STUDY = {"time_attr", "metric", "mode", "hyperparam_mutations", "custom_explore_fn"}
"""Arguments that are determined by the study."""


class SchedulerSpec:
    """One of Ray's schedulers by name, with its options.

    Parameters
    ----------
    name : str
        One of `RULES`.
    **options
        Arguments of Ray's class. ``max_t`` is the study's number of epochs unless given; for
        ``pbt``, ``mutate`` names the parameters to change (all that can be, by default).

    Raises
    ------
    PluginError
        If the name or an option is unknown, or a value is invalid.
    """

    def __init__(self, name: str, **options: Any) -> None:
        if name not in RULES:
            hint = did_you_mean(name, RULES) or "."
            raise PluginError(
                f"Ray Tune has no scheduler '{name}' that hpo knows{hint} Choose one of: "
                f"{', '.join(RULES)}."
            )
        self.name = name
        self._changing = _as_list(options.pop("mutate", ())) if name == "pbt" else []
        options_of_scheduler = {
            key: None for key in _parameters(RULES[name]) if key not in _SET_BY_STUDY
        }
        check_options(
            f"Ray's scheduler '{name}'", _function_with_options(options_of_scheduler), options
        )
        self._options = options
        self.make(10**6, {"lr": [0.1]})  # Ray checks the values

    @property
    def all_at_once(self) -> bool:
        """Whether the scheduler compares trials side by side and needs all of them at once."""
        return self.name in {"hyperband", "pbt"}

    @property
    def forgets(self) -> bool:
        """Whether the scheduler may forget a trial that was pausing when its bracket ended."""
        return self.name == "hyperband"

    @property
    def pauses(self) -> bool:
        """Whether trials are paused and resumed later."""
        return self.name in {"bohb", "hyperband", "pbt"}

    def make(self, max_steps: int, mutations: Mapping[str, Any]) -> schedulers.TrialScheduler:
        """Return Ray's scheduler for trials of ``max_steps``; see `mutations`.

        Raises
        ------
        PluginError
            If an option is invalid for Ray.
        """
        supported = _parameters(RULES[self.name])
        settings: dict[str, Any] = {"time_attr": STEP, "metric": SCORE, "mode": "max"}
        if "max_t" in supported:
            settings["max_t"] = max_steps
        if "grace_period" in supported:
            settings["grace_period"] = 1  # Ray's is 60 s where time is in seconds
        if self.name == "pbt":
            settings |= {
                "perturbation_interval": 1,
                "synch": True,
                "log_config": False,
                "hyperparam_mutations": {CHANGES: dict(mutations)},
                "custom_explore_fn": _Bounds(mutations),
            }
        try:
            return RULES[self.name](**{**settings, **self._options})
        except (AssertionError, TypeError, ValueError, tune.TuneError) as error:
            raise PluginError(f"Ray's scheduler '{self.name}': {error}") from error

    def mutations(self, space: SearchSpace, objective: BaseObjective) -> dict[str, Any]:
        """Return the parameters that change while a trial runs, with their ranges.

        Raises
        ------
        PluginError
            If there are none, or one of ``mutate`` cannot change during training.
        """
        if self.name != "pbt":
            return {}
        changeable = {
            name: domain
            for name, distribution in space.distributions.items()
            if name not in space.conditions
            and space.keeps_values_of(name)
            and objective.changeable(name)
            and (domain := _domain(distribution)) is not None
        }
        unchangeable = [name for name in self._changing if name not in changeable]
        if unchangeable or not changeable:
            problem = f" It cannot change {', '.join(unchangeable)}." if unchangeable else ""
            raise PluginError(
                "Ray's scheduler 'pbt' changes parameters while a model trains: numbers of the "
                "optimizer, the loss or the loader that every trial has (lr, "
                f"optimizer__weight_decay, l2_lambda, batch_size).{problem} This space has "
                f"{', '.join(changeable) or 'none of them'}."
            )
        return {name: changeable[name] for name in self._changing or changeable}


def read_scheduler(spec: Any) -> SchedulerSpec:
    """Return the scheduler that ``spec`` names: ``"asha"`` or ``"asha(grace_period=2)"``.

    Raises
    ------
    PluginError
        If it is not the name of one.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", spec) if isinstance(spec, str) else None
    if match is None:
        raise PluginError(
            f"scheduler must be a name such as 'asha' or 'asha(grace_period=2)'. Got {spec!r} "
            "instead."
        )
    name, options = parse_spec(f"{match[1]}:{match[2] or ''}")
    return SchedulerSpec(name, **options)


class DelegatingScheduler(StoreScheduler):
    """Lets one of Ray's schedulers decide, and passes its decisions to the driver.

    Parameters
    ----------
    driver : StudyController
    rule : SchedulerSpec
    space : SearchSpace
    objective : BaseObjective
    """

    def __init__(
        self,
        driver: StudyController,
        rule: SchedulerSpec,
        space: SearchSpace,
        objective: BaseObjective,
    ) -> None:
        super().__init__(driver)
        self._rule = rule
        mutations = rule.mutations(space, objective)
        self._ray_scheduler = rule.make(objective.max_steps({}), mutations)
        driver.parked = self._n_paused
        driver.all_at_once = rule.all_at_once
        driver.changing = list(mutations)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Forward the trial."""
        super().on_trial_add(tune_controller, trial)
        self._ray_scheduler.on_trial_add(_WithoutSearch(tune_controller), trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        """Handle the event in ``result``; for a report, ask Ray's scheduler."""
        driver = self._driver
        return str(driver.guarded(lambda: self._decide(tune_controller, trial, result), self.STOP))

    def _decide(self, controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        event, own_trial = result[EVENT], trial.config[TRIAL]
        worker = result.get(WORKER, "")
        if not isinstance(event, Reported):
            return str(self.STOP if self._driver.take(event, worker) else self.CONTINUE)
        report = _with_changes(event.report, trial.config.get(CHANGES, {}))
        if self._driver.take(Reported(report), worker):
            return str(self.STOP)
        if self._driver.trials.record(report.number).made_all_steps:
            return str(self.CONTINUE)  # it ends by itself, and is complete
        decision = self._ray_scheduler.on_trial_result(controller, trial, result)
        for other in self._live.values():
            self._restore_trial(other)
        if decision == self.STOP:
            self._stop(own_trial.number)
        return str(decision)

    def _restore_trial(self, trial: Any) -> None:
        """Restore a trial's own `Trial` after its config was cloned from another trial."""
        trial.config[TRIAL] = self._trials[trial.trial_id]

    def _close_record(self, trial: Any) -> None:
        """Close the record of a trial, unless its last event or the end of the run did."""
        driver, number = self._driver, trial.config[TRIAL].number
        is_open = driver.trials.record(number).state is TrialState.RUNNING
        if is_open and not (driver.error or driver.stopped):
            driver.guarded(lambda: self._stop(number), None)

    def _stop(self, number: int) -> None:
        trials = self._driver.trials
        record = trials.record(number)
        value = f"{record.reports[-1].value:.4g}, " if record.reports else ""
        reason = f"epoch {record.last_step}: {value}stopped by Ray's {self._rule.name}"
        trials.end(number, TrialState.PRUNED, reason)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Forward the death."""
        super().on_trial_error(tune_controller, trial)
        self._ray_scheduler.on_trial_error(tune_controller, trial)

    def on_trial_complete(
        self, tune_controller: Any, trial: Any, result: Mapping[str, Any]
    ) -> None:
        """Forward the end; close the record of a trial that was stopped while it was pausing."""
        super().on_trial_complete(tune_controller, trial, result)
        self._close_record(trial)
        self._ray_scheduler.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Close the record of a trial that was stopped while it was paused."""
        self._live.pop(trial.trial_id, None)
        self._close_record(trial)
        self._ray_scheduler.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Leave the choice to Ray's scheduler, unless it leaves all trials paused for ever.

        Hyperband forgets a trial that was still pausing when its bracket ended: if all remaining
        trials are paused and no new ones will come, they are stopped here. PBT may miss that the
        last trial has come to where all wait for each other: then one goes on, and PBT looks again.
        """
        chosen = self._ray_scheduler.choose_trial_to_run(tune_controller)
        if chosen is not None or not (self._driver.all_at_once and self._driver.handed_out_all):
            return chosen
        remaining = list(self._live.values())
        if not all(trial.status == "PAUSED" and not trial.is_saving for trial in remaining):
            return None
        if not self._rule.forgets:
            return next(iter(remaining), None)
        for trial in remaining:
            tune_controller.stop_trial(trial)
        return None

    def _n_paused(self) -> int:
        return sum(trial.status == "PAUSED" for trial in self._live.values())


class _WithoutSearch:
    """A controller without a search algorithm, which PBT would reject; ours only numbers trials."""

    search_alg = None

    def __init__(self, controller: Any) -> None:
        self._controller = controller

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)


class _Bounds:
    """Clips values proposed by PBT to the search space, whose bounds PBT ignores."""

    def __init__(self, mutations: Mapping[str, Any]) -> None:
        self._bounds = {
            name: (domain.lower, domain.upper - isinstance(domain, tune.search.sample.Integer))
            for name, domain in mutations.items()
            if hasattr(domain, "lower")
        }

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        changes = config[CHANGES]
        for name, (low, high) in self._bounds.items():
            changes[name] = min(max(changes[name], low), high)
        return config


def _domain(distribution: BaseDistribution) -> Any:
    """Return Ray's equivalent of a numeric distribution; None for any other one."""
    match distribution:
        case FloatDistribution(low=low, high=high, log=True):
            return tune.loguniform(low, high)
        case FloatDistribution(low=low, high=high):
            return tune.uniform(low, high)
        case IntDistribution(low=low, high=high, log=True):
            return tune.lograndint(low, high + 1)
        case IntDistribution(low=low, high=high):
            return tune.randint(low, high + 1)
        case CategoricalDistribution(choices=choices) if all(
            isinstance(choice, int | float) and not isinstance(choice, bool) for choice in choices
        ):
            return sorted(choices)
    return None


def _with_changes(report: Report, changes: Mapping[str, Any]) -> Report:
    """Return the report with the current parameter values added to its metrics."""
    width = max(len(report.fold_values), 1)
    values = {f"{CHANGED}{name}": (float(value),) * width for name, value in changes.items()}
    return replace(report, metrics={**report.metrics, **values})


def _as_list(names: Any) -> list[str]:
    """Return names from a list, or from a text such as ``lr`` or ``[lr, l2_lambda]``."""
    if isinstance(names, str):
        names = names.strip("[] ").split(",")
    return [str(name).strip() for name in names]


def _parameters(cls: type[Any]) -> Mapping[str, inspect.Parameter]:
    return {k: v for k, v in inspect.signature(cls).parameters.items() if k != "self"}


def _function_with_options(names: Mapping[str, Any]) -> Any:
    """Return a function whose signature has these names."""
    signature = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
    )

    def target(**_: Any) -> None: ...

    target.__signature__ = signature  # type: ignore[attr-defined]  # functions have one
    return target


def check_storage(rule: SchedulerSpec, storage_path: str | None) -> None:
    """Raise `ExecutorError` if a trial's state would not be available on another node.

    A paused trial may be resumed on another node.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if rule.pauses and storage_path is None and len(nodes) > 1:
        raise ExecutorError(
            f"Ray's scheduler '{rule.name}' puts trials aside, to go on on any of the cluster's "
            f"{len(nodes)} nodes: name a folder that all of them share (storage_path)."
        )
