"""One trial at a time, in the driver's own process."""

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial

from hpo._time_limits import TimeIsUp, time_limit
from hpo.executors._running import RunningTrial
from hpo.executors.base import BaseExecutor, Event, Reported, TimedOut
from hpo.training import BaseObjective
from hpo.trial import Trial

__all__ = ["SerialExecutor"]

_SECONDS_TO_CLOSE = 2.0
"""Seconds that a training has to clean up after its time."""


class SerialExecutor(BaseExecutor):
    """Runs one trial at a time, one step per `poll`.

    Parameters
    ----------
    objective : BaseObjective
    n_threads : int, default=1
        Threads of torch and BLAS while a step is made. One thread gives exactly the results of
        worker processes with one thread, and is fastest for small models.
    device : str or None
        Torch device; by default the first GPU, else the CPU.
    """

    way = "serial"
    trains_here = True

    def __init__(
        self, objective: BaseObjective, *, n_threads: int = 1, device: str | None = None
    ) -> None:
        super().__init__(objective)
        self._n_threads = n_threads
        self._device = device
        self._running: RunningTrial | None = None
        self._seconds = 0.0
        self._limits = ExitStack()

    @property
    def capacity(self) -> int:
        """Number of trials that can run at a time: one."""
        return 1

    def worker(self, number: int) -> str:
        """Return that it is this process, with its GPU."""
        return self.named("this process", self._device)

    def __enter__(self) -> "SerialExecutor":
        from hpo.training.threads import devices, limit_threads

        self._device = devices(self._device)[0]
        self._limits.enter_context(limit_threads(self._n_threads))
        return self

    def start(self, trials: Sequence[Trial]) -> None:
        """Begin the trial."""
        (trial,) = trials
        self._seconds = 0.0
        self._running = RunningTrial(
            trial.number, partial(self.objective.begin, trial, self._device)
        )

    def poll(self, timeout: float = 0.1) -> list[Event]:
        """Make one step of the running trial; ``timeout`` is not used."""
        running, self.errors = self._running, {}
        if running is None:
            return []
        began = time.monotonic()
        events: list[Event] = []
        try:
            with self.limits.step([running.number], self._seconds):
                events.append(running.step())
        except TimeIsUp:
            self._abandon()
        self._seconds += time.monotonic() - began
        if running.error is not None:
            self.errors = {running.number: running.error}
        if events and not isinstance(events[0], Reported):
            self._running = None
        elif self._seconds >= self.limits.trial_timeout:
            self._abandon()
            events.append(TimedOut(running.number))
        return events

    def _abandon(self) -> None:
        """End the running trial, whose code may not want to end."""
        try:
            with time_limit(time.monotonic() + _SECONDS_TO_CLOSE):
                self._end_trial()
        except TimeIsUp:
            pass

    def stop(self, numbers: Iterable[int]) -> None:
        """End the running trial if it is among ``numbers``."""
        if self._running is not None and self._running.number in set(numbers):
            self._end_trial()

    def _end_trial(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.close()

    def put_aside(self, timeout: float = 5.0) -> list[Event]:
        """Put the running trial aside: it is between two steps."""
        if self._running is not None:
            self._running.put_aside()
        return []

    def close(self) -> None:
        """End the running trial and restore the number of threads."""
        self._end_trial()
        self._limits.close()
