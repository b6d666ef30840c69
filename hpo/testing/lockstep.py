"""An executor that advances many trials together, one step per poll, like ``fused``."""

from collections.abc import Iterable, Sequence
from functools import partial

from hpo.executors import BaseExecutor, Event, Reported, RunningTrial
from hpo.training import BaseObjective
from hpo.trial import Trial

__all__ = ["LockstepExecutor"]


class LockstepExecutor(BaseExecutor):
    """Trains every running trial for one step per poll, in this process.

    It tests the handling of trials that report together, without torch. For real trainings it
    has no advantage, as it would hold all of them in memory at once.

    Parameters
    ----------
    objective : BaseObjective
    n_slots : int, default=8
        Trials at a time.
    """

    def __init__(self, objective: BaseObjective, n_slots: int = 8) -> None:
        super().__init__(objective)
        self._n_slots = n_slots
        self._running: dict[int, RunningTrial] = {}

    @property
    def capacity(self) -> int:
        """``n_slots``."""
        return self._n_slots

    def start(self, trials: Sequence[Trial]) -> None:
        """Start ``trials``."""
        for trial in trials:
            begin = partial(self.objective.run, trial)
            self._running[trial.number] = RunningTrial(trial.number, begin)

    def poll(self, timeout: float = 0.1) -> list[Event]:
        """Train each trial for one step; ``timeout`` is not used."""
        running = list(self._running.values())
        events = [trial.step() for trial in running]
        self.errors = {trial.number: trial.error for trial in running if trial.error is not None}
        for event in events:
            if not isinstance(event, Reported):
                del self._running[event.number]
        return events

    def stop(self, numbers: Iterable[int]) -> None:
        """End these trials."""
        for number in numbers:
            if number in self._running:
                self._running.pop(number).close()

    def close(self) -> None:
        """End everything in flight."""
        self.stop(list(self._running))
