"""The manager: one partner for a backend, one holder of records, one judge."""

import math

import pytest

from hpo._stop_signal import StopSignal
from hpo.budget import Budget
from hpo.exceptions import PluginError, StudyError
from hpo.pruners import BasePruner, PruneDecision
from hpo.pruners.median import MedianPruner
from hpo.pruners.nop import NopPruner
from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.storage.drivers import at_work
from hpo.storage.trial_store import TrialStore
from hpo.testing.backends import Recorder
from hpo.trial import Cause, Report, TrialState
from hpo.trial_manager import TrialManager

SPACE = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}})


def store(url=None, space=SPACE, **settings):
    sampler = make_sampler("random", 0, parallel=False, space=space)
    return TrialStore("s", space, url, sampler=sampler, **settings)


def manager_of(pruner=None, storage=None, *, max_steps=9, **settings):
    return TrialManager(
        storage or store(),
        pruner or NopPruner(),
        max_steps=lambda params: max_steps,
        **settings,
    )


def report(number, step, value, **metrics):
    return Report(number, step, value, (value,), metrics)


def finish(trials, values):
    trial = trials.ask()
    for step, value in enumerate(values, start=1):
        assert not trials.report([report(trial.number, step, value)])
    trials.end(trial.number)
    return trials.record(trial.number)


class Spy(BasePruner):
    def decide(self, record, peers):
        self.seen = (record.number, [peer.number for peer in peers], len(peers), peers[-1].number)
        return PruneDecision(stop=True, reason="spied")


def test_the_pruner_sees_every_other_trial():
    trials = manager_of(spy := Spy())
    for _ in range(3):
        trials.ask()
    assert trials.report([report(1, 1, 0.5)]) == [1]
    assert spy.seen == (1, [0, 2], 2, 2)
    assert [r.number for r in trials.running] == [0, 2]
    pruned = trials.record(1)
    assert (pruned.state, pruned.reason, pruned.cause) == ("pruned", "spied", Cause.PRUNER)


def test_records_of_earlier_runs_are_peers(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    first = manager_of(storage=store(url), max_steps=2)
    for _ in range(3):
        finish(first, [0.5, 0.6])
    trials = manager_of(MedianPruner(n_startup_trials=3), store(url), max_steps=2)
    number = trials.ask().number
    assert trials.report([report(number, 1, 0.4)]) == [number]
    assert trials.record(number).reason == (
        "epoch 1 (rung 1 of 1): 0.4 is rank 4 of 4, not above the median 0.5"
    )


def test_the_last_step_is_never_pruned():
    trials = manager_of(MedianPruner(n_startup_trials=1), max_steps=1)
    finish(trials, [0.5])
    assert finish(trials, [0.1]).state is TrialState.COMPLETE


def test_a_diverged_training_is_stopped_whatever_the_pruner():
    trials = manager_of()
    trials.ask()
    bad = Report(0, 2, math.nan, (0.5, math.nan), {"train_loss": (0.1, math.inf)})
    assert trials.report([bad]) == [0]
    record = trials.record(0)
    assert (record.state, record.cause) == (TrialState.PRUNED, Cause.DIVERGED)
    assert record.reason == "epoch 2: diverged, the training loss of fold 1 is inf"


@pytest.mark.parametrize("values", [[math.nan], [0.9, math.nan]])
def test_a_trial_without_a_finite_score_at_its_end_has_failed(values):
    trials = manager_of()
    record = finish(trials, values)
    assert record.state is TrialState.FAILED
    assert "no finite score in fold 0 (the scorer returned nan)" in record.reason


def test_a_trial_without_any_report_has_failed():
    trials = manager_of()
    assert finish(trials, []).state is TrialState.FAILED


@pytest.mark.parametrize("values", [[0.1, 0.2], [0.9, math.nan]])
def test_the_sampler_is_told_the_state_of_the_record(values):
    storage = store()
    record = finish(manager_of(storage=storage), values)
    (stored,) = storage.records()
    assert (stored.state, stored.reason, stored.cause) == (
        record.state,
        record.reason,
        record.cause,
    )


def test_observers_hear_in_order_and_records_are_final():
    observer, interrupt = Recorder(), StopSignal()
    trials = manager_of(interrupt=interrupt, observers=[observer])
    finish(trials, [0.1, 0.2])
    trials.ask()
    interrupt.request("Ctrl-C")
    assert trials.stop_reason == "Ctrl-C"
    trials.interrupt_all()
    record = trials.record(1)
    assert record.interrupted
    assert (record.reason, record.cause) == ("Ctrl-C", Cause.STOPPED)
    assert [what for what, _ in observer.heard] == [
        "started",
        "reported",
        "reported",
        "complete",
        "started",
        "interrupted",
    ]


def test_the_end_of_a_run_closes_what_runs_by_what_it_has_done():
    trials = manager_of(budget=Budget(max_total_epochs=3), max_steps=2)
    for _ in range(2):
        trials.ask()
    trials.report([report(0, 1, 0.1), report(1, 1, 0.2)])
    assert trials.stop_reason == ""
    trials.report([report(0, 2, 0.3)])
    assert trials.stop_reason == "the budget of 3 epochs is spent"
    trials.interrupt_all()
    assert [r.state for r in trials.records] == [TrialState.COMPLETE, TrialState.INTERRUPTED]
    assert trials.record(1).cause is Cause.BUDGET
    assert trials.record(1).reason == "the budget of 3 epochs is spent"


def test_it_hands_out_as_many_trials_as_the_budget_has():
    trials = manager_of(budget=Budget(n_trials=3))
    assert trials.n_left == 3
    assert [trials.ask().number for _ in range(3)] == [0, 1, 2]
    assert trials.n_left == 0
    assert trials.ask() is None
    trials.end(0)
    assert trials.ask() is None
    trials.revoke(1, "void")
    again = trials.ask()
    assert again.params == trials.record(1).trial.params
    assert trials.ask() is None


class Overtaken(TrialStore):
    """Another driver asks for ``n`` trials just before this one does."""

    other: TrialStore
    n = 1

    def ask(self):
        for _ in range(self.n):
            self.other.ask()
        self.n = 0
        return super().ask()


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_trial_beyond_the_budget_is_withdrawn_before_it_begins(kind, tmp_path):
    url = f"{kind}:///{tmp_path}/s"
    other, observer = store(url), Recorder()
    overtaken = Overtaken("s", SPACE, url, sampler=make_sampler("random", 1, parallel=False))
    overtaken.other = other
    trials = manager_of(storage=overtaken, budget=Budget(n_trials=3), observers=[observer])
    assert trials.ask().number == 1
    trials.end(1)
    overtaken.n = 1
    with at_work(other.driver):
        assert trials.ask() is None  # it was number 3, and number 2 is the last one
    assert trials.n_left == 0
    assert [number for _, number in observer.heard] == [1, 1]
    withdrawn = trials.record(3)
    assert (withdrawn.state, withdrawn.cause) == (TrialState.INTERRUPTED, Cause.WITHDRAWN)
    assert withdrawn.reason == "not begun: another process has started the last trial of the budget"
    assert [r.number for r in store(url).records() if r.interrupted] == [3]
    with at_work(other.driver):
        assert trials.ask() is None
    later = store(url)
    later.fail_stale_trials()
    trials = manager_of(storage=later, budget=Budget(n_trials=3))
    points = [later.records()[number].trial.params for number in (0, 2, 3)]
    assert [trials.ask().params for _ in range(2)] == points[:2]
    assert trials.ask() is None
    longer = manager_of(storage=later, budget=Budget(n_trials=4))
    assert longer.ask().params == points[2]


def test_a_finite_space_limits_it_too():
    space = SearchSpace.load({"x": [1, 2]})
    trials = manager_of(storage=store(space=space), budget=Budget(n_trials=5))
    assert trials.n_left == 2
    assert {trials.ask().params["x"] for _ in range(2)} == {1, 2}
    assert trials.ask() is None
    assert trials.n_left == 0


def test_without_a_budget_it_goes_on_for_ever():
    trials = manager_of()
    assert trials.n_left == math.inf
    assert [trials.ask().number for _ in range(30)] == list(range(30))
    assert trials.n_left == math.inf
    assert trials.stop_reason == ""


def test_how_a_trial_is_trained_is_told_once():
    class Watcher(Recorder):
        def trial_trained_by(self, record):
            self.heard.append((record.trained_by, record.number))

    trials = manager_of(observers=[watcher := Watcher()])
    trials.ask(trained_by="ray")
    assert trials.record(0).trained_by == "ray"
    for how in ("fused (eager)", "fused (eager)", "process"):
        trials.set_trained_by(0, how)
    assert watcher.heard == [("started", 0), ("fused (eager)", 0), ("process", 0)]
    assert trials.record(0).trained_by == "process"


class RaisingPruner(BasePruner):
    def decide(self, record, peers):
        raise KeyError("peers")


def test_a_pruner_that_raises_is_named_with_its_place():
    trials = manager_of(RaisingPruner())
    trials.ask()
    with pytest.raises(PluginError) as caught:
        trials.report([report(0, 1, 0.5)])
    message = str(caught.value)
    assert message.startswith("the pruner RaisingPruner raised KeyError: 'peers' (")
    assert message.endswith(") at trial 0, step 1.")
    assert "test_trial_manager.py, line " in message


def test_a_report_without_a_cost_of_the_study_is_refused():
    trials = manager_of(storage=store(costs=["n_params"]), costs=["n_params"])
    trials.ask()
    with pytest.raises(StudyError, match="No trial reports the cost 'n_params', did you mean"):
        trials.report([report(0, 1, 0.5, n_parms=(3.0,))])


def test_reports_that_come_together_are_all_taken_in_before_one_is_judged():
    trials = manager_of(MedianPruner())
    for _ in range(3):
        trials.ask()
    reports = [report(number, 1, value) for number, value in enumerate((0.1, 0.5, 0.9))]
    assert trials.report(reports) == [0, 1]


def test_its_figures_are_those_of_its_records():
    trials = manager_of(budget=Budget(n_trials=5, max_total_epochs=5))
    finish(trials, [0.5, 0.6])
    finish(trials, [0.1])
    trials.ask()
    trials.report([report(2, 1, 0.1)])
    trials.ask()
    trials.end(3, TrialState.INTERRUPTED, "test")
    assert list(trials.numbers) == [0, 1, 2, 3]
    assert [r.number for r in trials.running] == [2]
    assert trials.stop_reason == ""  # four steps
    assert trials.ask() is not None
    assert trials.n_left == 1  # the interrupted one does not count
    trials.report([report(2, 2, 0.1)])
    assert trials.stop_reason == "the budget of 5 epochs is spent"


def test_a_first_fold_that_is_trained_again_may_end_elsewhere():
    """A batch that is given up has its trials begin anew in worker processes, in another order."""

    def first(step, *, last=False):
        values = (0.5, math.nan, math.nan)
        return Report(0, step, 0.5, values, screening=True, last=last)

    def full(step, n_screened):
        return Report(0, step, 0.6, (0.5, 0.6, 0.7), n_screened=n_screened)

    trials = manager_of()
    trials.ask()
    for each in (first(1), first(2), first(3, last=True), full(1, 3)):
        assert not trials.report([each])
    for each in (first(1), first(2, last=True), full(2, 2)):
        assert not trials.report([each])
    record = trials.record(0)
    assert [each.step for each in record.screening] == [1, 2, 3]
    assert [(each.step, each.position) for each in record.reports] == [(1, 4), (2, 5)]
