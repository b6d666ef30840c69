"""The actor of Ray Tune: trains one trial after another, one step per call."""

import os
import pickle
import platform
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
from ray import tune

from hpo._failures import traceback_of
from hpo.executors import RunningTrial, Settings
from hpo.executors.base import Ended, Event, LoadError, Reported, reason_of
from hpo.training import BaseObjective
from hpo.training.checkpointing import CheckpointedRun
from hpo.trial import Report, Trial

__all__ = [
    "CHANGES",
    "EVENT",
    "RESUMED",
    "SCORE",
    "STEP",
    "TRIAL",
    "WORKER",
    "Worker",
    "WorkerPayload",
]

TRIAL, CHANGES, RESUMED = "trial", "changes", "resumed"
"""Keys of a Ray trial's config: the trial, the parameters changed since its start, and the state
from which it goes on, in the object store."""

EVENT, SCORE, STEP, WORKER = "event", "score", "step", "worker"
"""Keys of a result: the event, and for Ray the value and the step of a report."""

_STATE = "state"
"""Key of a checkpoint: the state of the training."""


@dataclass(frozen=True, slots=True)
class WorkerPayload:
    """What every worker needs once; sent through the object store.

    Parameters
    ----------
    head : bytes
        The pickled objective, without its arrays.
    arrays : sequence of array
        The arrays as bytes.
    settings : Settings
        The settings of the driver.
    n_threads : int
        Threads of torch and BLAS.
    device : str
    """

    head: bytes
    arrays: Sequence[np.ndarray]
    settings: Settings
    n_threads: int
    device: str

    def unpack(self) -> BaseObjective:
        """Return the objective with writable copies of the arrays in the object store."""
        self.settings.enter(here=False)
        buffers = [bytearray(array.data) for array in self.arrays]
        objective: BaseObjective = pickle.loads(self.head, buffers=buffers)
        self.settings.configure()
        return objective


class Worker(tune.Trainable):  # type: ignore[misc]  # Ray has no types
    """An actor that trains one trial after another (``reuse_actors``).

    Errors of a trial are returned as results, so that the actor and its loaded torch survive.
    """

    def setup(self, config: dict[str, Any], payload: WorkerPayload | None = None) -> None:
        """Load the objective, which is no part of a trial's time, and accept the first trial.

        If it cannot be loaded, the first step says so: an error here would be raised again and
        again.
        """
        assert payload is not None
        self._payload = payload
        self._objective: BaseObjective | None = None
        self._limits = ExitStack()
        with suppress(BaseException):  # loading runs the user's code
            self._load()
        self._accept(config)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Close the current trial and accept the next one."""
        self._close()
        self._accept(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train the trial for one step."""
        event = self._next_event()
        if isinstance(event, Reported):
            self._last: dict[str, float] = {
                SCORE: event.report.value,
                STEP: event.report.step,
            }
        name = f"Ray actor {os.getpid()} on {platform.node()}"
        return {
            EVENT: event,
            WORKER: name,
            **self._last,
        }  # Ray's schedulers also use the last result

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Return the state of the training; None if it cannot be saved."""
        state = getattr(self._running.steps, "state", None)
        return {_STATE: state() if state else None}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Continue from the state of this trial, or of another one, at the next step.

        A training whose state cannot be saved is repeated from its beginning; the driver already
        has its reports.
        """
        self._state: bytes | None = checkpoint[_STATE] if checkpoint else None

    def cleanup(self) -> None:
        """Close the current trial, and restore the number of threads."""
        self._close()
        self._limits.close()

    def _accept(self, config: Mapping[str, Any]) -> None:
        self._trial: Trial = config[TRIAL]
        self._changes: Mapping[str, Any] = config.get(CHANGES, {})
        self._resumed: ray.ObjectRef | None = config.get(RESUMED)
        self._running = RunningTrial(self._trial.number, self._begin)
        self._state = None
        self._last = {}

    def _next_event(self) -> Event | LoadError:
        try:
            self._load()
        except BaseException as error:  # loading runs the user's code
            return LoadError(self._trial.number, reason_of(error), traceback_of(error))
        with self._payload.settings.warning_alike():
            steps = self._running.steps
            event = self._running.step_for_the_driver()
        if isinstance(event, Ended):
            return replace(event, files=_remote_files(steps))
        if isinstance(event, Reported) and isinstance(self._running.steps, CheckpointedRun):
            checkpoint = self._running.steps.take()
            return replace(event, checkpoint=ray.put(checkpoint)) if checkpoint else event
        return event

    def _begin(self) -> Generator[Report]:
        objective, trial, device = self._load(), self._trial, self._payload.device
        if self._state is None:
            resumed = None if self._resumed is None else ray.get(self._resumed)
            return objective.begin(trial, device, resumed)
        return objective.resume(trial, self._state, device, self._changes)

    def _load(self) -> BaseObjective:
        if self._objective is None:
            self._objective = self._payload.unpack()
            if "torch" in sys.modules:  # do not load it for an objective without it
                from hpo.training.threads import limit_threads

                self._limits.enter_context(limit_threads(self._payload.n_threads))
        return self._objective

    def _close(self) -> None:
        self._running.close()


def _remote_files(steps: Generator[Report] | None) -> ray.ObjectRef | None:
    """Return the files of a trial that the driver cannot read, through the object store."""
    files = getattr(steps, "files", None)
    contents = files.take_out() if files is not None and files.is_far else {}
    return ray.put(contents) if contents else None
