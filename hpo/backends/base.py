"""The base class of backends, and the budget of a study."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from hpo._stop_signal import StopSignal
from hpo.executors import BaseExecutor
from hpo.storage.trial_store import TrialStore
from hpo.trial import Cause
from hpo.trial_manager import TrialManager

__all__ = ["BaseBackend", "Budget"]


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of a study; the first one reached ends it.

    Parameters
    ----------
    n_trials : int or None
        Trials of the whole study, including earlier runs but not interrupted trials.
    timeout : float or None
        Wall time of this run in seconds.
    max_total_epochs : int or None
        Epochs (steps) of all trials of the study.
    began : float
        `time.monotonic` at the start of this run.
    """

    n_trials: int | None = None
    timeout: float | None = None
    max_total_epochs: int | None = None
    began: float = field(default_factory=time.monotonic)

    def seconds_left(self) -> float | None:
        """Return the wall time left, None if there is no limit."""
        return None if self.timeout is None else self.timeout - (time.monotonic() - self.began)

    def overdrawn(self, manager: TrialManager) -> str:
        """Return why running trials must end now; an empty string if they may continue."""
        left = self.seconds_left()
        if left is not None and left <= 0:
            return f"the time budget of {self.timeout:g} s is spent"
        if self.max_total_epochs is not None and manager.n_steps >= self.max_total_epochs:
            return f"the budget of {self.max_total_epochs} epochs is spent"
        return ""

    def cut_off(self, manager: TrialManager, interrupt: StopSignal) -> tuple[str, Cause]:
        """Return why running trials are closed when the run ends, as a text and a `Cause`."""
        spent = self.overdrawn(manager)
        if spent and not interrupt.reason:
            return spent, Cause.BUDGET
        return interrupt.reason or "an error", Cause.STOPPED

    def trials_left(self, manager: TrialManager, elsewhere: int = 0) -> float:
        """Return how many more trials may start; ``elsewhere`` run under other drivers."""
        if self.n_trials is None:
            return float("inf")
        return self.n_trials - manager.n_counted - elsewhere


class BaseBackend(ABC):
    """Runs the loop of a study: asks for trials, has them trained, follows the manager."""

    runs_trials_itself = False
    """Whether the backend trains with its own workers instead of an executor."""

    prunes_itself = False
    """Whether the backend stops trials by its own rule instead of a pruner."""

    def is_parallel(self, executor: BaseExecutor) -> bool:
        """Return whether several trials may run at a time."""
        return executor.capacity > 1

    @abstractmethod
    def run(
        self,
        store: TrialStore,
        manager: TrialManager,
        executor: BaseExecutor,
        budget: Budget,
        interrupt: StopSignal,
    ) -> str:
        """Run trials until the budget is spent or the interrupt is set.

        Returns
        -------
        str
            Why it ended before all trials of the budget were run: the interrupt's reason, or the
            limit that was reached; empty otherwise.
        """
