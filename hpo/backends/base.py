"""The base class of backends."""

from abc import ABC, abstractmethod

from hpo.executors import BaseExecutor
from hpo.trial_manager import TrialManager

__all__ = ["BaseBackend"]


class BaseBackend(ABC):
    """Runs the loop of a study: asks for trials, has them trained, and obeys the manager."""

    runs_trials_itself = False
    """Whether the backend trains with its own workers instead of an executor."""

    prunes_itself = False
    """Whether the backend stops trials by its own rule instead of a pruner."""

    def is_parallel(self, executor: BaseExecutor) -> bool:
        """Return whether several trials may run at a time."""
        return executor.capacity > 1

    @abstractmethod
    def run(self, trials: TrialManager, executor: BaseExecutor) -> str:
        """Run trials until no more may begin, or `TrialManager.stop_reason` says to stop.

        Trials come from ``trials.ask()``; their reports go to ``trials.report``, their ends to
        ``trials.end``, and those that had their time (`TimedOut`, ``trials.limits``) to
        ``trials.time_out``. ``trials.heartbeat()`` must be called about every second, and
        ``trials.interrupt_all()`` at the end, also after an error.

        Parameters
        ----------
        trials : TrialManager
        executor : BaseExecutor
            Trains the trials, unless `runs_trials_itself`.

        Returns
        -------
        str
            The `TrialManager.stop_reason` that ended the run; empty if no trial was left.
        """
