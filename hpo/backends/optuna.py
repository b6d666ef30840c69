"""Backend that lets Optuna propose trials and an executor on this machine train them."""

from collections.abc import Sequence

from hpo._stop_signal import StopSignal
from hpo.backends.base import BaseBackend, Budget
from hpo.executors import BaseExecutor, Ended, Event, Failed, Reported, Revoked
from hpo.storage.trial_store import TrialStore
from hpo.trial import Cause, TrialState
from hpo.trial_manager import TrialManager

__all__ = ["OptunaBackend"]


class OptunaBackend(BaseBackend):
    """Asks the store's Optuna study for trials and trains them with an executor."""

    def run(
        self,
        store: TrialStore,
        manager: TrialManager,
        executor: BaseExecutor,
        budget: Budget,
        interrupt: StopSignal,
    ) -> str:
        """Start trials in free slots, pass reports to the manager, and record each trial's end."""
        loop = _Loop(store, manager, executor, budget)
        try:
            while True:
                reason = interrupt.reason or budget.overdrawn(manager)
                if reason:
                    return reason
                loop.fill()
                if not manager.running:
                    return ""
                loop.handle_events(executor.poll())
                store.heartbeat()
        finally:
            # Also after an error: no trial is left open.
            loop.interrupt_all(*budget.cut_off(manager, interrupt))


class _Loop:
    def __init__(
        self, store: TrialStore, manager: TrialManager, executor: BaseExecutor, budget: Budget
    ) -> None:
        self._store = store
        self._manager = manager
        self._executor = executor
        self._budget = budget

    def fill(self) -> None:
        """Start as many trials as there are free slots and the budget allows."""
        n_free = self._executor.capacity - len(self._manager.running)
        if n_free <= 0:
            return
        finished, elsewhere = self._store.sync_other_workers(self._manager.numbers)
        for record in finished:
            self._manager.add(record)
        for _ in range(n_free):
            left = min(self._budget.trials_left(self._manager, elsewhere), self._store.left)
            self._executor.n_trials_left = max(left - 1, 0)
            if left < 1:
                return
            trial = self._store.ask()
            max_steps = self._executor.objective.max_steps(trial.params)
            self._manager.on_trial_start(trial, max_steps)
            self._executor.start([trial])

    def handle_events(self, events: Sequence[Event]) -> None:
        """Register the events of the executor, then respond to them.

        All reports are registered first, so that trials that an executor advances together are
        compared at the same step.
        """
        self._note_training()
        for event in events:
            if isinstance(event, Reported):
                self._store.report(event.report)
                self._manager.record_report(event.report)
        for event in events:
            self._respond(event)

    def _note_training(self) -> None:
        for record in self._manager.running:
            how, reason = self._executor.trained_by(record.number)
            self._manager.on_trained_by(record.number, how, reason)

    def _respond(self, event: Event) -> None:
        match event:
            case Reported(report):
                decision = self._manager.decide(report.number)
                if decision.stop:
                    self._executor.stop([report.number])
                    end = report.number, TrialState.PRUNED, decision.reason
                    self._end(*end, cause=decision.cause)
            case Ended(number):
                self._end(number, TrialState.COMPLETE)
            case Revoked(number, reason):
                self._store.revoke(self._manager.on_revoke(number, reason))
            case Failed(number, reason, error):
                self._end(number, TrialState.FAILED, reason, error, event.cause)

    def _end(
        self,
        number: int,
        state: TrialState,
        reason: str = "",
        error: str | None = None,
        cause: Cause | None = None,
    ) -> None:
        self._store.tell(self._manager.on_trial_end(number, state, reason, error, cause))

    def interrupt_all(self, reason: str, cause: Cause) -> None:
        """Close the running trials: as complete if they made all steps, else as interrupted."""
        running = self._manager.running
        self._executor.stop([record.number for record in running])
        for record in running:
            if record.made_all_steps:
                self._end(record.number, TrialState.COMPLETE)
            else:
                self._store.tell(self._manager.on_interrupt(record.number, reason, cause))
