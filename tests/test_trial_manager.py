"""The manager: one holder of records, one judge."""

import math

import pytest

from hpo.exceptions import PluginError
from hpo.pruners import BasePruner, PruneDecision
from hpo.pruners.median import MedianPruner
from hpo.pruners.nop import NopPruner
from hpo.testing.backends import Recorder
from hpo.trial import Cause, Report, Trial, TrialState
from hpo.trial_manager import TrialManager


def report(number, step, value, **metrics):
    return Report(number, step, value, (value,), metrics)


def finish(manager, number, values):
    manager.on_trial_start(Trial(number, {}, number), max_steps=len(values))
    for step, value in enumerate(values, start=1):
        assert not manager.on_report(report(number, step, value)).stop
    return manager.on_trial_end(number, TrialState.COMPLETE)


def test_the_pruner_sees_every_other_trial():
    class Spy(BasePruner):
        def decide(self, record, peers):
            self.seen = (record.number, [peer.number for peer in peers])
            return PruneDecision(stop=True, reason="spied")

    manager = TrialManager(Spy())
    for number in range(3):
        manager.on_trial_start(Trial(number, {}, number), max_steps=9)
    assert manager.on_report(report(1, 1, 0.5)) == PruneDecision(stop=True, reason="spied")
    assert manager._pruner.seen == (1, [0, 2])
    assert [r.number for r in manager.running] == [0, 1, 2]


def test_records_of_earlier_runs_are_peers():
    first = TrialManager(NopPruner())
    old = [finish(first, number, [0.5, 0.6]) for number in range(3)]
    manager = TrialManager(MedianPruner(n_startup_trials=3), records=old)
    manager.on_trial_start(Trial(3, {}, 3), max_steps=2)
    decision = manager.on_report(report(3, 1, 0.4))
    assert decision == PruneDecision(stop=True, reason="epoch 1: 0.4 < median 0.5 of 3 trials")


def test_the_last_step_is_never_pruned():
    manager = TrialManager(MedianPruner(n_startup_trials=1))
    finish(manager, 0, [0.5])
    assert finish(manager, 1, [0.1]).state is TrialState.COMPLETE


def test_a_diverged_training_is_stopped_whatever_the_pruner():
    manager = TrialManager(NopPruner())
    manager.on_trial_start(Trial(0, {}, 0), max_steps=5)
    bad = Report(0, 2, math.nan, (0.5, math.nan), {"train_loss": (0.1, math.inf)})
    decision = manager.on_report(bad)
    assert decision.stop
    assert decision.reason == "epoch 2: diverged, the training loss of fold 1 is inf"


@pytest.mark.parametrize("values", [[math.nan], [0.9, math.nan]])
def test_a_trial_without_a_finite_score_at_its_end_has_failed(values):
    manager = TrialManager(NopPruner())
    record = finish(manager, 0, values)
    assert record.state is TrialState.FAILED
    assert "no finite score in fold 0 (the scorer returned nan)" in record.reason


def test_a_trial_without_any_report_has_failed():
    manager = TrialManager(NopPruner())
    manager.on_trial_start(Trial(0, {}, 0))
    assert manager.on_trial_end(0, TrialState.COMPLETE).state is TrialState.FAILED


def test_trackers_hear_in_order_and_records_are_final():
    tracker = Recorder()
    manager = TrialManager(NopPruner(), [tracker])
    finish(manager, 0, [0.1, 0.2])
    manager.on_trial_start(Trial(1, {}, 1))
    record = manager.on_interrupt(1, "Ctrl-C")
    assert record.interrupted
    assert (record.reason, record.cause) == ("Ctrl-C", Cause.STOPPED)
    assert [what for what, _ in tracker.heard] == [
        "started",
        "reported",
        "reported",
        "complete",
        "started",
        "interrupted",
    ]


class RaisingPruner(BasePruner):
    def decide(self, record, peers):
        raise KeyError("peers")


def test_a_pruner_that_raises_is_named_with_its_place():
    manager = TrialManager(RaisingPruner())
    manager.on_trial_start(Trial(0, {}, 0))
    with pytest.raises(PluginError) as caught:
        manager.on_report(report(0, 1, 0.5))
    message = str(caught.value)
    assert message.startswith("the pruner RaisingPruner raised KeyError: 'peers' (")
    assert message.endswith(") at trial 0, step 1.")
    assert "test_trial_manager.py, line " in message


def test_reports_that_come_together_are_all_taken_in_before_one_is_judged():
    manager = TrialManager(MedianPruner(n_startup_trials=1, peers="reported"))
    for number in range(3):
        manager.on_trial_start(Trial(number, {}, number), max_steps=9)
    for number, value in enumerate((0.1, 0.5, 0.9)):
        manager.record_report(report(number, 1, value))
    assert [manager.decide(number).stop for number in range(3)] == [True, False, False]


def test_its_figures_are_those_of_its_records():
    old = [finish(TrialManager(NopPruner()), 0, [0.5, 0.6])]
    manager = TrialManager(NopPruner(), records=old)
    finish(manager, 1, [0.1])
    manager.on_trial_start(Trial(2, {}, 2), max_steps=5)
    manager.on_report(report(2, 1, 0.1))
    manager.on_trial_start(Trial(3, {}, 3), max_steps=5)
    manager.on_interrupt(3, "test")
    assert manager.n_steps == sum(r.last_step for r in manager.records) == 4
    assert manager.n_counted == sum(not r.interrupted for r in manager.records) == 3
    assert list(manager.numbers) == [0, 1, 2, 3]
    assert [r.number for r in manager.running] == [2]
