"""What an executor runs."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from hpo.trial import Report, Trial

__all__ = ["BaseObjective", "StepError"]


class StepError(RuntimeError):
    """A step raised `StopIteration`, by which a generator tells its end.

    It is the error's cause, and what the trial is told to have failed with.
    """


class BaseObjective(ABC):
    """The score of a trial, step by step.

    An objective is picklable and holds no state between trials: ``run`` of the same trial
    yields the same reports, bit for bit, wherever and whenever it is called.

    Attributes
    ----------
    home : Path or None
        Folder of the study, made by its driver, below which trials write files; None keeps
        nothing of what they write.
    keeps_all : bool
        Whether the files of a trial that was stopped are left there too.
    """

    home: Path | None = None
    keeps_all: bool = False

    @abstractmethod
    def run(self, trial: Trial, device: str | None = None) -> Generator[Report]:
        """Train ``trial`` and yield one report a step.

        Closing the generator is the prune: training stops there and what it holds is freed.
        What it raises fails the trial, whatever it is. A generator that is no generator function
        raises `StepError` in the place of a `StopIteration` that is not its end.

        Parameters
        ----------
        trial : Trial
        device : str or None
            Torch device of the worker, for nets that name none of their own.
        """

    def resume(
        self,
        trial: Trial,
        state: bytes,
        device: str | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> Generator[Report]:
        """Go on with a run that was put aside, with the report after its last one.

        Parameters
        ----------
        trial : Trial
        state : bytes
            What the ``state()`` of the generator that `run` returned has given.
        device : str or None
        changes : mapping or None
            Stored parameters to change in the course of the training.

        Raises
        ------
        NotImplementedError
            If runs of this objective cannot be put aside: their generators have no ``state``.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot go on from a state")

    def changeable(self, name: str) -> bool:
        """Return whether `resume` can change the parameter ``name``."""
        return False

    @abstractmethod
    def max_steps(self, params: Mapping[str, Any]) -> int:
        """Return how many reports a trial with ``params`` makes at most."""
