"""What runs in an actor of Ray Tune: one trial after another, one step a call."""

import pickle
import sys
import traceback
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray import tune

from hpo.executors._base import Ended, Event, Failed, Reported, reason_of
from hpo.training import BaseObjective
from hpo.trial import Report, Trial

__all__ = ["EVENT", "TRIAL", "Cargo", "Unloadable", "Worker"]

TRIAL, EVENT = "trial", "event"
"""Under which name a Ray trial's config holds the trial, and a result holds the event."""


@dataclass(frozen=True, slots=True)
class Cargo:
    """What every worker needs once; it travels through the object store.

    Parameters
    ----------
    head : bytes
        The pickled objective, without its arrays.
    arrays : sequence of array
        The arrays as bytes.
    path : sequence of str
        The driver's ``sys.path``.
    n_threads : int
        Threads of torch and BLAS.
    device : str
    """

    head: bytes
    arrays: Sequence[np.ndarray]
    path: Sequence[str]
    n_threads: int
    device: str

    def unpack(self) -> BaseObjective:
        """Return the objective, with arrays of its own: those of the store cannot be written to."""
        sys.path.extend(entry for entry in self.path if entry not in sys.path)
        buffers = [bytearray(array.data) for array in self.arrays]
        objective: BaseObjective = pickle.loads(self.head, buffers=buffers)
        return objective


@dataclass(frozen=True, slots=True)
class Unloadable:
    """A worker could not load the objective: no trial can run there."""

    number: int
    reason: str
    error: str


class Worker(tune.Trainable):  # type: ignore[misc]  # Ray has no types
    """An actor that is given one trial after another (``reuse_actors``).

    Errors of a trial are results like others, so that the actor, and torch in it, lives on.
    """

    def setup(self, config: dict[str, Any], cargo: Cargo | None = None) -> None:
        """Take the first trial; what is slow waits for the first step."""
        assert cargo is not None
        self._cargo = cargo
        self._objective: BaseObjective | None = None
        self._limits = ExitStack()
        self._steps: Generator[Report] | None = None
        self._trial: Trial = config[TRIAL]

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Leave the trial at hand, take the next one."""
        self._leave()
        self._trial = new_config[TRIAL]
        return True

    def step(self) -> dict[str, Any]:
        """Make one step of the trial."""
        return {EVENT: self._event()}

    def cleanup(self) -> None:
        """Leave the trial at hand, and give the threads back."""
        self._leave()
        self._limits.close()

    def _event(self) -> Event | Unloadable:
        number = self._trial.number
        try:
            objective = self._objective or self._load()
        except Exception as error:
            return Unloadable(number, reason_of(error), traceback.format_exc())
        try:
            if self._steps is None:
                self._steps = objective.run(self._trial, self._cargo.device)
            return Reported(next(self._steps))
        except StopIteration:
            return Ended(number)
        except Exception as error:
            return Failed(number, reason_of(error), traceback.format_exc())

    def _load(self) -> BaseObjective:
        self._objective = self._cargo.unpack()
        if "torch" in sys.modules:  # an objective without it is spared its seconds of loading
            from hpo.training._threads import limit_threads

            self._limits.enter_context(limit_threads(self._cargo.n_threads))
        return self._objective

    def _leave(self) -> None:
        if self._steps is not None:
            self._steps.close()
            self._steps = None
