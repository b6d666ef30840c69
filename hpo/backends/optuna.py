"""Backend that lets Optuna propose trials and an executor on this machine train them."""

from collections.abc import Sequence

from hpo.backends.base import BaseBackend
from hpo.executors import BaseExecutor, Ended, Event, Failed, Reported, Revoked, TimedOut
from hpo.trial import TrialState
from hpo.trial_manager import TrialManager

__all__ = ["OptunaBackend"]


class OptunaBackend(BaseBackend):
    """Takes the trials that the study's sampler proposes and trains them with an executor."""

    def run(self, trials: TrialManager, executor: BaseExecutor) -> str:
        """Start trials in free slots, pass on what happens to them, and stop them when told."""
        try:
            while not (reason := trials.stop_reason):
                _fill(trials, executor)
                if not trials.running:
                    return ""
                _advance(trials, executor)
                trials.heartbeat()
            _take(trials, executor, executor.put_aside())
            return reason
        finally:  # also after an error: no trial is left open
            executor.stop([record.number for record in trials.running])
            trials.interrupt_all()


def _fill(trials: TrialManager, executor: BaseExecutor) -> None:
    """Start a trial in each free slot, as long as there are any."""
    for _ in range(executor.capacity - len(trials.running)):
        if trials.must_wait:
            return
        trial = trials.ask()
        executor.n_trials_left = trials.n_left
        if trial is None:
            return
        executor.start([trial])


def _advance(trials: TrialManager, executor: BaseExecutor) -> None:
    events = executor.poll()
    for record in trials.running:
        number = record.number
        trials.set_trained_by(number, *executor.trained_by(number), executor.worker(number))
    _take(trials, executor, events)


def _take(trials: TrialManager, executor: BaseExecutor, events: Sequence[Event]) -> None:
    executor.stop(trials.report([e.report for e in events if isinstance(e, Reported)]))
    _end(trials, events)


def _end(trials: TrialManager, events: Sequence[Event]) -> None:
    for event in events:
        match event:
            case Ended(number):
                trials.end(number)
            case Failed(number, reason, error):
                trials.end(number, TrialState.FAILED, reason, error, event.cause)
            case Revoked(number, reason):
                trials.revoke(number, reason)
            case TimedOut(number):
                trials.time_out(number)
