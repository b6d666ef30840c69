"""A trial in training, of which the user's code may raise anything at any step."""

import pickle
from collections.abc import Callable, Generator
from dataclasses import replace

import cloudpickle

from hpo._failures import traceback_of
from hpo._stop_signal import is_ctrl_c
from hpo.executors._memory import clear_memory, oom_reason
from hpo.executors.base import Ended, Event, Failed, Reported, reason_of
from hpo.training import StepError
from hpo.trial import Cause, Report

__all__ = ["RunningTrial", "failed", "own_error"]

_MAX_CARRIED = 100_000
"""Bytes of an error that are carried to the driver."""


class RunningTrial:
    """Makes a trial's steps, and an event of each.

    Whatever the trial's code raises is `Failed`: `StopIteration`, `SystemExit`, `EOFError` and
    the like are no signals here. Only Ctrl-C goes through.

    Parameters
    ----------
    number : int
        Of the trial.
    begin : callable
        Returns the generator of its reports; called at the first step.
    """

    def __init__(self, number: int, begin: Callable[[], Generator[Report]]) -> None:
        self.number = number
        self.error: BaseException | None = None
        """What it raised; None where memory is short, as an error holds on to all that was used."""
        self.steps: Generator[Report] | None = None
        self._begin = begin

    def step(self) -> Event:
        """Make one step; after `Ended` and `Failed` nothing is held any more."""
        short = False
        try:
            if self.steps is None:
                self.steps = self._begin()
            report = next(self.steps, None)
            if report is not None:
                return Reported(report)
            event: Event = Ended(self.number)
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            event, short = self._fail(own_error(error))
        self.close()
        if short:
            clear_memory()
        return event

    def step_for_the_driver(self) -> Event:
        """Make one step in another process than the driver's, and give the event what it raised."""
        event = self.step()
        if isinstance(event, Failed) and self.error is not None:
            return replace(event, raised=_carried(self.error))
        return event

    def _fail(self, error: BaseException) -> tuple[Event, bool]:
        short = bool(oom_reason(error))
        self.error = None if short else error
        return failed(self.number, error), short

    def close(self) -> None:
        """End the training; what its code raises meanwhile harms nobody."""
        steps, self.steps = self.steps, None
        try:
            if steps is not None:
                steps.close()
        except BaseException as error:
            if is_ctrl_c(error):
                raise


def own_error(error: BaseException) -> BaseException:
    """Return what the trial's code raised."""
    return error.__cause__ or error if isinstance(error, StepError) else error


def failed(number: int, error: BaseException) -> Failed:
    """Return the event of a trial that raised ``error``."""
    cause = Cause.OUT_OF_MEMORY if oom_reason(error) else Cause.ERROR
    return Failed(number, reason_of(error), traceback_of(error), cause=cause)


def _carried(error: BaseException) -> bytes:
    """Return an error pickled; empty if it cannot be, is long, or is not itself afterwards."""
    try:
        data: bytes = cloudpickle.dumps(error)
        if len(data) <= _MAX_CARRIED and type(pickle.loads(data)) is type(error):
            return data
    except BaseException:  # an error is code of the user's
        pass
    return b""
