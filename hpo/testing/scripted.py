"""An objective that replays given learning curves: tests schedulers and backends without torch."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from hpo.training import BaseObjective
from hpo.trial import Report, Trial

__all__ = ["ScriptedObjective"]


class ScriptedObjective(BaseObjective):
    """Replays a learning curve a trial.

    Parameters
    ----------
    curve : callable
        ``curve(trial)`` returns the scores of the steps, in order. An element that is an
        exception is raised at that step. It must be importable (or a closure that
        cloudpickle can carry) where workers are processes.
    n_folds : int, default=1
        Every fold gets the same value.
    delay : float, default=0.0
        Seconds that each step takes.
    n_steps : int, default=10
        What `max_steps` answers.
    """

    def __init__(
        self,
        curve: Callable[[Trial], Sequence[float | BaseException]],
        *,
        n_folds: int = 1,
        delay: float = 0.0,
        n_steps: int = 10,
    ) -> None:
        self.curve = curve
        self.n_folds = n_folds
        self.delay = delay
        self.n_steps = n_steps

    def run(self, trial: Trial, device: str | None = None) -> Generator[Report]:
        """Yield the curve of ``trial`` as reports."""
        for step, value in enumerate(self.curve(trial), start=1):
            if self.delay:
                time.sleep(self.delay)
            if isinstance(value, BaseException):
                raise value
            yield Report(
                number=trial.number,
                step=step,
                value=float(value),
                fold_values=(float(value),) * self.n_folds,
                seconds=self.delay,
                fit_seconds=(self.delay * step,) * self.n_folds,
                score_seconds=(0.0,) * self.n_folds,
            )

    def max_steps(self, params: Mapping[str, Any]) -> int:
        """Return ``n_steps``."""
        return self.n_steps
