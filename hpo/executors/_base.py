"""What every executor is."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpo.executors._memory import shortage
from hpo.training import BaseObjective
from hpo.trial import Report, Trial

__all__ = ["BaseExecutor", "Ended", "Event", "Failed", "Reported", "reason_of"]


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
    """A trial made its last step; its place is free."""

    number: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A trial raised, or its worker died; its place is free.

    Parameters
    ----------
    number : int
    reason : str
        One line: the error's type and message.
    error : str
        The traceback, or what is known of a worker that died.
    """

    number: int
    reason: str
    error: str


Event = Reported | Ended | Failed


def reason_of(error: BaseException) -> str:
    """Return an error's type, message and notes as one line; or that it is one of memory."""
    if short := shortage(error):
        return short
    told = [str(error), *getattr(error, "__notes__", [])]
    text = " ".join(" ".join(told).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class BaseExecutor(ABC):
    """Advances up to ``capacity`` trials and hands out what happens to them.

    The driver fills free places with `start`, reads events with `poll`, and takes a trial
    out with `stop`. A trial waits for the next `poll` after each of its reports, so that a
    stop always takes effect at the report it answers. After `stop`, `Ended` or `Failed`
    nothing more is heard of a trial. Use it as a context manager: leaving it closes it.

    Parameters
    ----------
    objective : BaseObjective
        What every trial runs.
    """

    error: Exception | None = None
    """What the last failed trial raised, where it was raised in this process."""

    to_come: float = math.inf
    """Trials that the driver means to start yet, where it knows: an executor may plan by it."""

    @property
    def notes(self) -> list[str]:
        """What the user should know of how the trials were trained; empty as a rule."""
        return []

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
