"""An executor that advances many trials together, one step a poll, as ``fused`` does."""

from collections.abc import Iterable, Sequence
from functools import partial

from hpo.executors import BaseExecutor, Event, Reported, RunningTrial
from hpo.training import BaseObjective
from hpo.trial import Trial

__all__ = ["LockstepExecutor"]


class LockstepExecutor(BaseExecutor):
    """Makes one step of every trial in flight, in this process.

    It tests what becomes of trials that report together, without torch. With real trainings
    all of them would be held in memory at once, and none would gain by it.

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
        """Begin ``trials``."""
        for trial in trials:
            begin = partial(self.objective.run, trial)
            self._running[trial.number] = RunningTrial(trial.number, begin)

    def poll(self, timeout: float = 0.1) -> list[Event]:
        """Make one step of each trial; ``timeout`` is not used."""
        running = list(self._running.values())
        events = [one.step() for one in running]
        self.errors = {one.number: one.error for one in running if one.error is not None}
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
