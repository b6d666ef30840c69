"""What an executor runs."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from typing import Any

from hpo.trial import Report, Trial

__all__ = ["BaseObjective"]


class BaseObjective(ABC):
    """The score of a trial, step by step.

    An objective is picklable and holds no state between trials: ``run`` of the same trial
    yields the same reports, bit for bit, wherever and whenever it is called.
    """

    @abstractmethod
    def run(self, trial: Trial, device: str | None = None) -> Generator[Report]:
        """Train ``trial`` and yield one report a step.

        Closing the generator is the prune: training stops there and what it holds is freed.

        Parameters
        ----------
        trial : Trial
        device : str or None
            Torch device of the worker, for nets that name none of their own.
        """

    @abstractmethod
    def max_steps(self, params: Mapping[str, Any]) -> int:
        """Return how many reports a trial with ``params`` makes at most."""
