"""The base class of what an executor runs."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from hpo.training.checkpointing import Checkpointing
from hpo.trial import Report, Trial

__all__ = ["BaseObjective", "StepError"]


class StepError(RuntimeError):
    """A step raised `StopIteration`, which would look like the end of the generator.

    The `StopIteration` is the cause of this error, and is recorded as the error of the trial.
    """


class BaseObjective(ABC):
    """The function to optimize: scores a trial step by step.

    An objective is picklable and holds no state between trials: ``run`` of the same trial
    yields the same reports, bit for bit, wherever and whenever it is called.

    Attributes
    ----------
    home : Path or None
        Folder of the study, made by its driver, below which trials write files. If None, no files
        of the trials are kept.
    keeps_all : bool
        Whether the files of a stopped trial are kept too.
    keeps_rows : bool
        Whether reports carry what the trial did on each validated row (`Report.rows`).
    checkpointing : Checkpointing or None
        How trainings are put aside on their way; None if they are not.
    races : bool
        Whether a trial trains its first fold before the others, so that the study can stop it in
        between.
    """

    home: Path | None = None
    keeps_all: bool = False
    keeps_rows: bool = False
    checkpointing: Checkpointing | None = None
    races: bool = False

    def begin(
        self, trial: Trial, device: str | None = None, state: bytes | None = None
    ) -> Generator[Report]:
        """Return the run of ``trial``, put aside on its way if the study asks for it.

        It goes on from where the trial that it resumes was put aside; see `Trial.resumed_from`.

        Parameters
        ----------
        trial : Trial
        device : str or None
        state : bytes or None
            The state to go on from, where the files are on another machine.

        Raises
        ------
        ResumeError
            If it cannot.
        """
        if self.checkpointing is None:
            return self.run(trial, device)
        return self.checkpointing.begin(self, trial, device, state)

    @abstractmethod
    def run(self, trial: Trial, device: str | None = None) -> Generator[Report]:
        """Train ``trial`` and yield one report per step.

        Closing the generator prunes the trial: the training stops and its resources are freed.
        Any exception that it raises fails the trial. A generator that does not come from a
        generator function raises `StepError` instead of a `StopIteration` that is not its end.

        Parameters
        ----------
        trial : Trial
        device : str or None
            Torch device of the worker, for nets that do not name a device.
        """

    def resume(
        self,
        trial: Trial,
        state: bytes,
        device: str | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> Generator[Report]:
        """Resume a paused run; the first report is the one after its last one.

        Parameters
        ----------
        trial : Trial
        state : bytes
            Returned by ``state()`` of the generator that `run` returned.
        device : str or None
        changes : mapping or None
            Stored parameters to change for the rest of the training.

        Raises
        ------
        NotImplementedError
            If runs of this objective cannot be paused, as their generators have no ``state``.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot go on from a state")

    def changeable(self, name: str) -> bool:
        """Return whether `resume` can change the parameter ``name``."""
        return False

    @abstractmethod
    def max_steps(self, params: Mapping[str, Any]) -> int:
        """Return the maximum number of reports of a trial with ``params``."""
