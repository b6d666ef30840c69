"""What every executor is."""

import math
import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from hpo._failures import message_of
from hpo.executors._memory import oom_reason
from hpo.training import BaseObjective
from hpo.trial import Cause, Report, Trial

__all__ = [
    "BaseExecutor",
    "Ended",
    "Event",
    "Failed",
    "LoadError",
    "Reported",
    "Revoked",
    "reason_of",
]


@dataclass(frozen=True, slots=True)
class Reported:
    """A trial made a step."""

    report: Report

    @property
    def number(self) -> int:
        """Number of the trial."""
        return self.report.number


@dataclass(frozen=True, slots=True)
class Ended:
    """A trial made its last step; its place is free.

    Parameters
    ----------
    number : int
    files : object
        The files that its callbacks wrote, where they lie on another machine than the driver's
        (`hpo.training.files`): what the backend carries them in.
    """

    number: int
    files: Any = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A trial raised, or its worker died; its place is free.

    Parameters
    ----------
    number : int
    reason : str
        One line: the error's type and message, cut at some 600 characters.
    error : str
        The traceback, cut at 20,000 characters, or what is known of a worker that died.
    raised : bytes
        What was raised in another process, pickled; empty where it cannot be carried.
    cause : Cause, default=Cause.ERROR
        Or that memory was short, or that the worker died.
    """

    number: int
    reason: str
    error: str
    raised: bytes = field(default=b"", repr=False, compare=False)
    cause: Cause = Cause.ERROR

    def loaded(self) -> dict[int, BaseException]:
        """Return what was raised in another process, by the trial's number; empty without it."""
        try:
            return {self.number: pickle.loads(self.raised)} if self.raised else {}
        except BaseException:  # an error is code of the user's
            return {}


@dataclass(frozen=True, slots=True)
class Revoked:
    """All that a trial reported is void, whether it is in flight or over; its place is free.

    Its parameters are to be put up again, as those of a trial that was interrupted.

    Parameters
    ----------
    number : int
    reason : str
        One line.
    """

    number: int
    reason: str


Event = Reported | Ended | Failed | Revoked


@dataclass(frozen=True, slots=True)
class LoadError:
    """A worker could not load the objective: no trial can run there.

    Parameters
    ----------
    number : int
        Of the trial that it was given.
    reason, error : str
        As in `Failed`.
    """

    number: int
    reason: str
    error: str


def reason_of(error: BaseException) -> str:
    """Return an error's type, message and notes as one line; or that it is one of memory."""
    return oom_reason(error) or message_of(error)


class BaseExecutor(ABC):
    """Advances up to ``capacity`` trials and hands out what happens to them.

    The driver fills free places with `start`, reads events with `poll`, and takes a trial
    out with `stop`. A trial waits for the next `poll` after each of its reports, so that a
    stop always takes effect at the report it answers. After `stop`, `Ended` or `Failed`
    nothing more is heard of a trial, unless what it reported is `Revoked`. Use it as a context
    manager: leaving it closes it.

    Parameters
    ----------
    objective : BaseObjective
        What every trial runs.
    """

    errors: Mapping[int, BaseException] = MappingProxyType({})
    """What the trials raised that `poll` has just told to have failed, by number.

    Only where it was raised in this process, or could be carried here.
    """

    n_trials_left: float = math.inf
    """Trials that the driver means to start yet, where it knows: an executor may plan by it."""

    @property
    def notes(self) -> list[str]:
        """What the user should know of how the trials were trained; empty as a rule."""
        return []

    way: str = ""
    """How it trains every trial, in a word; see `trained_by`."""

    def trained_by(self, number: int) -> tuple[str, str]:
        """Return how a trial that it was given is trained, and why not in a batch.

        Asked after each `poll` for all trials in flight: it may change on the way. It is empty
        as long as it is not known.

        Parameters
        ----------
        number : int

        Returns
        -------
        how, reason : str
            See `TrialRecord.trained_by`.
        """
        return self.way, ""

    def __init__(self, objective: BaseObjective) -> None:
        self.objective = objective

    @property
    @abstractmethod
    def capacity(self) -> int:
        """How many trials can be in flight."""

    @abstractmethod
    def start(self, trials: Sequence[Trial]) -> None:
        """Begin ``trials``; there must be room for them."""

    @abstractmethod
    def poll(self, timeout: float = 0.1) -> list[Event]:
        """Advance the trials in flight for about ``timeout`` seconds; return what happened."""

    @abstractmethod
    def stop(self, numbers: Iterable[int]) -> None:
        """End these trials now and free their places."""

    @abstractmethod
    def close(self) -> None:
        """End everything in flight and give back workers and memory; may be called twice."""

    def __enter__(self) -> "BaseExecutor":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
