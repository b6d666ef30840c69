"""Progress of a study: counts, the best trial, running trials and the remaining time."""

import math
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hpo._trained_by import asked_for_batches, count_ways
from hpo.display.time_left import (
    OFF_BY,
    Range,
    Running,
    nested_seconds,
    refit_seconds,
    rest_of_search,
)
from hpo.trial import TrialRecord, TrialState

__all__ = ["Plan", "Progress", "standard_error"]

N_RECENT = 4
"""Number of recently finished trials to show."""
N_FOR_ESTIMATE = 3
"""Number of trials that must have ended before a time is estimated from them."""
EVERY = 5.0
"""Seconds after which the time left is computed anew, though no trial has begun or ended."""


@dataclass(frozen=True)
class Plan:
    """The budget of the study, and the trials of earlier runs.

    Parameters
    ----------
    n_trials : int or None
    timeout : float or None
        Time limit of this run in seconds.
    max_total_epochs : int or None
    earlier : tuple of TrialRecord
        Finished trials of earlier runs.
    refit : bool
        Whether the winner is trained on all data at the end.
    n_finalists : int
        Trials that are trained on fresh folds before that.
    n_outer : int
        Outer folds of a nested cross-validation, each of which is a whole search, after it.
    """

    n_trials: int | None = None
    timeout: float | None = None
    max_total_epochs: int | None = None
    earlier: tuple[TrialRecord, ...] = ()
    refit: bool = True
    n_finalists: int = 0
    n_outer: int = 0


class Progress:
    """Keeps count of a running study; every method is cheap whatever the number of trials.

    Parameters
    ----------
    plan : Plan
    now : callable
        A monotonic clock, in seconds.
    """

    def __init__(self, plan: Plan, now: Callable[[], float] = time.monotonic) -> None:
        self.plan = plan
        self.counts: Counter[str]
        self.best: TrialRecord | None
        self.best_error = math.nan
        self.running: dict[int, TrialRecord] = {}
        self.recent: deque[TrialRecord] = deque(maxlen=N_RECENT)
        self.over = False
        self._now = now
        self.reasons: dict[str, TrialRecord] = {}
        """Reasons why trials of this run are not batched, with the first trial of each."""
        self._n_ended = 0
        self._n_epochs = 0.0
        self._began_at: dict[int, float] = {}
        self._durations: list[float] = []
        self._n_places = 1
        self._range: tuple[float, Range] | None = None
        self._reset(plan.earlier)
        self.begin()

    def _reset(self, earlier: Sequence[TrialRecord]) -> None:
        """Count trials that ended before this run."""
        self.counts, self.best, self._n_epochs_before = Counter(), None, 0.0
        self._records: dict[int, TrialRecord] = {}
        self._trained: Counter[str] = Counter()
        self._in_batches = False
        self._earlier: list[float] = []
        self._n_before = len(earlier)
        for record in earlier:
            if record.state is not TrialState.RUNNING:
                self._count(record)
                self._n_epochs_before += record.n_made
            if record.started and record.ended and not record.interrupted:
                self._earlier.append(max(0.0, record.ended - record.started))

    def begin(self, copied: Sequence[TrialRecord] | None = None) -> None:
        """Start the clock.

        Parameters
        ----------
        copied : sequence of TrialRecord or None
            The trials copied into an extended study; only these count.
        """
        if copied is not None:
            self._reset(copied)
        self._began = self._last_end = self._now()

    def started(self, record: TrialRecord) -> None:
        """Register that a trial has started."""
        self.running[record.number] = record
        self.over = False
        self._began_at[record.number] = self._now()
        self._n_places = max(self._n_places, len(self.running))
        self._range = None

    def trained_by(self, record: TrialRecord) -> None:
        """Register how a running trial is trained."""
        self.running[record.number] = record
        self._in_batches = self._in_batches or asked_for_batches(record)
        if record.trained_by_reason:
            self.reasons.setdefault(record.trained_by_reason, record)

    def reported(self, record: TrialRecord) -> None:
        """Register a report of a trial."""
        before = self.running.get(record.number)
        self.running[record.number] = record
        self._n_epochs += record.n_made - (before.n_made if before else 0)

    def ended(self, record: TrialRecord) -> None:
        """Register that a trial has ended."""
        is_ours = self.running.pop(record.number, None) is not None
        if record.number in self._records:  # it had ended; that end is void
            self._undo(self._records[record.number])
        self._count(record)
        self.recent.append(record)
        self._range = None
        began = self._began_at.pop(record.number, None)
        if record.interrupted:
            # Trials of this process are interrupted only when the whole search ends.
            self.over = self.over or is_ours
            return
        self._n_ended += 1
        self._last_end = self._now()
        if began is not None and is_ours:
            self._durations.append(self._last_end - began)

    def _count(self, record: TrialRecord) -> None:
        self.counts[str(record.state)] += 1
        self._records[record.number] = record
        self._trained.update(count_ways([record]))
        self._in_batches = self._in_batches or asked_for_batches(record)
        self._rank(record)

    def _rank(self, record: TrialRecord) -> None:
        report = record.best_report
        if record.state is TrialState.COMPLETE and report is not None:
            rank = (record.value, -record.number)
            if self.best is None or rank > (self.best.value, -self.best.number):
                self.best = record
                self.best_error = standard_error(report.fold_values)

    def _undo(self, old: TrialRecord) -> None:
        """Undo that a trial of this run has ended."""
        self.counts[str(old.state)] -= 1
        self._trained.subtract(count_ways([old]))
        self._n_ended -= not old.interrupted
        del self._records[old.number]
        if self.best is old:
            self.best, self.best_error = None, math.nan
            for record in self._records.values():
                self._rank(record)

    @property
    def trained(self) -> Counter[str]:
        """Number of trials by how they are trained; empty if no executor batches them."""
        if not self._in_batches:
            return Counter()
        return self._trained + count_ways(self.running.values())

    @property
    def n_done(self) -> int:
        """Number of trials that count towards the budget: all ended, not interrupted ones."""
        return self.counts.total() - self.counts["interrupted"]

    @property
    def n_done_now(self) -> int:
        """Number of these trials that ended in this run."""
        return self._n_ended

    @property
    def elapsed(self) -> float:
        """Seconds since the study started or was resumed."""
        return self._now() - self._began

    @property
    def searching(self) -> bool:
        """Whether trials are running or will be started."""
        n_trials = self.plan.n_trials
        all_done = n_trials is not None and self.n_done >= n_trials
        return bool(self.running) or not (self.over or all_done)

    def fraction(self) -> float | None:
        """Return the used fraction of the budget; None if there is no limit."""
        plan = self.plan
        n_epochs = self._n_epochs_before + self._n_epochs
        shares = [
            spent / limit
            for spent, limit in (
                (self.n_done, plan.n_trials),
                (n_epochs, plan.max_total_epochs),
                (self.elapsed, plan.timeout),
            )
            if limit
        ]
        return min(1.0, max(shares)) if shares else None

    def time_left(self) -> Range | None:
        """Estimate the seconds to the end of the study; None if unknown.

        What follows the search is included: finalists, the refit, and nested searches.

        The time itself runs down from one estimate to the next; estimates are made when a trial
        begins or ends, and every few seconds.
        """
        now = self._now()
        if not self.searching:
            after = self._after_search(self._last_end - self._began)
            return None if after is None else after.plus(self._last_end - now)
        if self._range is None or now - self._range[0] >= EVERY:
            estimated = self._estimate(now)
            if estimated is None:
                return None
            self._range = now, estimated
        made, left = self._range
        return left.plus(made - now)

    def _estimate(self, now: float) -> Range | None:
        plan = self.plan
        ranges = []
        if plan.timeout is not None:
            rest = max(0.0, plan.timeout - self.elapsed)
            ranges.append(Range(rest, rest))
        enough = len(self._durations) >= N_FOR_ESTIMATE
        durations = self._durations if enough else [*self._earlier, *self._durations]
        if plan.n_trials is not None and len(durations) >= N_FOR_ESTIMATE:
            running = [
                Running(now - self._began_at.get(number, now), r.n_made, _steps_left_at_start(r))
                for number, r in self.running.items()
            ]
            n_to_start = max(0, plan.n_trials - self.n_done - len(running))
            ranges.append(rest_of_search(durations, running, n_to_start, self._n_places))
        if plan.max_total_epochs is not None and self._n_ended >= N_FOR_ESTIMATE:
            left = max(0, plan.max_total_epochs - self._n_epochs_before - self._n_epochs)
            rest = left * self.elapsed / max(1, self._n_epochs)
            ranges.append(Range((1 - OFF_BY) * rest, (1 + OFF_BY) * rest))
        if not ranges:
            return None
        nearest = Range(min(each.low for each in ranges), min(each.high for each in ranges))
        middle = (nearest.low + nearest.high) / 2
        after = self._after_search(now - self._began + middle)
        return (
            nearest if after is None else Range(nearest.low + after.low, nearest.high + after.high)
        )

    def _after_search(self, search: float) -> Range | None:
        """Return about how long takes what follows the search; None if nothing is known to.

        Parameters
        ----------
        search : float
            Seconds of this run's part of the search, to its end.
        """
        plan = self.plan
        report = self.best.best_report if self.best is not None else None
        if self.best is None or report is None:
            return None
        if not (plan.refit or plan.n_finalists or plan.n_outer):
            return None
        steps = self.best.refit_steps
        best = sum(each.seconds for each in self.best.reports if each.step <= steps)
        refit = refit_seconds(best, len(report.fold_values))
        after = best * plan.n_finalists + refit * plan.refit
        if not plan.n_outer:
            return Range(after, after)
        n_all = max(plan.n_trials or 0, self.counts.total() + len(self.running))
        whole = search * n_all / max(1, n_all - self._n_before)
        return nested_seconds(whole, refit, plan.n_outer).plus(after)


def _steps_left_at_start(record: TrialRecord) -> int:
    """Return the steps that a trial makes itself, if nothing stops it; 0 if unknown."""
    return max(0, (record.max_steps or 0) - record.trial.resumed_step)


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean of ``values``, as `StudyResult.best_score_se`."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return math.nan
    return statistics.stdev(values) / math.sqrt(len(values))
