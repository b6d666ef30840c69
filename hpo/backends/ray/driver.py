"""The driver: connects Ray Tune's callbacks to the trial manager."""

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.tune import Stopper
from ray.tune.schedulers import TrialScheduler as TuneScheduler
from ray.tune.search import Searcher

from hpo._failures import MAX_LENGTH, shortened
from hpo._redaction import redact
from hpo.backends.ray.worker import CHANGES, EVENT, RESUMED, TRIAL, WORKER
from hpo.exceptions import ExecutorError
from hpo.executors import Ended, Event, Failed, Reported, Revoked, TrainingClock
from hpo.executors.base import LoadError
from hpo.training import BaseObjective
from hpo.training.checkpoints import Checkpoint, CheckpointError
from hpo.training.folders import trial_folder, write_contents
from hpo.trial import Cause, Trial, TrialState
from hpo.trial_manager import TrialManager

__all__ = ["StoreScheduler", "StoreSearcher", "StudyController", "StudyStopper"]

T = TypeVar("T")

_MAX_DEAD_AT_START = 3
"""Number of trials in a row that may fail before a worker has reported anything."""

_CHECK_SECONDS = 5.0
"""Seconds between two checks of how many trials fit on the cluster."""


class StudyController:
    """What Ray Tune adds to a run: slots that come and go, restarts, and errors in callbacks.

    Ray Tune logs or swallows exceptions in its callbacks. An error here is therefore stored in
    ``error``, and ends the run at the next step.

    Parameters
    ----------
    trials : TrialManager
    objective : BaseObjective
    n_slots : callable
        ``n_slots()`` returns how many trials can currently run at a time.
    max_failures : int
        How often a trial is restarted after its worker died.
    """

    def __init__(
        self,
        trials: TrialManager,
        *,
        objective: BaseObjective,
        n_slots: Callable[[], int],
        max_failures: int,
    ) -> None:
        self.trials = trials
        self.error: Exception | None = None
        self.errors: dict[int, BaseException] = {}
        """The exceptions of the last trial that failed before the study was interrupted.

        Only those that could be sent to the driver.
        """
        self.stopped = ""
        self._objective = objective
        self._checkpointing = objective.checkpointing
        self._n_slots = n_slots
        self._n_places, self._checked_at = n_slots(), time.monotonic()
        self._max_failures = max_failures
        self._restarts: deque[Trial] = deque()
        self._deaths: Counter[int] = Counter()
        self._n_dead_at_start = 0
        self.parked: Callable[[], int] = lambda: 0
        """Returns the number of paused trials, which use no slot."""
        self.all_at_once = False
        """Whether all trials of the budget are handed out, to share the slots in turns."""
        self.changing: Collection[str] = ()
        """Names of the parameters that may change while a trial runs."""

    @property
    def searcher(self) -> Any:
        """Ray's search algorithm wrapped by the study's sampler, or None."""
        return getattr(self.trials.sampler, "searcher", None)

    def config(self, trial: Trial) -> dict[str, Any]:
        """Return the Ray config of ``trial``, which goes on from its checkpoint if it has one."""
        changes = {name: trial.params[name] for name in self.changing}
        checkpoint = self._checkpoint_of(trial)
        if checkpoint is None:
            return {TRIAL: trial, CHANGES: changes}
        before = trial.number if trial.resumed_from is None else trial.resumed_from
        trial = replace(trial, resumed_from=before, resumed_step=checkpoint.step)
        return {TRIAL: trial, CHANGES: changes, RESUMED: ray.put(checkpoint.state)}

    def _checkpoint_of(self, trial: Trial) -> Checkpoint | None:
        if self._checkpointing is None:
            return None
        try:
            checkpoint = self._checkpointing.files.read(trial)
        except CheckpointError:
            return None
        n_reported = self.trials.record(trial.number).last_position
        return checkpoint if checkpoint and 0 < checkpoint.step <= n_reported else None

    def _keep(self, number: int, checkpoint: ray.ObjectRef) -> None:
        """Write the checkpoint of a trial that continues."""
        checkpointing = self._checkpointing
        if checkpointing is None or checkpointing.off:
            return
        try:
            checkpointing.files.write(self.trials.record(number).trial, ray.get(checkpoint))
        except ray.exceptions.RayError:  # its worker has just died
            return
        except OSError as error:
            checkpointing.off = f"no training is put aside any more: {error}"

    def why_stop(self) -> str:
        """Return why the run must end now; an empty string if it may continue."""
        self.stopped = self.stopped or self.trials.stop_reason
        return self.stopped

    def guarded(self, action: Callable[[], T], otherwise: T) -> T:
        """Return the result of ``action``; store an error and return ``otherwise``."""
        try:
            return action()
        except Exception as error:
            self.error = self.error or error
            return otherwise

    @property
    def idle(self) -> bool:
        """Whether no trial is running."""
        return not self.trials.running

    @property
    def handed_out_all(self) -> bool:
        """Whether all trials of the budget are handed out and none is to be restarted."""
        return not self._restarts and self.trials.n_left < 1

    def next_trial(self) -> Trial | None:
        """Return the trial to start now; None if there is no free slot or no trial left."""
        if self._restarts:
            return self._restarts.popleft()
        if not self.all_at_once and self._n_running() >= self._capacity():
            return None
        return self.trials.ask(trained_by="ray")

    def _n_running(self) -> int:
        return len(self.trials.running) - self.parked()

    def _capacity(self) -> int:
        now = time.monotonic()
        if now - self._checked_at > _CHECK_SECONDS:  # nodes come and go
            self._n_places, self._checked_at = self._n_slots(), now
        return max(self._n_places, 1)

    def take(self, event: Event | LoadError, worker: str = "") -> bool:
        """Handle an event of a worker; return whether its trial has ended."""
        if isinstance(event, LoadError):
            raise ExecutorError(
                f"A worker cannot load the study: {event.reason}. Every node needs hpo and the "
                f"packages that the study imports.\n{event.error}"
            )
        self._n_dead_at_start = 0
        trials = self.trials
        if self.has_ended(event.number):  # it had its time while this was on its way
            return True
        trials.set_trained_by(event.number, "ray", worker=worker)
        match event:
            case Reported(report, checkpoint):
                if report.position <= trials.record(report.number).last_position:
                    return False  # a restarted trial repeats its reports exactly
                if trials.report([report]):
                    return True
                if checkpoint is not None:
                    self._keep(report.number, checkpoint)
                return False
            case Ended(number, files):
                if files is not None and self._objective.home is not None:
                    write_contents(ray.get(files), trial_folder(self._objective.home, number))
                trials.end(number)
            case Failed(number, reason, error):
                if not trials.stop_reason:
                    self.errors = event.loaded()
                trials.end(number, TrialState.FAILED, reason, error, event.cause)
            case Revoked(number, reason):
                trials.revoke(number, reason)
        return True

    def has_ended(self, number: int) -> bool:
        """Return whether a trial has ended, so that nothing of its training counts any more."""
        return self.trials.record(number).state is not TrialState.RUNNING

    def handle_trial_death(self, trial: Trial, cause: str) -> None:
        """Restart a trial whose worker died, or fail it if that has happened too often."""
        if self.has_ended(trial.number):  # its worker was killed because it had its time
            return
        self._deaths[trial.number] += 1
        deaths = self._deaths[trial.number]
        if deaths <= self._max_failures:
            self._restarts.append(trial)
            return
        self._n_dead_at_start += not self.trials.record(trial.number).all_reports
        times = "" if deaths == 1 else f" {deaths} times"
        reason = f"the worker process died{times}: {cause.strip().splitlines()[0]}"
        self.trials.end(trial.number, TrialState.FAILED, reason, cause, Cause.WORKER_DIED)
        if self._n_dead_at_start >= _MAX_DEAD_AT_START:
            raise ExecutorError(
                f"The workers of {self._n_dead_at_start} trials in a row died before their first "
                f"report: {reason}. Run with --backend optuna --executor serial to see the error "
                "itself."
            )


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
        # With no trial running, None would make the loop sleep for seconds.
        return str(Searcher.FINISHED) if driver.idle or driver.error else None

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: the driver already knows."""

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Forward a report to Ray's search algorithm, if one proposes the trials."""
        self._forward("on_trial_result", trial_id, result)

    def on_pause(self, trial_id: str) -> None:
        """Forward that BOHB's scheduler has paused a trial."""
        self._forward("on_pause", trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Forward that BOHB's scheduler resumes a trial."""
        self._forward("on_unpause", trial_id)

    def _forward(self, what: str, trial_id: str, *arguments: Any) -> None:
        if self._driver.searcher is not None:
            getattr(self._driver.searcher, what)(self._numbers[trial_id], *arguments)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Do nothing: a study is resumed from its store."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray Tune pickles its settings; a later run does not need them


class StoreScheduler(TuneScheduler):  # type: ignore[misc]  # Ray has no types
    """Ray Tune's scheduler: responds to each result with STOP or CONTINUE."""

    def __init__(self, driver: StudyController) -> None:
        super().__init__()
        self._driver = driver
        self._live: dict[str, Any] = {}
        self._trials: dict[str, Trial] = {}
        self._clock = TrainingClock()

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        """Handle the event in ``result``."""
        driver = self._driver
        over = driver.guarded(lambda: driver.take(result[EVENT], result.get(WORKER, "")), True)
        return str(self.STOP if over else self.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Handle the death of a trial's actor."""
        self._live.pop(trial.trial_id, None)
        driver = self._driver
        text = Path(trial.error_file).read_text(errors="replace") if trial.error_file else ""
        driver.guarded(lambda: driver.handle_trial_death(trial.config[TRIAL], _cause(text)), None)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Remember the trial, for `kill`."""
        self._live[trial.trial_id] = trial
        self._trials[trial.trial_id] = trial.config[TRIAL]

    def on_trial_complete(
        self, tune_controller: Any, trial: Any, result: Mapping[str, Any]
    ) -> None:
        """Forget the trial: it has ended at a result."""
        self._live.pop(trial.trial_id, None)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Do nothing: no trial is removed before it runs."""

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Leave the choice to Ray Tune: first come, first served."""

    def end_overdue(self) -> None:
        """End the trials that have been in training for too long; to be called all the time.

        Trials that wait for a place, or are put aside, are not in training.
        """
        trials = self._driver.trials
        training = {
            self._trials[trial_id].number: trial_id
            for trial_id, trial in self._live.items()
            if trial.status == "RUNNING"
        }
        for number in self._clock.look(training, trials.limits.trial_timeout):
            trials.time_out(number)
            self._kill(training[number])

    def kill(self) -> None:
        """Kill the actors of all running trials, even in the middle of a step."""
        for trial_id in list(self._live):
            self._kill(trial_id)

    def _kill(self, trial_id: str) -> None:
        actor = self._live.pop(trial_id).temporary_state.ray_actor
        if actor is not None:
            with contextlib.suppress(ray.exceptions.RayError, ValueError):
                ray.kill(actor)

    def debug_string(self) -> str:
        """Return a line for Ray Tune's status."""
        return "hpo"

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StudyStopper(Stopper):  # type: ignore[misc]  # Ray has no types
    """Ray Tune's stopper: ends everything when the driver says so."""

    def __init__(self, driver: StudyController, scheduler: StoreScheduler) -> None:
        self._driver = driver
        self._scheduler = scheduler

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Let the trial continue: `StoreScheduler` decides."""
        return False

    def stop_all(self) -> bool:
        """Return whether the run must end; called after every event, and every 0.1 s."""
        driver = self._driver
        driver.guarded(driver.trials.heartbeat, None)
        driver.guarded(self._scheduler.end_overdue, None)
        if not (driver.error or driver.why_stop()):
            return False
        driver.guarded(self._scheduler.kill, None)  # Ray Tune would wait for their steps to end
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _cause(text: str) -> str:
    """Return Ray's description of a death, without the line that counts failures."""
    lines = text.splitlines()
    message = "\n".join(line for line in lines if not line.startswith("Failure # ")) or "unknown"
    return shortened(redact(message), MAX_LENGTH)
