"""One trial at a time, in the driver's own process."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial

from hpo.executors._running import RunningTrial
from hpo.executors.base import BaseExecutor, Event, Reported
from hpo.training import BaseObjective
from hpo.trial import Trial

__all__ = ["SerialExecutor"]


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

    def __init__(
        self, objective: BaseObjective, *, n_threads: int = 1, device: str | None = None
    ) -> None:
        super().__init__(objective)
        self._n_threads = n_threads
        self._device = device
        self._running: RunningTrial | None = None
        self._limits = ExitStack()

    @property
    def capacity(self) -> int:
        """Number of trials that can run at a time: one."""
        return 1

    def __enter__(self) -> "SerialExecutor":
        from hpo.training.threads import devices, limit_threads

        self._device = devices(self._device)[0]
        self._limits.enter_context(limit_threads(self._n_threads))
        return self

    def start(self, trials: Sequence[Trial]) -> None:
        """Begin the trial."""
        (trial,) = trials
        self._running = RunningTrial(
            trial.number, partial(self.objective.begin, trial, self._device)
        )

    def poll(self, timeout: float = 0.1) -> list[Event]:
        """Make one step of the running trial; ``timeout`` is not used."""
        running, self.errors = self._running, {}
        if running is None:
            return []
        event = running.step()
        if not isinstance(event, Reported):
            self._running = None
        if running.error is not None:
            self.errors = {running.number: running.error}
        return [event]

    def stop(self, numbers: Iterable[int]) -> None:
        """End the running trial if it is among ``numbers``."""
        if self._running is not None and self._running.number in set(numbers):
            running, self._running = self._running, None
            running.close()

    def put_aside(self, timeout: float = 5.0) -> list[Event]:
        """Put the running trial aside: it is between two steps."""
        if self._running is not None:
            self._running.put_aside()
        return []

    def close(self) -> None:
        """End the running trial and restore the number of threads."""
        if self._running is not None:
            self.stop([self._running.number])
        self._limits.close()
