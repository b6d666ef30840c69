"""The trial manager: hands out the trials of a study and decides how each of them continues.

It runs in the driver process, between the backend, which has trials trained, and the storage: it
keeps the budget, tells the storage and the observers of everything that happens to a trial, and
asks the pruner.
"""

import math
import time
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpo._discovery import did_you_mean
from hpo._failures import message_of, where_of
from hpo._stop_signal import StopSignal
from hpo._time_limits import TimeLimits
from hpo._trial_end import divergence, ended
from hpo.budget import Budget
from hpo.exceptions import HpoError, PluginError, StudyError
from hpo.observer import BaseObserver
from hpo.out_of_fold_files import OutOfFoldFiles
from hpo.pruners import BasePruner, PruneDecision
from hpo.racing import FoldRace
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.trial import SECONDS, Cause, Report, Trial, TrialRecord, TrialState
from hpo.trial_records import TrialRecords

__all__ = ["TrialManager"]

_CONTINUE = PruneDecision(stop=False)

_TAKEN = "another process tries it again, because this one was silent for so long"

_SETTLING_SECONDS = 1.0
"""How often to look for dead drivers, at most, while trials of our own are running."""


class TrialManager:
    """One run of a study, as a backend sees it: asks for trials, reports and ends them.

    Parameters
    ----------
    storage : TrialStore
        Its trials of earlier runs are peers for the pruner, and count.
    pruner : BasePruner
    budget : Budget or None
        None is no limit.
    interrupt : StopSignal or None
        Ends the run early on request.
    observers : sequence of BaseObserver
        Notified in order, of what the storage already knows.
    costs : sequence of str
        Names of metrics to minimize; trials must report each of them.
    select : {"best", "last"}
        Which report represents a trial; see `TrialRecord`.
    max_steps : callable or None
        ``max_steps(params)`` returns the steps of a trial that nothing stops, or None.
    out_of_fold : OutOfFoldFiles or None
        Keeps what reports carry of the validated rows.
    promote : int, default=2
        For trials that train their first fold alone before the others: about one of ``promote``
        that made all its steps gets the others; see `FoldRace`.
    """

    def __init__(
        self,
        storage: TrialStore,
        pruner: BasePruner,
        budget: Budget | None = None,
        interrupt: StopSignal | None = None,
        *,
        observers: Sequence[BaseObserver] = (),
        costs: Sequence[str] = (),
        select: str = "best",
        max_steps: Callable[[Mapping[str, Any]], int | None] | None = None,
        out_of_fold: OutOfFoldFiles | None = None,
        promote: int = 2,
    ) -> None:
        self._storage = storage
        self._pruner = pruner
        self._budget = budget or Budget()
        self._interrupt = interrupt or StopSignal()
        self._observers = tuple(observers)
        self._costs = tuple(costs)
        self._select = select
        self._max_steps = max_steps
        self._out_of_fold = out_of_fold
        self._records = TrialRecords(storage.records())
        self._race = FoldRace(pruner, promote, self._records)
        self.n_begun = 0
        """Number of trials that this run has begun."""
        self._n_elsewhere = 0  # trials that run under other drivers
        self._n_left: float | None = None
        self._next_settling = 0.0
        self._suspects: set[int] = set()

    # -- what there is -----------------------------------------------------------------------

    @property
    def space(self) -> SearchSpace:
        """The space from which trials are drawn."""
        return self._storage.space

    @property
    def sampler(self) -> Any:
        """The sampler that proposes the trials."""
        return self._storage.sampler

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """All records, in the order of their numbers."""
        return self._records.by_number

    @property
    def running(self) -> tuple[TrialRecord, ...]:
        """Records of the trials that this run has begun and not ended."""
        return self._records.running

    @property
    def numbers(self) -> Collection[int]:
        """Numbers of all trials that have records."""
        return self._records.numbers

    def record(self, number: int) -> TrialRecord:
        """Return the record of trial ``number``."""
        return self._records[number]

    @property
    def stop_reason(self) -> str:
        """Why running trials must end now: the interrupt's reason, or the limit reached.

        Empty if they may continue.
        """
        return self._interrupt.reason or self._budget.overdrawn(self._records.n_steps)

    @property
    def n_left(self) -> float:
        """How many more trials may begin, as far as known at the last `ask`; inf without a limit.

        This is limited by the budget, by a finite space or grid, and by a sampler that has
        nothing more to propose.
        """
        if self._n_left is None:
            self._n_left = self._count_left()
        return self._n_left

    def _count_left(self) -> float:
        n_counted = self._records.n_counted + self._n_elsewhere
        left = self._budget.trials_left(n_counted)
        return 0 if left < 1 else max(min(left, self._storage.left), 0)

    @property
    def limits(self) -> TimeLimits:
        """How long the executor may train."""
        return TimeLimits(
            deadline=self._budget.deadline,
            trial_timeout=self._budget.trial_timeout or math.inf,
            on_hang=self._abandon,
            last_resort=self._interrupt.owns_process,
        )

    @property
    def must_wait(self) -> bool:
        """Whether the next trial may begin only when the running ones have ended.

        A trial whose parameters have cost two drivers their lives is tried a last time, alone.
        """
        if not self.running:
            return False
        return bool(self._suspects & {r.number for r in self.running}) or (
            self._storage.next_is_suspect
        )

    # -- what a backend tells ----------------------------------------------------------------

    def ask(self, trained_by: str = "") -> Trial | None:
        """Return the next trial to begin; None if no more may begin.

        Once it is None it stays so, unless a trial is revoked, or interrupted by another driver.
        However many drivers ask, no more trials begin than the budget has.

        Parameters
        ----------
        trained_by : str
            How it will be trained, if this is already known; see `TrialRecord.trained_by`.
        """
        while True:
            self.learn()
            self._n_left = self._count_left()
            if self._n_left < 1 and self._n_elsewhere and self._settle():
                continue
            if self._n_left < 1:
                return None
            trial = self._storage.ask()
            if self._storage.is_surplus(trial.number):
                self._withdraw(trial, "not begun: another process runs its parameters")
            elif not self._is_within_budget(trial.number):
                reason = "not begun: another process has started the last trial of the budget"
                self._withdraw(trial, reason)
            else:
                break
        self._n_left -= 1
        max_steps = None if self._max_steps is None else self._max_steps(trial.params)
        record = TrialRecord(
            trial,
            max_steps=max_steps,
            started=time.time(),
            select=self._select,
            trained_by=trained_by,
        )
        for report in self._storage.reports_before(trial):
            record = record.with_report(report)
        self.n_begun += 1
        self._store(record)
        self._storage.begin(record)
        for report in record.all_reports:
            self._storage.report(report)
        if self._storage.is_suspect(trial.number):
            self._suspects.add(trial.number)
        for observer in self._observers:
            observer.on_trial_start(record)
        return trial

    def learn(self) -> None:
        """Learn what other drivers have finished."""
        finished, self._n_elsewhere = self._storage.sync_other_workers(self._records.numbers)
        for record in finished:
            self._store(record)

    def _store(self, record: TrialRecord) -> None:
        self._records.store(record)
        self._race.store(record)

    def _is_within_budget(self, number: int) -> bool:
        """Return whether the trial with this number, just asked for, may begin.

        Other drivers may have asked since the last look at them. So the number decides: a trial
        is beyond the budget if enough of the trials with smaller numbers count. All of them
        exist by now, and one that was interrupted will never count again; whatever is not known
        to be interrupted is assumed to count. So all drivers agree without a lock.
        """
        if self._budget.trials_left(self._n_counted_before(number)) >= 1:
            return True
        self.learn()
        return self._budget.trials_left(self._n_counted_before(number)) >= 1

    def _n_counted_before(self, number: int) -> int:
        return number - self._records.n_interrupted_before(number)

    def _withdraw(self, trial: Trial, reason: str) -> None:
        """End a trial before it begins."""
        record = TrialRecord(trial, started=time.time(), select=self._select)
        record = ended(record, TrialState.INTERRUPTED, reason, cause=Cause.WITHDRAWN)
        self._store(self._storage.tell(record))

    def _settle(self) -> bool:
        """End the trials of drivers that have died; return whether there were any.

        It is called when nothing is left to begin but others run: there may be something again.
        """
        now = time.monotonic()
        if self.running and now < self._next_settling:
            return False  # it takes as long as a report; there will be another chance
        self._next_settling = now + _SETTLING_SECONDS
        closed = self._storage.fail_stale_trials(withdrawn=False)
        for record in closed:
            self._ended(record)
        return bool(closed)

    def set_trained_by(self, number: int, how: str, reason: str = "", worker: str = "") -> None:
        """Record how a running trial is trained, and by which worker; may be called at every step.

        A worker that is known stays so if ``worker`` is empty.
        """
        before = self._records[number]
        worker = worker or before.worker
        if (before.trained_by, before.trained_by_reason, before.worker) == (how, reason, worker):
            return
        record = replace(before, trained_by=how, trained_by_reason=reason, worker=worker)
        self._records.store(record)
        self._storage.begin(record)
        for observer in self._observers:
            observer.trial_trained_by(record)

    def report(self, reports: Sequence[Report]) -> list[int]:
        """Record reports, and end the trials that are not to continue.

        Reports that arrive together belong into one call: all of them are recorded before a
        decision on any of their trials, so that trials that advance in lockstep are compared at
        the same step.

        Returns
        -------
        list of int
            Numbers of the trials that have been ended, whose training must be stopped.

        Raises
        ------
        StudyError
            If a report lacks one of the study's costs.
        PluginError
            If the pruner raises.
        """
        # An executor that begins a trial anew, which goes on elsewhere, repeats what is known.
        reports = [r for r in reports if r.position > self._records[r.number].trial.resumed_step]
        reports = [known for report in reports if (known := self._as_known(report))]
        taken = [report.number for report in reports if not self._record_report(report)]
        stopped = []
        for report in reports:
            if report.number in taken:
                self.end(report.number, TrialState.INTERRUPTED, _TAKEN)
                stopped.append(report.number)
                continue
            decision = self._decide(report)
            if decision.stop:
                self.end(report.number, TrialState.PRUNED, decision.reason, cause=decision.cause)
                stopped.append(report.number)
            elif report.screening and report.last and not math.isfinite(report.value):
                self.end(report.number)  # as failed: no other fold can give it a score
                stopped.append(report.number)
        return stopped

    def end(
        self,
        number: int,
        state: TrialState = TrialState.COMPLETE,
        reason: str = "",
        error: str | None = None,
        cause: Cause | None = None,
    ) -> None:
        """End a running trial: the sampler and the record are told the same.

        A trial that made all its steps without a finite score at the last of them is FAILED.
        One that ran out of memory is PRUNED: this depends on its parameters, and the sampler
        learns from pruned trials but not from failed ones.

        Parameters
        ----------
        number : int
        state : TrialState
            How it ended: COMPLETE, PRUNED, FAILED or INTERRUPTED.
        reason : str
            One line, required unless it is complete.
        error : str or None
            Traceback of a failed trial.
        cause : Cause or None
            None is the usual one of the state.
        """
        record = ended(self._records[number], state, reason, error, cause)
        stored = self._storage.tell(record)
        if stored is not record and stored.state is TrialState.INTERRUPTED:
            stored = replace(stored, reason=_TAKEN)
        self._ended(stored)

    def time_out(self, number: int) -> None:
        """End a trial that was in training for longer than a trial may be.

        It has failed, with the reports that it has made, unless these are all.
        """
        record = self._records[number]
        if record.made_all_steps:
            self.end(number)
            return
        where = "" if record.reports or not record.screening else " of the first fold"
        reason = (
            f"epoch {_next_step(record)}{where}: not over after {self._budget.trial_timeout:g} s "
            "of training, the time that a trial may take (trial_timeout)"
        )
        self.end(number, TrialState.FAILED, reason, cause=Cause.TIMEOUT)

    def _abandon(self, numbers: Collection[int]) -> None:
        """Deal with a step in this process that does not return though its time is over.

        Called from another thread. Only the end of the process can end such a step, so all trials
        are ended before it. If several are trained together, any of them may be to blame: they
        are counted as the trials of a driver that died, which are tried alone in the end.
        """
        spent = self._budget.overdrawn(self._records.n_steps)
        names = f"trial{'s' * (len(numbers) > 1)} {', '.join(map(str, sorted(numbers)))}"
        why = (
            f"{spent or 'The time of a trial is over'}, but the training of {names} is in a call "
            "that Python cannot interrupt. A worker process could have been ended: "
            "--executor process (executor='process')."
        )
        if not self._interrupt.owns_process:
            warnings.warn(why, RuntimeWarning, stacklevel=1)
            return
        try:
            if not spent and len(numbers) == 1:
                self.time_out(*numbers)
            elif not spent:
                for number in numbers:
                    reason = f"the training of {names} did not return"
                    self.end(number, TrialState.INTERRUPTED, reason, cause=Cause.DRIVER_DIED)
                self._interrupt.request("the training of other trials did not return")
            self.interrupt_all()
        finally:
            self._interrupt.end_process(f"{why[0].upper()}{why[1:]}")

    def revoke(self, number: int, reason: str) -> None:
        """Discard the reports of a trial, even of an ended one; its parameters are tried again."""
        record = ended(self._records[number], TrialState.INTERRUPTED, reason, cause=Cause.REVOKED)
        self._storage.revoke(record)
        if self._out_of_fold is not None:
            self._out_of_fold.discard(number)
        self._ended(record)

    def interrupt_all(self) -> None:
        """End the running trials: as complete if they made all steps, else as interrupted.

        To be called when the run ends for whatever reason, so that no trial is left open.
        """
        spent = self._budget.overdrawn(self._records.n_steps)
        if spent and not self._interrupt.reason:
            reason, cause = spent, Cause.BUDGET
        else:
            reason, cause = self._interrupt.reason or "an error", Cause.STOPPED
        for record in self.running:
            if record.made_all_steps:
                self.end(record.number)
            else:
                self.end(record.number, TrialState.INTERRUPTED, reason, cause=cause)

    def heartbeat(self) -> None:
        """Show other drivers of the study that this one is alive; cheap to call often."""
        self._storage.heartbeat()

    # -- helpers -----------------------------------------------------------------------------

    def _as_known(self, report: Report) -> Report | None:
        """Return a report that stands behind what is known of its trial; None for a repeated one.

        Where a training begins anew elsewhere, its first fold may end at another step than before.
        """
        screening = self._records[report.number].screening
        if not screening or report.screening:
            return None if screening and screening[-1].last else report
        return replace(report, n_screened=screening[-1].step)

    def _record_report(self, report: Report) -> bool:
        """Record a report; return False if the trial is no longer this driver's."""
        self._check_costs(report)
        record = self._records[report.number]
        rows = report.rows
        report = replace(report, time=report.time or time.time(), rows=None)
        record = record.with_report(report)
        if not self._storage.report(report):
            return False
        if self._out_of_fold is not None:
            self._out_of_fold.add(report.number, report.value, rows)
        self._store(record)
        for observer in self._observers:
            (observer.on_screening if report.screening else observer.on_report)(record, report)
        return True

    def _check_costs(self, report: Report) -> None:
        measured = {SECONDS, *report.metrics}
        for name in self._costs:
            if name not in measured:
                hint = did_you_mean(name, measured) or "."
                raise StudyError(
                    f"No trial reports the cost '{name}'{hint} There are: "
                    f"{', '.join(sorted(measured))}."
                )

    def _decide(self, report: Report) -> PruneDecision:
        """Decide after its last report whether a trial continues.

        A training that diverged (its loss is not finite) is always stopped: it cannot recover,
        and the sampler learns from a pruned trial to avoid its parameters.
        """
        record = self._records[report.number]
        diverged = divergence(report)
        if diverged:
            return PruneDecision(True, diverged, Cause.DIVERGED)
        if report.screening:
            return self._asked(self._race.decide, record)
        if record.made_all_steps:
            return _CONTINUE  # it is complete anyway
        if record.screening:
            return _CONTINUE  # it is among the better ones on its first fold
        return self._asked(self._pruner.decide, record, self._records.peers_of(report.number))

    def _asked(self, decide: Callable[..., PruneDecision], *args: Any) -> PruneDecision:
        """Return the decision on a record, with others that the decision needs."""
        try:
            return decide(*args)
        except HpoError:
            raise
        except Exception as error:  # a pruner may be the user's own
            report = args[0].all_reports[-1]
            raise PluginError(
                f"the pruner {type(self._pruner).__name__} raised {message_of(error)} "
                f"({where_of(error)}) at trial {report.number}, step {report.step}."
            ) from error

    def _ended(self, record: TrialRecord) -> None:
        self._store(record)
        if self._out_of_fold is not None:
            self._out_of_fold.end(record)
        for observer in self._observers:
            observer.on_trial_end(record)


def _next_step(record: TrialRecord) -> int:
    """Return the step that a running trial makes: of its first fold, as long as that is alone."""
    last = record.all_reports[-1] if record.all_reports else None
    if last is None or (last.screening and last.last):
        return 1
    return last.step + 1
