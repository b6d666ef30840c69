"""The trial manager: holds the state of every trial of a study and decides how it continues.

It runs in the driver process. Backends and executors report events to it; it keeps the records,
asks the pruner and notifies the trackers.
"""

import math
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from hpo._discovery import did_you_mean
from hpo._failures import message_of, where_of
from hpo.exceptions import HpoError, PluginError, StudyError
from hpo.observer import BaseObserver
from hpo.pruners import BasePruner, PruneDecision
from hpo.trial import SECONDS, Cause, Report, Trial, TrialRecord, TrialState

__all__ = ["TrialManager"]

_CONTINUE = PruneDecision(stop=False)

_CAUSES = {
    TrialState.PRUNED: Cause.PRUNER,
    TrialState.FAILED: Cause.ERROR,
    TrialState.INTERRUPTED: Cause.STOPPED,
}
"""Default cause for each state."""


class TrialManager:
    """Holds records, pruner and trackers.

    Parameters
    ----------
    pruner : BasePruner
    trackers : sequence of BaseObserver
        Notified in order.
    records : iterable of TrialRecord
        Trials of earlier runs of the same study: they are peers for the pruner.
    costs : sequence of str
        Names of metrics to minimize; trials must report each of them.
    select : {"best", "last"}
        Which report represents a trial; see `TrialRecord`.
    """

    def __init__(
        self,
        pruner: BasePruner,
        trackers: Sequence[BaseObserver] = (),
        records: Iterable[TrialRecord] = (),
        costs: Sequence[str] = (),
        select: str = "best",
    ) -> None:
        self._pruner = pruner
        self._trackers = tuple(trackers)
        self._records: dict[int, TrialRecord] = {}
        self._running: dict[int, None] = {}  # in the order in which they started
        self._costs = tuple(costs)
        self._select = select
        self.n_steps = 0
        """Total number of steps of all trials."""
        self.n_counted = 0
        """Number of trials without interrupted ones."""
        for record in records:
            self._store(record)

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """All records, in the order of their numbers."""
        return tuple(self._records[number] for number in sorted(self._records))

    @property
    def running(self) -> tuple[TrialRecord, ...]:
        """Records of the running trials."""
        return tuple(self._records[number] for number in self._running)

    @property
    def numbers(self) -> Collection[int]:
        """Numbers of all trials that have records."""
        return self._records.keys()

    def record(self, number: int) -> TrialRecord:
        """Return the record of trial ``number``."""
        return self._records[number]

    def add(self, record: TrialRecord) -> None:
        """Add a trial that another driver of the same study has finished."""
        self._store(record)

    def _store(self, record: TrialRecord) -> None:
        """Replace the record of a trial and update the counts.

        The counts are updated incrementally because they are needed at every step, and a study
        may have thousands of records.
        """
        number = record.number
        old = self._records.get(number)
        if old is not None:
            self.n_steps -= old.last_step
            self.n_counted -= not old.interrupted
        self._records[number] = record
        self.n_steps += record.last_step
        self.n_counted += not record.interrupted
        if record.state is TrialState.RUNNING:
            self._running[number] = None
        else:
            self._running.pop(number, None)

    def on_trial_start(
        self, trial: Trial, max_steps: int | None = None, trained_by: str = ""
    ) -> TrialRecord:
        """Open the record of ``trial``."""
        record = TrialRecord(
            trial,
            max_steps=max_steps,
            started=time.time(),
            select=self._select,
            trained_by=trained_by,
        )
        self._store(record)
        for tracker in self._trackers:
            tracker.on_trial_start(record)
        return record

    def on_trained_by(self, number: int, how: str, reason: str = "") -> None:
        """Record how a running trial is trained; may be called at every step."""
        record = self._records[number]
        if (record.trained_by, record.trained_by_reason) == (how, reason):
            return
        record = replace(record, trained_by=how, trained_by_reason=reason)
        self._store(record)
        for tracker in self._trackers:
            tracker.trial_trained_by(record)

    def on_report(self, report: Report) -> PruneDecision:
        """Record a report and decide on its trial; see `record_report` and `decide`."""
        self.record_report(report)
        return self.decide(report.number)

    def record_report(self, report: Report) -> None:
        """Record a report.

        Reports that arrive together are all recorded before a decision on any of their trials, so
        that trials that advance in lockstep are compared at the same step.

        Raises
        ------
        StudyError
            If trials do not report one of the study's costs.
        """
        self._check_costs(report)
        record = self._records[report.number]
        report = report if report.time else replace(report, time=time.time())
        record = replace(record, reports=(*record.reports, report))
        self._store(record)
        for tracker in self._trackers:
            tracker.on_report(record, report)

    def decide(self, number: int) -> PruneDecision:
        """Decide after its last report whether a trial continues.

        A training that diverged (its loss is not finite) is always stopped: it cannot recover,
        and the sampler learns from a pruned trial to avoid its parameters.
        """
        record = self._records[number]
        report = record.reports[-1]
        diverged = _divergence(report)
        if diverged:
            return PruneDecision(True, diverged, Cause.DIVERGED)
        if record.max_steps is not None and report.step >= record.max_steps:
            return _CONTINUE  # it is complete anyway
        peers = [peer for key, peer in self._records.items() if key != number]
        try:
            return self._pruner.decide(record, peers)
        except HpoError:
            raise
        except Exception as error:  # a pruner may be the user's own
            raise PluginError(
                f"the pruner {type(self._pruner).__name__} raised {message_of(error)} "
                f"({where_of(error)}) at trial {number}, step {report.step}."
            ) from error

    def _check_costs(self, report: Report) -> None:
        measured = {SECONDS, *report.metrics}
        for name in self._costs:
            if name not in measured:
                hint = did_you_mean(name, measured) or "."
                raise StudyError(
                    f"No trial reports the cost '{name}'{hint} There are: "
                    f"{', '.join(sorted(measured))}."
                )

    def on_trial_end(
        self,
        number: int,
        state: TrialState,
        reason: str = "",
        error: str | None = None,
        cause: Cause | None = None,
    ) -> TrialRecord:
        """Close the record of a trial; it is final afterwards.

        A trial that made all its steps without a finite score at the last of them is FAILED.
        One that ran out of memory is PRUNED: this depends on its parameters, and the sampler
        learns from pruned trials but not from failed ones.
        """
        record = self._records[number]
        if state is TrialState.COMPLETE:
            state, reason = _final_state(record)
            cause = Cause.NO_SCORE if state is TrialState.FAILED else None
        elif cause is Cause.OUT_OF_MEMORY:
            state = TrialState.PRUNED
        record = replace(
            record,
            state=state,
            reason=reason,
            error=error,
            ended=time.time(),
            cause=cause or _CAUSES.get(state),
        )
        self._store(record)
        for tracker in self._trackers:
            tracker.on_trial_end(record)
        return record

    def on_revoke(self, number: int, why: str) -> TrialRecord:
        """Discard the reports of a trial, even an ended one; it counts as interrupted."""
        return self.on_interrupt(number, why, Cause.REVOKED)

    def on_interrupt(self, number: int, why: str, cause: Cause = Cause.STOPPED) -> TrialRecord:
        """Close the record of a trial that was interrupted for an external reason."""
        return self.on_trial_end(number, TrialState.INTERRUPTED, why, cause=cause)


def _divergence(report: Report) -> str:
    """Return the reason to stop a trial whose training loss is not finite, or an empty string."""
    losses = report.metrics.get("train_loss", ())
    bad = [(i, loss) for i, loss in enumerate(losses) if not math.isfinite(loss)]
    if not bad or math.isfinite(report.value):
        return ""
    fold, loss = bad[0]
    return f"epoch {report.step}: diverged, the training loss of fold {fold} is {loss}"


def _final_state(record: TrialRecord) -> tuple[TrialState, str]:
    if not record.reports:
        return TrialState.FAILED, "no report: the trial ended before its first step"
    last = record.reports[-1]
    if math.isfinite(last.value):
        return TrialState.COMPLETE, ""
    folds = [i for i, value in enumerate(last.fold_values) if not math.isfinite(value)]
    where = f" in fold {', '.join(map(str, folds))}" if folds else ""
    return (
        TrialState.FAILED,
        f"epoch {last.step}: no finite score{where} (the scorer returned "
        f"{last.fold_values[folds[0]] if folds else last.value})",
    )
