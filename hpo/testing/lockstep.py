"""An executor that advances many trials together, one step a poll, as ``fused`` does."""

import traceback
from collections.abc import Generator, Iterable, Sequence

from hpo.executors import BaseExecutor, Ended, Event, Failed, Reported
from hpo.executors._base import reason_of
from hpo.training import BaseObjective
from hpo.trial import Report, Trial

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
        self._running: dict[int, Generator[Report]] = {}

    @property
    def capacity(self) -> int:
        """``n_slots``."""
        return self._n_slots

    def start(self, trials: Sequence[Trial]) -> None:
        """Begin ``trials``."""
        for trial in trials:
            self._running[trial.number] = self.objective.run(trial)

    def poll(self, timeout: float = 0.1) -> list[Event]:
        """Make one step of each trial; ``timeout`` is not used."""
        return [self._advance(number) for number in list(self._running)]

    def _advance(self, number: int) -> Event:
        try:
            return Reported(next(self._running[number]))
        except StopIteration:
            event: Event = Ended(number)
        except Exception as error:
            event = Failed(number, reason_of(error), traceback.format_exc())
            self.error = error
        del self._running[number]
        return event

    def stop(self, numbers: Iterable[int]) -> None:
        """End these trials."""
        for number in numbers:
            if number in self._running:
                self._running.pop(number).close()

    def close(self) -> None:
        """End everything in flight."""
        self.stop(list(self._running))
