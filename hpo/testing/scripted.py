"""An objective that replays given learning curves: tests schedulers and backends without torch."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from hpo.training import BaseObjective, StepError
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

    def run(self, trial: Trial, device: str | None = None) -> "_Replay":
        """Yield the curve of ``trial`` as reports."""
        return _Replay(self, trial, 0)

    def resume(
        self,
        trial: Trial,
        state: bytes,
        device: str | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> "_Replay":
        """Go on with the curve of the changed parameters after the step that ``state`` spells."""
        changed = replace(trial, params={**trial.params, **(changes or {})})
        return _Replay(self, changed, int(state))

    def changeable(self, name: str) -> bool:
        """Return True: a curve can be any function of the parameters."""
        return True

    def max_steps(self, params: Mapping[str, Any]) -> int:
        """Return ``n_steps``."""
        return self.n_steps


class _Replay(Generator[Report, None, None]):
    """The reports of one curve; its state is the number of the last step."""

    def __init__(self, objective: ScriptedObjective, trial: Trial, done: int) -> None:
        self._objective = objective
        self._trial = trial
        self._done = done

    def send(self, value: None) -> Report:
        objective = self._objective
        curve = objective.curve(self._trial)
        if self._done >= len(curve):
            raise StopIteration
        if objective.delay:
            time.sleep(objective.delay)
        score = curve[self._done]
        self._done += 1
        if isinstance(score, BaseException):
            self._done = len(curve)  # a generator that has raised is exhausted
            try:
                raise score
            except StopIteration as error:
                raise StepError("a step raised StopIteration") from error
        return Report(
            number=self._trial.number,
            step=self._done,
            value=float(score),
            fold_values=(float(score),) * objective.n_folds,
            seconds=objective.delay,
            fit_seconds=(objective.delay * self._done,) * objective.n_folds,
            score_seconds=(0.0,) * objective.n_folds,
        )

    def throw(
        self,
        typ: Any,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
        /,
    ) -> Report:
        self._done = self._objective.n_steps
        return super().throw(typ, val, tb)

    def state(self) -> bytes:
        return str(self._done).encode()
