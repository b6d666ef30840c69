"""The worker processes that train the trials that are not in a batch."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from hpo._time_limits import TimeLimits
from hpo.executors.base import (
    BaseExecutor,
    Event,
    Reported,
)
from hpo.trial import Trial

__all__ = ["WorkerPool"]


class WorkerPool:
    """Trials that an executor trains outside batches, and trials that wait for it.

    Parameters
    ----------
    executor : BaseExecutor
        The executor that trains the trials.
    """

    def __init__(self, executor: BaseExecutor) -> None:
        self._executor = executor
        self._running: set[int] = set()
        self._waiting: list[Trial] = []
        self._last_steps: dict[int, tuple[int, int]] = {}

    @property
    def capacity(self) -> int:
        """Number of trials that can run at a time."""
        return self._executor.capacity

    @property
    def n_running(self) -> int:
        """Number of trials in training."""
        return len(self._running)

    @property
    def is_busy(self) -> bool:
        """Whether there are trials in training or waiting."""
        return bool(self._running or self._waiting)

    @property
    def errors(self) -> Mapping[int, BaseException]:
        """Errors of the trials that the last `poll` reported as failed, by number."""
        return self._executor.errors

    def worker(self, number: int) -> str:
        """Return what trains a trial; see `BaseExecutor.worker`."""
        return self._executor.worker(number)

    def open(self) -> None:
        """Prepare the executor."""
        self._executor.__enter__()

    def limit(self, limits: TimeLimits) -> None:
        """Set how long the trials may train."""
        self._executor.limits = limits

    def start(self, trial: Trial) -> None:
        """Begin a trial, as soon as a worker is free."""
        if len(self._running) >= self.capacity:
            self._waiting.append(trial)
            return
        self._running.add(trial.number)
        self._executor.start([trial])

    def skip_reported(self, last_steps: Mapping[int, tuple[int, int]]) -> None:
        """Do not report steps again: those of the first fold alone, and of all folds, up to these.

        They are told apart, as the first fold may end early at another step when it is trained
        again, in another order.
        """
        self._last_steps |= last_steps

    def poll(self, timeout: float) -> list[Event]:
        """Return what happened within about ``timeout`` seconds."""
        while self._waiting and len(self._running) < self.capacity:
            self.start(self._waiting.pop(0))
        return self._taken(self._executor.poll(timeout))

    def put_aside(self, timeout: float) -> list[Event]:
        """Put the trials in training aside; return what happened meanwhile."""
        return self._taken(self._executor.put_aside(timeout))

    def _taken(self, events: Sequence[Event]) -> list[Event]:
        new = [event for event in events if not self._is_repeated(event)]
        self._running -= {event.number for event in new if not isinstance(event, Reported)}
        return new

    def _is_repeated(self, event: Event) -> bool:
        """Return whether a trial that is trained again repeats a step that it has reported."""
        if not isinstance(event, Reported):
            return False
        screened, full = self._last_steps.get(event.number, (0, 0))
        return event.report.step <= (screened if event.report.screening else full)

    def stop(self, numbers: AbstractSet[int]) -> None:
        """End these trials, running or waiting."""
        self._waiting = [trial for trial in self._waiting if trial.number not in numbers]
        self._executor.stop(self._running & numbers)
        self._running -= numbers

    def close(self) -> None:
        """End all trials and the executor."""
        self._running = set()
        self._waiting = []
        self._executor.close()
