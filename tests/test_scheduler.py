"""The scheduler: one holder of records, one judge."""

import math

import pytest

from hpo.pruners import BasePruner, PruneDecision
from hpo.pruners.median import MedianPruner
from hpo.pruners.nop import NopPruner
from hpo.scheduler import TrialScheduler
from hpo.testing.backends import Recorder
from hpo.trial import Cause, Report, Trial, TrialState


def report(number, step, value, **metrics):
    return Report(number, step, value, (value,), metrics)


def finish(scheduler, number, values):
    scheduler.on_trial_start(Trial(number, {}, number), max_steps=len(values))
    for step, value in enumerate(values, start=1):
        assert not scheduler.on_report(report(number, step, value)).stop
    return scheduler.on_trial_end(number, TrialState.COMPLETE)


def test_the_pruner_sees_every_other_trial():
    class Spy(BasePruner):
        def decide(self, record, peers):
            self.seen = (record.number, [peer.number for peer in peers])
            return PruneDecision(stop=True, reason="spied")

    scheduler = TrialScheduler(Spy())
    for number in range(3):
        scheduler.on_trial_start(Trial(number, {}, number), max_steps=9)
    assert scheduler.on_report(report(1, 1, 0.5)) == PruneDecision(stop=True, reason="spied")
    assert scheduler._pruner.seen == (1, [0, 2])
    assert [r.number for r in scheduler.running] == [0, 1, 2]


def test_records_of_earlier_runs_are_peers():
    first = TrialScheduler(NopPruner())
    old = [finish(first, number, [0.5, 0.6]) for number in range(3)]
    scheduler = TrialScheduler(MedianPruner(n_startup_trials=3), records=old)
    scheduler.on_trial_start(Trial(3, {}, 3), max_steps=2)
    decision = scheduler.on_report(report(3, 1, 0.4))
    assert decision == PruneDecision(stop=True, reason="epoch 1: 0.4 < median 0.5 of 3 trials")


def test_the_last_step_is_never_pruned():
    scheduler = TrialScheduler(MedianPruner(n_startup_trials=1))
    finish(scheduler, 0, [0.5])
    assert finish(scheduler, 1, [0.1]).state is TrialState.COMPLETE


def test_a_diverged_training_is_stopped_whatever_the_pruner():
    scheduler = TrialScheduler(NopPruner())
    scheduler.on_trial_start(Trial(0, {}, 0), max_steps=5)
    bad = Report(0, 2, math.nan, (0.5, math.nan), {"train_loss": (0.1, math.inf)})
    decision = scheduler.on_report(bad)
    assert decision.stop
    assert decision.reason == "epoch 2: diverged, the training loss of fold 1 is inf"


@pytest.mark.parametrize("values", [[math.nan], [0.9, math.nan]])
def test_a_trial_without_a_finite_score_at_its_end_has_failed(values):
    scheduler = TrialScheduler(NopPruner())
    record = finish(scheduler, 0, values)
    assert record.state is TrialState.FAILED
    assert "no finite score in fold 0 (the scorer returned nan)" in record.reason


def test_a_trial_without_any_report_has_failed():
    scheduler = TrialScheduler(NopPruner())
    scheduler.on_trial_start(Trial(0, {}, 0))
    assert scheduler.on_trial_end(0, TrialState.COMPLETE).state is TrialState.FAILED


def test_trackers_hear_in_order_and_records_are_final():
    tracker = Recorder()
    scheduler = TrialScheduler(NopPruner(), [tracker])
    finish(scheduler, 0, [0.1, 0.2])
    scheduler.on_trial_start(Trial(1, {}, 1))
    record = scheduler.on_interrupt(1, "Ctrl-C")
    assert record.interrupted
    assert (record.reason, record.cause) == ("Ctrl-C", Cause.STOPPED)
    assert [what for what, _ in tracker.heard] == [
        "started",
        "reported",
        "reported",
        "complete",
        "started",
        "failed",
    ]


def test_reports_that_come_together_are_all_taken_in_before_one_is_judged():
    scheduler = TrialScheduler(MedianPruner(n_startup_trials=1, peers="reported"))
    for number in range(3):
        scheduler.on_trial_start(Trial(number, {}, number), max_steps=9)
    for number, value in enumerate((0.1, 0.5, 0.9)):
        scheduler.take(report(number, 1, value))
    assert [scheduler.judge(number).stop for number in range(3)] == [True, False, False]


def test_its_figures_are_those_of_its_records():
    old = [finish(TrialScheduler(NopPruner()), 0, [0.5, 0.6])]
    scheduler = TrialScheduler(NopPruner(), records=old)
    finish(scheduler, 1, [0.1])
    scheduler.on_trial_start(Trial(2, {}, 2), max_steps=5)
    scheduler.on_report(report(2, 1, 0.1))
    scheduler.on_trial_start(Trial(3, {}, 3), max_steps=5)
    scheduler.on_interrupt(3, "test")
    assert scheduler.n_steps == sum(r.last_step for r in scheduler.records) == 4
    assert scheduler.n_counted == sum(not r.interrupted for r in scheduler.records) == 3
    assert list(scheduler.numbers) == [0, 1, 2, 3]
    assert [r.number for r in scheduler.running] == [2]
