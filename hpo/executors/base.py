"""The base class of all executors, and the events that they return."""

import math
import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from hpo._failures import message_of
from hpo._time_limits import TimeLimits
from hpo.executors._memory import oom_reason
from hpo.training import BaseObjective
from hpo.trial import Cause, Report, Trial

__all__ = [
    "BaseExecutor",
    "Ended",
    "Event",
    "Failed",
    "LoadError",
    "PutAside",
    "Reported",
    "Revoked",
    "TimedOut",
    "reason_of",
]


@dataclass(frozen=True, slots=True)
class Reported:
    """A trial made a step and reported.

    Parameters
    ----------
    report : Report
    checkpoint : object
        The `Checkpoint` after that step, if it is the driver that writes it, in the form in which
        the backend transfers it.
    """

    report: Report
    checkpoint: Any = None

    @property
    def number(self) -> int:
        """Number of the trial."""
        return self.report.number


@dataclass(frozen=True, slots=True)
class Ended:
    """A trial made its last step; its slot is free.

    Parameters
    ----------
    number : int
    files : object
        The files that its callbacks wrote on a machine other than the driver's
        (`hpo.training.files`), in the form in which the backend transfers them.
    """

    number: int
    files: Any = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A trial raised an error, or its worker died; its slot is free.

    Parameters
    ----------
    number : int
    reason : str
        One line: the error's type and message, cut at about 600 characters.
    error : str
        The traceback, cut at 20,000 characters, or what is known of a worker that died.
    raised : bytes
        The pickled error that was raised in another process; empty if it cannot be sent.
    cause : Cause, default=Cause.ERROR
        Whether it was an error, a lack of memory, or the death of the worker.
    """

    number: int
    reason: str
    error: str
    raised: bytes = field(default=b"", repr=False, compare=False)
    cause: Cause = Cause.ERROR

    def loaded(self) -> dict[int, BaseException]:
        """Return the error raised in another process, by trial number; empty if there is none."""
        try:
            return {self.number: pickle.loads(self.raised)} if self.raised else {}
        except BaseException:  # unpickling an error may run the user's code
            return {}


@dataclass(frozen=True, slots=True)
class Revoked:
    """All reports of a trial are invalid, whether it is running or finished; its slot is free.

    Its parameters are to be enqueued again, like those of an interrupted trial.

    Parameters
    ----------
    number : int
    reason : str
        One line.
    """

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class TimedOut:
    """A trial was in training for longer than a trial may be, and was ended; its slot is free.

    Parameters
    ----------
    number : int
    """

    number: int


@dataclass(frozen=True, slots=True)
class PutAside:
    """A worker has put its training aside, and ended it."""

    number: int


Event = Reported | Ended | Failed | Revoked | TimedOut


@dataclass(frozen=True, slots=True)
class LoadError:
    """A worker could not load the objective, so no trial can run there.

    Parameters
    ----------
    number : int
        Number of the trial that it was to run.
    reason, error : str
        As in `Failed`.
    """

    number: int
    reason: str
    error: str


def reason_of(error: BaseException) -> str:
    """Return an error's type, message and notes as one line; for a lack of memory, just that."""
    return oom_reason(error) or message_of(error)


class BaseExecutor(ABC):
    """Runs up to ``capacity`` trials at a time and returns what happens to them as events.

    The driver fills free slots with `start`, reads events with `poll`, and ends a trial with
    `stop`. A trial waits for the next `poll` after each of its reports, so that a stop always
    takes effect at the report that it answers. After `stop`, `Ended`, `Failed` or `TimedOut` there
    are no more events of a trial, unless its reports are `Revoked`. Use an executor as a context
    manager: leaving the block closes it.

    Parameters
    ----------
    objective : BaseObjective
        The objective that every trial runs.
    """

    errors: Mapping[int, BaseException] = MappingProxyType({})
    """Errors of the trials that the last `poll` reported as failed, by number.

    Contains only errors that were raised in this process or could be sent to it.
    """

    n_trials_left: float = math.inf
    """Trials that the driver still means to start, if known; an executor may plan by it."""

    limits: TimeLimits = TimeLimits()
    """How long it may train, set by the study before the first `start`.

    A trial that has been in training for ``trial_timeout`` is ended wherever it is, and `TimedOut`.
    At the ``deadline`` of the run, `poll` returns, whatever it trains; the driver ends the rest.
    """

    trains_here: bool = False
    """Whether it trains trials in this process, and so ends no call of C that does not return."""

    @property
    def notes(self) -> list[str]:
        """What the user should know about how the trials were trained; usually empty."""
        return []

    way: str = ""
    """How it trains every trial, in one word; see `trained_by`."""

    def trained_by(self, number: int) -> tuple[str, str]:
        """Return how a trial is trained, and why not in a batch.

        Called after each `poll` for all running trials, as it may change during training. It is
        empty as long as it is not known.

        Parameters
        ----------
        number : int

        Returns
        -------
        how, reason : str
            See `TrialRecord.trained_by`.
        """
        return self.way, ""

    def worker(self, number: int) -> str:
        """Return what trains a trial, for people, asked when `trained_by` is.

        ``process 2``, ``process 1, GPU 0``: see `TrialRecord.worker`. By default, `way`.
        """
        return self.way

    @staticmethod
    def named(worker: str, device: str | None) -> str:
        """Return the name of a worker with that of its GPU, if it has one."""
        kind, _, index = (device or "").partition(":")
        return f"{worker}, GPU {index or 0}" if kind == "cuda" else worker

    def __init__(self, objective: BaseObjective) -> None:
        self.objective = objective

    @property
    @abstractmethod
    def capacity(self) -> int:
        """Number of trials that can run at a time."""

    @abstractmethod
    def start(self, trials: Sequence[Trial]) -> None:
        """Begin ``trials``; there must be free slots for them."""

    @abstractmethod
    def poll(self, timeout: float = 0.1) -> list[Event]:
        """Advance the running trials for about ``timeout`` seconds; return what happened."""

    @abstractmethod
    def stop(self, numbers: Iterable[int]) -> None:
        """End these trials now and free their slots."""

    def put_aside(self, timeout: float = 5.0) -> list[Event]:
        """Put the running trials aside, as they are to be ended for now.

        This loses no step that ends within ``timeout`` seconds. By default, nothing is done.

        Returns
        -------
        list of Event
            What happened meanwhile.
        """
        return []

    @abstractmethod
    def close(self) -> None:
        """End all running trials and release workers and memory; may be called twice."""

    def __enter__(self) -> "BaseExecutor":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
