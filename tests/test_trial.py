"""Records of trials: plain data, scores that leave nan out, and seeds that repeat."""

import math
import pickle
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.trial import Cause, Report, Trial, TrialRecord, TrialState, derive_seed

parts = st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=4)
scores = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=12)


def record_of(values, **more):
    reports = tuple(Report(3, step, value) for step, value in enumerate(values, start=1))
    return TrialRecord(Trial(3, {"lr": 0.1}, seed=1), reports=reports, **more)


@given(scores)
def test_the_best_report_is_the_earliest_greatest_finite_one(values):
    record = record_of(values)
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        assert record.best_report is None
        assert math.isnan(record.value)
    else:
        assert record.value == max(finite)
        assert record.best_report.step == values.index(max(finite)) + 1


@given(scores, st.integers(-2, 14))
def test_value_at_is_the_report_of_that_step(values, step):
    found = record_of(values).value_at(step)
    if 1 <= step <= len(values):
        assert repr(found) == repr(values[step - 1])
    else:
        assert found is None


@given(st.dictionaries(st.integers(1, 20), st.floats(0, 1), max_size=8), st.integers(-1, 21))
def test_value_at_finds_steps_between_gaps(history, step):
    reports = tuple(Report(0, key, history[key]) for key in sorted(history))
    record = TrialRecord(Trial(0, {}, 0), reports=reports)
    assert record.value_at(step) == history.get(step)
    assert record.last_step == max(history, default=0)


def test_the_best_parameters_are_those_of_the_best_step():
    trial = Trial(0, {"lr": 0.1, "batch_size": 8, "kind": "a"}, seed=1)
    assert TrialRecord(trial).best_params == trial.params
    changes = [(0.3, 16.0), (0.2, 32.0), (0.1, 64.0)]
    reports = tuple(
        Report(0, i, [1, 3, 2][i - 1], metrics={"param_lr": (lr,), "param_batch_size": (size,)})
        for i, (lr, size) in enumerate(changes, start=1)
    )
    best = TrialRecord(trial, reports=reports).best_params
    assert best == {"lr": 0.2, "batch_size": 32, "kind": "a"}
    assert isinstance(best["batch_size"], int)


def test_last_step_before_the_first_report():
    assert record_of([]).last_step == 0


def test_a_new_record_is_running_and_empty():
    record = TrialRecord(Trial(5, {}, seed=0))
    assert (record.number, record.state, record.reports) == (5, TrialState.RUNNING, ())
    assert (record.reason, record.error, record.started, record.ended) == ("", None, None, None)


@pytest.mark.parametrize("state", TrialState)
def test_only_an_interrupted_trial_deserves_another_try(state):
    assert record_of([0.5], state=state).interrupted == (state is TrialState.INTERRUPTED)


def test_a_cause_is_a_fact_and_its_words_are_not_asked():
    spent = record_of([0.5], state=TrialState.INTERRUPTED, reason="x", cause=Cause.BUDGET)
    short = record_of([], state=TrialState.PRUNED, reason="x", cause=Cause.OUT_OF_MEMORY)
    worded = record_of([], state=TrialState.PRUNED, reason="out of memory, the pruner says")
    assert (spent.out_of_budget, short.out_of_memory) == (True, True)
    assert (worded.out_of_budget, worded.out_of_memory) == (False, False)


@pytest.mark.parametrize(
    "thing", [Trial(1, {"lr": 0.1}, 2), Report(1, 1, 0.5), record_of([0.1]), TrialState.PRUNED]
)
def test_pickles_to_an_equal_thing(thing):
    assert pickle.loads(pickle.dumps(thing)) == thing


def test_records_are_replaced_and_never_changed():
    record = record_of([0.1])
    with pytest.raises(FrozenInstanceError):
        record.state = TrialState.COMPLETE
    assert replace(record, state=TrialState.COMPLETE).reports is record.reports


def test_states_are_their_names():
    names = ["running", "complete", "pruned", "failed", "interrupted"]
    assert [str(state) for state in TrialState] == names


@given(parts)
def test_a_seed_is_63_bits_and_repeats(values):
    assert derive_seed(*values) == derive_seed(*values)
    assert 0 <= derive_seed(*values) < 2**63


def test_seeds_do_not_change_between_versions():
    """A stored study goes on with the streams that it began with."""
    assert derive_seed(0, "trial", 7) == 2926234328613741816


def test_seeds_of_different_parts_differ():
    seeds = {
        derive_seed(study, trial, fold)
        for study in range(5)
        for trial in range(50)
        for fold in range(5)
    }
    assert len(seeds) == 5 * 50 * 5
