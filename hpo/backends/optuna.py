"""Optuna proposes, an executor of this machine trains."""

from collections.abc import Sequence

from hpo._interrupt import Interrupt
from hpo.backends.base import BaseBackend, Budget
from hpo.executors import BaseExecutor, Ended, Event, Failed, Reported, Revoked
from hpo.scheduler import TrialScheduler
from hpo.storage.trial_store import Ledger
from hpo.trial import Cause, TrialState

__all__ = ["OptunaBackend"]


class OptunaBackend(BaseBackend):
    """Asks the ledger's Optuna study, and has an executor advance the trials."""

    def run(
        self,
        ledger: Ledger,
        scheduler: TrialScheduler,
        executor: BaseExecutor,
        budget: Budget,
        interrupt: Interrupt,
    ) -> str:
        """Fill free places, hand each report to the scheduler, tell what became of each trial."""
        loop = _Loop(ledger, scheduler, executor, budget)
        try:
            while True:
                why = interrupt.reason or budget.overdrawn(scheduler)
                if why:
                    return why
                loop.fill()
                if not scheduler.running:
                    return ""
                loop.take(executor.poll())
                ledger.beat()
        finally:
            # Also on the way of an error: no trial is left open.
            loop.interrupt_all(*budget.cut_off(scheduler, interrupt))


class _Loop:
    def __init__(
        self, ledger: Ledger, scheduler: TrialScheduler, executor: BaseExecutor, budget: Budget
    ) -> None:
        self._ledger = ledger
        self._scheduler = scheduler
        self._executor = executor
        self._budget = budget

    def fill(self) -> None:
        """Start as many trials as there are places and the budget allows."""
        places = self._executor.capacity - len(self._scheduler.running)
        if places <= 0:
            return
        finished, elsewhere = self._ledger.look_elsewhere(self._scheduler.numbers)
        for record in finished:
            self._scheduler.add(record)
        for _ in range(places):
            left = min(self._budget.trials_left(self._scheduler, elsewhere), self._ledger.left)
            self._executor.to_come = max(left - 1, 0)
            if left < 1:
                return
            trial = self._ledger.ask()
            max_steps = self._executor.objective.max_steps(trial.params)
            self._scheduler.on_trial_start(trial, max_steps)
            self._executor.start([trial])

    def take(self, events: Sequence[Event]) -> None:
        """Take in what the executor tells, then answer it.

        All reports first: of trials that an executor advances together none is judged before
        the others have come to the same step.
        """
        self._note_training()
        for event in events:
            if isinstance(event, Reported):
                self._ledger.report(event.report)
                self._scheduler.take(event.report)
        for event in events:
            self._answer(event)

    def _note_training(self) -> None:
        for record in self._scheduler.running:
            how, reason = self._executor.trained_by(record.number)
            self._scheduler.on_trained_by(record.number, how, reason)

    def _answer(self, event: Event) -> None:
        match event:
            case Reported(report):
                decision = self._scheduler.judge(report.number)
                if decision.stop:
                    self._executor.stop([report.number])
                    end = report.number, TrialState.PRUNED, decision.reason
                    self._end(*end, cause=decision.cause)
            case Ended(number):
                self._end(number, TrialState.COMPLETE)
            case Revoked(number, reason):
                self._ledger.revoke(self._scheduler.on_revoke(number, reason))
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
        self._ledger.tell(self._scheduler.on_trial_end(number, state, reason, error, cause))

    def interrupt_all(self, why: str, cause: Cause) -> None:
        """Close the trials in flight: as interrupted, but for those that made all their steps."""
        running = self._scheduler.running
        self._executor.stop([record.number for record in running])
        for record in running:
            if record.made_all_steps:
                self._end(record.number, TrialState.COMPLETE)
            else:
                self._ledger.tell(self._scheduler.on_interrupt(record.number, why, cause))
