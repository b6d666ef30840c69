"""The driver's side: what Ray Tune asks and tells, answered by trial store and trial manager."""

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.tune import Stopper
from ray.tune.schedulers import TrialScheduler as TuneScheduler
from ray.tune.search import Searcher

from hpo._failures import MAX_LENGTH, shortened
from hpo._redaction import redact
from hpo._stop_signal import StopSignal
from hpo.backends.base import Budget
from hpo.backends.ray.worker import CHANGES, EVENT, TRIAL
from hpo.exceptions import ExecutorError
from hpo.executors import Ended, Event, Failed, Reported
from hpo.executors.base import LoadError
from hpo.storage.trial_store import TrialStore
from hpo.training import BaseObjective
from hpo.training.folders import trial_folder, write_contents
from hpo.trial import Cause, Report, Trial, TrialRecord, TrialState
from hpo.trial_manager import TrialManager

__all__ = ["StoreScheduler", "StoreSearcher", "StudyController", "StudyStopper"]

T = TypeVar("T")

_MAX_STILLBORN = 3
"""Trials in a row that may be lost before a worker has said anything."""

_LOOK_AROUND_SECONDS = 5.0
"""How often the cluster is asked how many trials fit."""


class StudyController:
    """One run of a study: hands out trials, takes events, decides.

    Ray Tune logs or swallows what is raised in its callbacks. An error here therefore is
    kept in ``error``, and ends the run at the next step.

    Parameters
    ----------
    store, manager, budget, interrupt
        As `BaseBackend.run` is given them.
    objective : BaseObjective
    n_slots : callable
        ``n_slots()`` is how many trials can run at a time now.
    max_failures : int
        How often a trial whose worker died starts again.
    """

    def __init__(
        self,
        store: TrialStore,
        manager: TrialManager,
        budget: Budget,
        interrupt: StopSignal,
        *,
        objective: BaseObjective,
        n_slots: Callable[[], int],
        max_failures: int,
    ) -> None:
        self.error: Exception | None = None
        self.errors: dict[int, BaseException] = {}
        """What the last trial raised that failed before somebody asked the study to end.

        Where it could be carried here.
        """
        self.stopped = ""
        self._store = store
        self._manager = manager
        self._budget = budget
        self._interrupt = interrupt
        self._objective = objective
        self._n_slots = n_slots
        self._places, self._looked = n_slots(), time.monotonic()
        self._max_failures = max_failures
        self._again: deque[Trial] = deque()
        self._deaths: Counter[int] = Counter()
        self._stillborn = 0
        self.parked: Callable[[], int] = lambda: 0
        """How many trials are put aside, and so take no place."""
        self.all_at_once = False
        """Whether all trials of the budget are handed out, to take turns on the places."""
        self.changing: Collection[str] = ()
        """Names of the parameters that may change while a trial runs."""

    @property
    def searcher(self) -> Any:
        """The search algorithm of Ray's that the study's sampler wraps, or None."""
        return getattr(self._store.sampler, "searcher", None)

    def config(self, trial: Trial) -> dict[str, Any]:
        """Return what a worker is given of ``trial``."""
        return {TRIAL: trial, CHANGES: {name: trial.params[name] for name in self.changing}}

    def why_stop(self) -> str:
        """Return why the run must end now; an empty string if it may go on."""
        self.stopped = self.stopped or self._why()
        return self.stopped

    def _why(self) -> str:
        return self._interrupt.reason or self._budget.overdrawn(self._manager)

    def guarded(self, action: Callable[[], T], otherwise: T) -> T:
        """Return what ``action`` returns; keep what it raises and return ``otherwise``."""
        try:
            return action()
        except Exception as error:
            self.error = self.error or error
            return otherwise

    @property
    def idle(self) -> bool:
        """Whether no trial is in flight."""
        return not self._manager.running

    @property
    def handed_out_all(self) -> bool:
        """Whether the budget's trials are all handed out, none to be started again."""
        return not self._again and self._budget.trials_left(self._manager) < 1

    def next_trial(self) -> Trial | None:
        """Return the trial to start now; None while there is no place or none is wanted."""
        if self._again:
            return self._again.popleft()
        if not self.all_at_once and self._taken() >= self._capacity():
            return None
        finished, elsewhere = self._store.sync_other_workers(self._manager.numbers)
        for record in finished:
            self._manager.add(record)
        if self._budget.trials_left(self._manager, elsewhere) < 1 or self._store.exhausted:
            return None
        trial = self._store.ask()
        max_steps = self._objective.max_steps(trial.params)
        self._manager.on_trial_start(trial, max_steps, trained_by="ray")
        return trial

    def _taken(self) -> int:
        return len(self._manager.running) - self.parked()

    def _capacity(self) -> int:
        now = time.monotonic()
        if now - self._looked > _LOOK_AROUND_SECONDS:  # nodes come and go
            self._places, self._looked = self._n_slots(), now
        return max(self._places, 1)

    def take(self, event: Event | LoadError) -> bool:
        """Take in an event; return whether its trial is over."""
        if isinstance(event, LoadError):
            raise ExecutorError(
                f"A worker cannot load the study: {event.reason}. Every node needs hpo and the "
                f"packages that the study imports.\n{event.error}"
            )
        self._stillborn = 0
        match event:
            case Reported(report):
                if report.step <= self._manager.record(report.number).last_step:
                    return False  # a trial that was started again repeats itself, bit for bit
                self._store.report(report)
                decision = self._manager.on_report(report)
                if decision.stop:
                    end = report.number, TrialState.PRUNED, decision.reason
                    self._end(*end, cause=decision.cause)
                return decision.stop
            case Ended(number, files):
                if files is not None and self._objective.home is not None:
                    write_contents(ray.get(files), trial_folder(self._objective.home, number))
                self._end(number, TrialState.COMPLETE)
            case Failed(number, reason, error):
                if not self._interrupt.reason:
                    self.errors = event.loaded()
                self._end(number, TrialState.FAILED, reason, error, event.cause)
        return True

    def stop(self, number: int, reason: str) -> None:
        """Close a trial as pruned, for a reason that is not the pruner's."""
        self._end(number, TrialState.PRUNED, reason)

    def record(self, number: int) -> TrialRecord:
        """Return the record of trial ``number``."""
        return self._manager.record(number)

    def is_last(self, report: Report) -> bool:
        """Whether a trial ends by itself after ``report``."""
        max_steps = self.record(report.number).max_steps
        return max_steps is not None and report.step >= max_steps

    def handle_trial_death(self, trial: Trial, cause: str) -> None:
        """Start a trial whose worker died again, or fail it if that has happened too often."""
        self._deaths[trial.number] += 1
        deaths = self._deaths[trial.number]
        if deaths <= self._max_failures:
            self._again.append(trial)
            return
        self._stillborn += not self._manager.record(trial.number).reports
        times = "" if deaths == 1 else f" {deaths} times"
        reason = f"the worker process died{times}: {cause.strip().splitlines()[0]}"
        self._end(trial.number, TrialState.FAILED, reason, cause, Cause.WORKER_DIED)
        if self._stillborn >= _MAX_STILLBORN:
            raise ExecutorError(
                f"The workers of {self._stillborn} trials in a row died before their first report: "
                f"{reason}. Run with --backend optuna --executor serial to see the error itself."
            )

    def heartbeat(self) -> None:
        """Show other drivers that this one lives."""
        self._store.heartbeat()

    def _end(
        self,
        number: int,
        state: TrialState,
        reason: str = "",
        error: str | None = None,
        cause: Cause | None = None,
    ) -> None:
        self._store.tell(self._manager.on_trial_end(number, state, reason, error, cause))

    def interrupt_all(self) -> None:
        """Close the trials in flight: as interrupted, but for those that made all their steps."""
        why, cause = self._budget.cut_off(self._manager, self._interrupt)
        for record in self._manager.running:
            if record.made_all_steps:
                self._end(record.number, TrialState.COMPLETE)
            else:
                self._store.tell(self._manager.on_interrupt(record.number, why, cause))


class StoreSearcher(Searcher):  # type: ignore[misc]  # Ray has no types
    """Ray Tune's searcher: hands out the driver's trials; results go to `StoreScheduler`."""

    def __init__(self, driver: StudyController) -> None:
        super().__init__()
        self._driver = driver
        self._numbers: dict[str, str] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the config of the next trial, None for later, or FINISHED."""
        driver = self._driver
        if driver.error or driver.why_stop():
            return str(Searcher.FINISHED)
        trial = driver.guarded(driver.next_trial, None)
        if trial is not None:
            self._numbers[trial_id] = str(trial.number)
            return driver.config(trial)
        # With nothing in flight, None would put the loop to sleep for seconds.
        return str(Searcher.FINISHED) if driver.idle or driver.error else None

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: the driver knows."""

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Pass a report on to a search algorithm of Ray's, if one proposes the trials."""
        self._pass_on("on_trial_result", trial_id, result)

    def on_pause(self, trial_id: str) -> None:
        """Pass on that BOHB's scheduler has put a trial aside."""
        self._pass_on("on_pause", trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Pass on that BOHB's scheduler lets a trial go on."""
        self._pass_on("on_unpause", trial_id)

    def _pass_on(self, what: str, trial_id: str, *arguments: Any) -> None:
        if self._driver.searcher is not None:
            getattr(self._driver.searcher, what)(self._numbers[trial_id], *arguments)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Do nothing: a study goes on from its store."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray Tune pickles its settings, which are of no use to a later run


class StoreScheduler(TuneScheduler):  # type: ignore[misc]  # Ray has no types
    """Ray Tune's scheduler: answers each result with STOP or CONTINUE."""

    def __init__(self, driver: StudyController) -> None:
        super().__init__()
        self._driver = driver
        self._live: dict[str, Any] = {}
        self._own: dict[str, Trial] = {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        """Take in the event in ``result``."""
        driver = self._driver
        over = driver.guarded(lambda: driver.take(result[EVENT]), True)
        return str(self.STOP if over else self.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Hear that a trial's actor died."""
        self._live.pop(trial.trial_id, None)
        driver = self._driver
        text = Path(trial.error_file).read_text(errors="replace") if trial.error_file else ""
        driver.guarded(lambda: driver.handle_trial_death(trial.config[TRIAL], _cause(text)), None)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Remember the trial, for `kill`."""
        self._live[trial.trial_id] = trial
        self._own[trial.trial_id] = trial.config[TRIAL]

    def on_trial_complete(
        self, tune_controller: Any, trial: Any, result: Mapping[str, Any]
    ) -> None:
        """Forget the trial: it has ended at a result."""
        self._live.pop(trial.trial_id, None)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Do nothing: no trial is taken out before it runs."""

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Leave the choice to Ray Tune: first come, first served."""

    def kill(self) -> None:
        """End the actors of all trials in flight, in the middle of a step if they make one."""
        for trial in self._live.values():
            actor = trial.temporary_state.ray_actor
            if actor is not None:
                with contextlib.suppress(ray.exceptions.RayError, ValueError):
                    ray.kill(actor)
        self._live.clear()

    def debug_string(self) -> str:
        """Return a line for Ray Tune's status."""
        return "hpo"

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StudyStopper(Stopper):  # type: ignore[misc]  # Ray has no types
    """Ray Tune's stopper: ends everything when the driver says so."""

    def __init__(self, driver: StudyController, decider: StoreScheduler) -> None:
        self._driver = driver
        self._decider = decider

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Let the trial go on: `StoreScheduler` decides."""
        return False

    def stop_all(self) -> bool:
        """Return whether the run must end; called after every event, and every 0.1 s."""
        driver = self._driver
        driver.guarded(driver.heartbeat, None)
        if not (driver.error or driver.why_stop()):
            return False
        driver.guarded(self._decider.kill, None)  # Ray Tune would wait for their steps to end
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _cause(text: str) -> str:
    """Return what Ray tells of a death, without the line that counts it."""
    lines = text.splitlines()
    told = "\n".join(line for line in lines if not line.startswith("Failure # ")) or "unknown"
    return shortened(redact(told), MAX_LENGTH)
