"""What runs in an actor of Ray Tune: one trial after another, one step a call."""

import pickle
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
from ray import tune

from hpo._failures import traceback_of
from hpo.executors import RunningTrial, Settings
from hpo.executors.base import Ended, Event, LoadError, Reported, reason_of
from hpo.training import BaseObjective
from hpo.trial import Report, Trial

__all__ = ["CHANGES", "EVENT", "SCORE", "STEP", "TRIAL", "Worker", "WorkerPayload"]

TRIAL, CHANGES = "trial", "changes"
"""Under which name a Ray trial's config holds the trial, and parameters changed since."""

EVENT, SCORE, STEP = "event", "score", "step"
"""Under which name a result holds the event, and a report's value and step, for Ray's eyes."""

_STATE = "state"
"""Under which name a checkpoint holds the state of a training."""


@dataclass(frozen=True, slots=True)
class WorkerPayload:
    """What every worker needs once; it travels through the object store.

    Parameters
    ----------
    head : bytes
        The pickled objective, without its arrays.
    arrays : sequence of array
        The arrays as bytes.
    settings : Settings
        The driver's.
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
        """Return the objective, with arrays of its own: those of the store cannot be written to."""
        self.settings.enter(here=False)
        buffers = [bytearray(array.data) for array in self.arrays]
        objective: BaseObjective = pickle.loads(self.head, buffers=buffers)
        self.settings.configure()
        return objective


class Worker(tune.Trainable):  # type: ignore[misc]  # Ray has no types
    """An actor that is given one trial after another (``reuse_actors``).

    Errors of a trial are results like others, so that the actor, and torch in it, lives on.
    """

    def setup(self, config: dict[str, Any], payload: WorkerPayload | None = None) -> None:
        """Take the first trial; what is slow waits for the first step."""
        assert payload is not None
        self._payload = payload
        self._objective: BaseObjective | None = None
        self._limits = ExitStack()
        self._take(config)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Leave the trial at hand, take the next one."""
        self._leave()
        self._take(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Make one step of the trial."""
        event = self._event()
        if isinstance(event, Reported):
            self._last: dict[str, float] = {
                SCORE: event.report.value,
                STEP: event.report.step,
            }
        return {EVENT: event, **self._last}  # Ray's schedulers look at the last result too

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Return the state of the training; None where it cannot be put aside."""
        state = getattr(self._running.steps, "state", None)
        return {_STATE: state() if state else None}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Go on from the state of this trial, or of another one, at the next step.

        A training that cannot be put aside is made again from its beginning; the driver
        knows its reports already.
        """
        self._state: bytes | None = checkpoint[_STATE] if checkpoint else None

    def cleanup(self) -> None:
        """Leave the trial at hand, and give the threads back."""
        self._leave()
        self._limits.close()

    def _take(self, config: Mapping[str, Any]) -> None:
        self._trial: Trial = config[TRIAL]
        self._changes: Mapping[str, Any] = config.get(CHANGES, {})
        self._running = RunningTrial(self._trial.number, self._begin)
        self._state = None
        self._last = {}

    def _event(self) -> Event | LoadError:
        try:
            self._load()
        except BaseException as error:  # code of the user's is run while it is loaded
            return LoadError(self._trial.number, reason_of(error), traceback_of(error))
        with self._payload.settings.warning_alike():
            steps = self._running.steps
            event = self._running.step_for_the_driver()
        return replace(event, files=_files_of(steps)) if isinstance(event, Ended) else event

    def _begin(self) -> Generator[Report]:
        objective, trial, device = self._load(), self._trial, self._payload.device
        if self._state is None:
            return objective.run(trial, device)
        return objective.resume(trial, self._state, device, self._changes)

    def _load(self) -> BaseObjective:
        if self._objective is None:
            self._objective = self._payload.unpack()
            if "torch" in sys.modules:  # an objective without it is spared its seconds of loading
                from hpo.training.threads import limit_threads

                self._limits.enter_context(limit_threads(self._payload.n_threads))
        return self._objective

    def _leave(self) -> None:
        self._running.close()


def _files_of(steps: Generator[Report] | None) -> ray.ObjectRef | None:
    """Return what a trial wrote where the driver cannot see it, as it travels."""
    files = getattr(steps, "files", None)
    contents = files.take_out() if files is not None and files.is_far else {}
    return ray.put(contents) if contents else None
