import math
import random
from dataclasses import replace

import pytest

from hpo.display.progress import Plan, Progress
from hpo.result import StudyResult
from hpo.trial import Report, Trial, TrialRecord, TrialState


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _run(
    progress: Progress,
    clock: Clock,
    number: int,
    state: TrialState = TrialState.COMPLETE,
    *,
    seconds: float = 10.0,
    value: float = 0.5,
    reason: str = "",
) -> TrialRecord:
    trial = Trial(number, {"lr": 0.1}, 0)
    progress.started(TrialRecord(trial, max_steps=2))
    reports: tuple[Report, ...] = ()
    for step in (1, 2):
        clock.now += seconds / 2
        reports += (Report(number, step, value, (value - 0.01, value, value + 0.01)),)
        progress.reported(TrialRecord(trial, reports=reports, max_steps=2))
    record = TrialRecord(trial, state, reports, reason, max_steps=2)
    progress.ended(record)
    return record


def test_the_counts_and_the_best_are_those_of_the_result() -> None:
    rng = random.Random(3)
    clock = Clock()
    progress = Progress(Plan(n_trials=40), clock)
    records = []
    for number in range(40):
        state = rng.choice([state for state in TrialState if state is not TrialState.RUNNING])
        value = rng.choice([math.nan, 0.3, 0.5, 0.5])
        records.append(_run(progress, clock, number, state, value=value))
        result = StudyResult(name="x", records=tuple(records))
        assert progress.counts["complete"] == result.n_complete
        assert progress.counts["pruned"] == result.n_pruned
        assert progress.counts["failed"] == result.n_failed
        assert progress.counts["interrupted"] == result.n_interrupted
        assert progress.n_done == result.n_trials
        assert [progress.best] == (result.top(1) or [None])
        if progress.best is not None:
            assert progress.best_error == pytest.approx(result.best_score_se)


def test_a_trial_that_is_void_counts_no_more() -> None:
    clock = Clock()
    progress = Progress(Plan(n_trials=4), clock)
    second = _run(progress, clock, 0, value=0.4), _run(progress, clock, 1, value=0.9)
    void = replace(second[1], state=TrialState.INTERRUPTED, reason="not as its own net")
    progress.ended(void)
    assert (progress.counts["complete"], progress.counts["interrupted"]) == (1, 1)
    assert progress.best == second[0]
    assert (progress.n_done, progress.n_done_now) == (1, 1)
    _run(progress, clock, 2, value=0.9)
    assert (progress.n_done, progress.n_done_now, progress.searching) == (2, 2, True)


def test_how_trials_are_trained_is_counted_where_batches_are_made() -> None:
    progress = Progress(Plan(n_trials=4), Clock())
    trained = {0: ("fused (eager)", ""), 1: ("process", "odd"), 2: ("process", "odd")}
    records = [
        TrialRecord(Trial(number, {}, 0), trained_by=by, trained_by_reason=why)
        for number, (by, why) in trained.items()
    ]
    for record in records:
        progress.started(replace(record, trained_by="", trained_by_reason=""))
        assert progress.trained.total() == record.number
        progress.trained_by(record)
    assert progress.trained == {"fused (eager)": 1, "process": 2}
    assert progress.reasons == {"odd": records[1]}
    for record in records:
        progress.ended(replace(record, state=TrialState.COMPLETE))
    assert progress.trained == {"fused (eager)": 1, "process": 2}
    plain = Progress(Plan(), Clock())
    plain.trained_by(TrialRecord(Trial(0, {}, 0), trained_by="process"))
    assert not plain.trained


def test_a_study_that_goes_on_starts_with_what_it_has() -> None:
    clock = Clock()
    first = Progress(Plan(n_trials=4), clock)
    earlier = [_run(first, clock, 0), _run(first, clock, 1, value=0.9)]
    progress = Progress(Plan(n_trials=4, earlier=tuple(earlier)), clock)
    assert (progress.n_done, progress.n_done_now, progress.best) == (2, 0, earlier[1])
    assert progress.fraction() == 0.5
    _run(progress, clock, 2)
    assert (progress.n_done, progress.n_done_now) == (3, 1)


def test_the_time_left_follows_the_trials_and_runs_down() -> None:
    clock = Clock()
    progress = Progress(Plan(n_trials=10, refit=False), clock)
    for number in range(2):
        _run(progress, clock, number)
        assert progress.time_left() is None
    _run(progress, clock, 2)
    assert progress.time_left() == pytest.approx((70, 70))
    clock.now += 4
    assert progress.time_left() == pytest.approx((66, 66))


def test_a_study_that_goes_on_knows_how_long_its_trials_took() -> None:
    trials = [Trial(number, {}, 0) for number in range(4)]
    earlier = tuple(
        TrialRecord(trial, TrialState.COMPLETE, started=100.0, ended=107.0) for trial in trials
    )
    progress = Progress(Plan(n_trials=10, earlier=earlier, refit=False), Clock())
    assert progress.time_left() == pytest.approx((42, 42))


def test_the_nearest_limit_counts() -> None:
    clock = Clock()
    plan = Plan(n_trials=100, timeout=50.0, max_total_epochs=1000, refit=False)
    progress = Progress(plan, clock)
    for number in range(4):
        _run(progress, clock, number)
    assert progress.time_left() == pytest.approx((10, 10))
    assert progress.fraction() == pytest.approx(0.8)
    progress = Progress(Plan(n_trials=100, max_total_epochs=10, refit=False), clock)
    for number in range(4):
        _run(progress, clock, number)
    assert progress.time_left() == pytest.approx((7.5, 12.5))
    assert Progress(Plan(), clock).fraction() is None


def test_the_search_is_over_when_all_are_made_or_running_ones_are_cut_off() -> None:
    clock = Clock()
    progress = Progress(Plan(n_trials=2), clock)
    _run(progress, clock, 0)
    assert progress.searching
    _run(progress, clock, 1)
    assert not progress.searching
    progress = Progress(Plan(n_trials=9), clock)
    died = "the process that ran it is gone"
    progress.ended(TrialRecord(Trial(0, {}, 0), TrialState.INTERRUPTED, reason=died))
    assert progress.searching
    _run(progress, clock, 1, TrialState.INTERRUPTED, reason="Ctrl-C")
    assert not progress.searching
