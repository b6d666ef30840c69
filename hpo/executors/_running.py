"""A trial in training; the user's code may raise anything at any step."""

import os
import pickle
from collections.abc import Callable, Generator
from dataclasses import replace

import cloudpickle

from hpo._failures import traceback_of
from hpo._stop_signal import is_signal
from hpo.executors._memory import clear_memory, oom_reason
from hpo.executors.base import Ended, Event, Failed, Reported, Revoked, reason_of
from hpo.training import StepError
from hpo.training.checkpointing import CheckpointedRun, ResumeError
from hpo.trial import Cause, Report

__all__ = ["RunningTrial", "failed", "own_error"]

_MAX_PICKLED_BYTES = 100_000
"""Largest size in bytes of a pickled error that is sent to the driver."""


class RunningTrial:
    """Runs a trial step by step and returns an event for each step.

    Whatever the trial's code raises becomes `Failed`: `StopIteration`, `SystemExit`, `EOFError`
    and the like are not treated as signals. Only Ctrl-C is raised.

    Parameters
    ----------
    number : int
        Number of the trial.
    begin : callable
        Returns the generator of the trial's reports; called at the first step.
    """

    def __init__(self, number: int, begin: Callable[[], Generator[Report]]) -> None:
        self.number = number
        self.error: BaseException | None = None
        """What the trial raised; None when out of memory, as an error keeps the memory in use."""
        self.steps: Generator[Report] | None = None
        self._begin = begin
        self._pid = os.getpid()

    def step(self) -> Event:
        """Make one step; after `Ended` and `Failed` all references are released."""
        try:
            return self._next()
        finally:
            # A fork of the trial's own that has not ended would go on as this process: it would
            # report the same steps once more, or drive the study.
            if os.getpid() != self._pid:
                os._exit(1)

    def _next(self) -> Event:
        out_of_memory = False
        try:
            if self.steps is None:
                self.steps = self._begin()
            report = next(self.steps, None)
            if report is not None:
                return Reported(report)
            event: Event = Ended(self.number)
        except ResumeError as error:
            event = Revoked(self.number, f"it could not go on where it was put aside: {error}")
        except BaseException as error:
            if is_signal(error):
                raise
            event, out_of_memory = self._fail(own_error(error))
        self.close()
        if out_of_memory:
            clear_memory()
        return event

    def step_for_the_driver(self) -> Event:
        """Make one step in a process other than the driver's; attach the error to the event."""
        event = self.step()
        if isinstance(event, Failed) and self.error is not None:
            return replace(event, raised=_pickled(self.error))
        return event

    def _fail(self, error: BaseException) -> tuple[Event, bool]:
        out_of_memory = bool(oom_reason(error))
        self.error = None if out_of_memory else error
        return failed(self.number, error), out_of_memory

    def put_aside(self) -> None:
        """Put the training aside as it is, between two steps, if it can be."""
        if isinstance(self.steps, CheckpointedRun):
            self.steps.put_aside()

    def close(self) -> None:
        """End the training; what its code raises meanwhile is ignored."""
        steps, self.steps = self.steps, None
        try:
            if steps is not None:
                steps.close()
        except BaseException as error:
            if is_signal(error):
                raise


def own_error(error: BaseException) -> BaseException:
    """Return the error that the trial's code raised, unwrapped from `StepError`."""
    return error.__cause__ or error if isinstance(error, StepError) else error


def failed(number: int, error: BaseException) -> Failed:
    """Return the event of a trial that raised ``error``."""
    cause = Cause.OUT_OF_MEMORY if oom_reason(error) else Cause.ERROR
    return Failed(number, reason_of(error), traceback_of(error), cause=cause)


def _pickled(error: BaseException) -> bytes:
    """Return a pickled error; empty if it cannot be pickled and restored, or is too large."""
    try:
        data: bytes = cloudpickle.dumps(error)
        if len(data) <= _MAX_PICKLED_BYTES and type(pickle.loads(data)) is type(error):
            return data
    except BaseException:  # unpickling an error may run the user's code
        pass
    return b""
