"""One trial at a time, in the driver's own process."""

import traceback
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack

from hpo.executors._base import BaseExecutor, Ended, Event, Failed, Reported, reason_of
from hpo.executors._memory import clear_memory, shortage
from hpo.training import BaseObjective
from hpo.trial import Report, Trial

__all__ = ["SerialExecutor"]


class SerialExecutor(BaseExecutor):
    """Advances one trial, one step a poll.

    Parameters
    ----------
    objective : BaseObjective
    n_threads : int, default=1
        Threads of torch and BLAS while a step is made. One gives the same bits as one-thread
        worker processes, and is fastest for small models.
    device : str or None
        Torch device; by default the first GPU, else the CPU.
    """

    def __init__(
        self, objective: BaseObjective, *, n_threads: int = 1, device: str | None = None
    ) -> None:
        super().__init__(objective)
        self._n_threads = n_threads
        self._device = device
        self._number: int | None = None
        self._steps: Generator[Report] | None = None
        self._limits = ExitStack()

    @property
    def capacity(self) -> int:
        """One."""
        return 1

    def __enter__(self) -> "SerialExecutor":
        from hpo.training._threads import devices, limit_threads

        self._device = devices(self._device)[0]
        self._limits.enter_context(limit_threads(self._n_threads))
        return self

    def start(self, trials: Sequence[Trial]) -> None:
        """Begin the one trial."""
        (trial,) = trials
        self._number = trial.number
        self._steps = self.objective.run(trial, self._device)

    def poll(self, timeout: float = 0.1) -> list[Event]:
        """Make one step of the trial in flight; ``timeout`` is not used."""
        if self._steps is None or self._number is None:
            return []
        short = ""
        try:
            return [Reported(next(self._steps))]
        except StopIteration:
            event: Event = Ended(self._number)
        except Exception as error:
            event = Failed(self._number, reason_of(error), traceback.format_exc())
            short = shortage(error)
            # An error holds on to all that its trial held: where memory is short, it is let go.
            self.error = None if short else error
        self._steps = self._number = None
        if short:
            clear_memory()
        return [event]

    def stop(self, numbers: Iterable[int]) -> None:
        """End the trial in flight if it is named."""
        if self._steps is not None and self._number in set(numbers):
            self._steps.close()
            self._steps = self._number = None

    def close(self) -> None:
        """End the trial in flight and give the threads back."""
        if self._number is not None:
            self.stop([self._number])
        self._limits.close()
