"""The median rule: Optuna's on any history, the Vizier paper's, and peers that have reported."""

import copy
import math
import pickle
import statistics
import warnings
from dataclasses import replace

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.pruners.optuna_median import OptunaMedianPruner
from hpo.testing.pruners import scripted_record
from hpo.trial import Report, Trial, TrialRecord, TrialState

pytestmark = pytest.mark.slow

COMPLETE, PRUNED = TrialState.COMPLETE, TrialState.PRUNED

# Few values, so that ties are common; nan and infinities often; floats that round.
scores = st.one_of(
    st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0, math.nan, math.inf, -math.inf]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(0, 1),
)
histories = st.dictionaries(st.integers(1, 8), scores, max_size=8)
states = st.sampled_from([COMPLETE, COMPLETE, COMPLETE, *TrialState])
options = st.fixed_dictionaries(
    {
        "n_startup_trials": st.integers(0, 6),
        "n_warmup_steps": st.integers(0, 5),
        "interval_steps": st.integers(1, 4),
        "n_min_trials": st.integers(1, 4),
    }
)
optuna_states = {
    TrialState.RUNNING: optuna.trial.TrialState.RUNNING,
    COMPLETE: optuna.trial.TrialState.COMPLETE,
    PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
    TrialState.INTERRUPTED: optuna.trial.TrialState.FAIL,
}


def record_of(number, history, state=TrialState.RUNNING):
    reports = tuple(Report(number, step, history[step]) for step in sorted(history))
    return TrialRecord(Trial(number, {}, seed=0), state, reports)


def in_optuna(history, state):
    return optuna.trial.create_trial(
        state=optuna_states[state],
        value=0.0 if state is COMPLETE else None,
        intermediate_values={step - 1: history[step] for step in sorted(history)},
    )


def optuna_says(pruner, own, peers):
    study = optuna.create_study(direction="maximize")
    for history, state in peers:
        study.add_trial(in_optuna(history, state))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, at slices of nan only
        return bool(pruner.prune(study, in_optuna(own, TrialState.RUNNING)))


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


@settings(max_examples=600, deadline=None)
@given(own=histories, peers=st.lists(st.tuples(histories, states), max_size=9), options=options)
def test_equals_optuna(own, peers, options):
    records = [record_of(i, history, state) for i, (history, state) in enumerate(peers)]
    decision = OptunaMedianPruner(**options).decide(record_of(len(peers), own), records)
    assert decision.stop == optuna_says(optuna.pruners.MedianPruner(**options), own, peers)


@pytest.mark.parametrize(
    ("own", "peers", "options", "stop"),
    [
        ([math.nan], [], {"n_startup_trials": 0}, False),  # diverged, but nobody to compare with
        ([math.nan], [[0.5]], {"n_startup_trials": 1}, True),
        ([math.nan, 0.1], [[0.5, 0.5]], {"n_startup_trials": 1}, True),
        # nan counts for n_min_trials, and is left out of the median
        ([0.1], [[0.5], [math.nan]], {"n_startup_trials": 1, "n_min_trials": 2}, True),
        ([0.1], [[0.5], []], {"n_startup_trials": 1, "n_min_trials": 2}, False),
        ([0.1], [[math.nan]], {"n_startup_trials": 1}, False),
    ],
)
def test_equals_optuna_at_the_borders(own, peers, options, stop):
    own = dict(enumerate(own, start=1))
    peers = [(dict(enumerate(values, start=1)), COMPLETE) for values in peers]
    records = [record_of(i, history, state) for i, (history, state) in enumerate(peers)]
    assert OptunaMedianPruner(**options).decide(record_of(len(peers), own), records).stop == stop
    assert optuna_says(optuna.pruners.MedianPruner(**options), own, peers) == stop


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.floats(0, 1), min_size=1, max_size=12),
    pick=st.integers(0, 11),
    nudge=st.sampled_from([-1, 0, 1]),
)
def test_equals_optuna_to_the_last_bit(values, pick, nudge):
    """Own scores at the median, or one bit beside it."""
    centre = statistics.median(values) if pick % 2 else values[pick % len(values)]
    own = {1: centre if nudge == 0 else math.nextafter(centre, nudge * math.inf)}
    peers = [({1: value}, COMPLETE) for value in values]
    records = [record_of(i, history, state) for i, (history, state) in enumerate(peers)]
    decision = OptunaMedianPruner(n_startup_trials=1).decide(record_of(len(peers), own), records)
    theirs = optuna_says(optuna.pruners.MedianPruner(n_startup_trials=1), own, peers)
    assert decision.stop == theirs


def defined_by_the_paper(own, peers, step):
    """Golovin et al. 2017, section 3.2.2, word for word, over plain lists of values."""
    averages = [statistics.fmean(values[:step]) for values in peers]
    return max(own[:step]) < statistics.median(averages)


tenths = st.integers(-64, 64).map(lambda n: n / 64)  # sums and their halves are exact


@settings(max_examples=200, deadline=None)
@given(
    own=st.lists(tenths, min_size=1, max_size=4),
    peers=st.lists(st.lists(tenths, min_size=1, max_size=8), min_size=1, max_size=8),
)
def test_running_mean_is_the_papers_rule(own, peers):
    pruner = OptunaMedianPruner(n_startup_trials=0, reference="running_mean")
    records = [scripted_record(i, values, COMPLETE) for i, values in enumerate(peers)]
    decision = pruner.decide(scripted_record(len(peers), own), records)
    assert decision.stop == defined_by_the_paper(own, peers, len(own))


def test_running_mean_differs_from_the_value_at_the_step():
    peers = [scripted_record(i, [0.1, 0.9], COMPLETE) for i in range(5)]
    record = scripted_record(5, [0.1, 0.6])
    assert (
        OptunaMedianPruner().decide(record, peers).reason == "epoch 2: 0.6 < median 0.9 of 5 trials"
    )
    assert not OptunaMedianPruner(reference="running_mean").decide(record, peers).stop
    worse = OptunaMedianPruner(reference="running_mean").decide(
        scripted_record(5, [0.1, 0.3]), peers
    )
    assert worse.reason == "epoch 2: 0.3 < median 0.5 of the running means of 5 trials"


def test_running_mean_ignores_nan_and_later_steps():
    nan = math.nan
    peers = [
        record_of(0, {1: nan, 2: 0.4, 3: 0.6, 4: 0.0}, COMPLETE),  # 0.5 after step 3
        record_of(1, {1: nan, 2: nan, 3: nan, 4: 9.0}, COMPLETE),  # nothing after step 3
        record_of(2, {4: 9.0}, COMPLETE),  # no report yet
        record_of(3, {2: 0.5, 5: 9.0}, COMPLETE),  # skips steps
    ]
    pruner = OptunaMedianPruner(n_startup_trials=0, reference="running_mean")
    decision = pruner.decide(record_of(4, {3: 0.49}), peers)
    assert decision.reason == "epoch 3: 0.49 < median 0.5 of the running means of 2 trials"
    assert not pruner.decide(record_of(4, {3: 0.5}), peers).stop


def test_running_mean_follows_a_record_that_is_replaced():
    pruner = OptunaMedianPruner(n_startup_trials=0, reference="running_mean")
    record = scripted_record(1, [0.5])
    assert not pruner.decide(record, [scripted_record(0, [0.4], COMPLETE)]).stop
    assert pruner.decide(record, [scripted_record(0, [0.6], COMPLETE)]).stop


@settings(max_examples=200, deadline=None)
@given(own=histories, peers=st.lists(st.tuples(histories, states), max_size=9), options=options)
def test_reported_counts_whoever_has_a_value_at_the_step(own, peers, options):
    """The same as Optuna's rule in a study where those, and only those, are complete."""
    step = max(own, default=0)
    there = [(history, COMPLETE) for history, _ in peers if step in history]
    records = [record_of(i, history, state) for i, (history, state) in enumerate(peers)]
    pruner = OptunaMedianPruner(peers="reported", **options)
    decision = pruner.decide(record_of(len(peers), own), records)
    assert decision.stop == optuna_says(optuna.pruners.MedianPruner(**options), own, there)


def test_reported_compares_trials_that_advance_together():
    peers = [scripted_record(i, [0.5, 0.6]) for i in range(5)]
    record = scripted_record(5, [0.5, 0.5])
    assert not OptunaMedianPruner().decide(record, peers).stop
    assert OptunaMedianPruner(peers="reported").decide(record, peers).stop


def test_first_possible_stop_is_after_the_step_that_follows_the_warmup():
    peers = [scripted_record(i, [0.9] * 9, COMPLETE) for i in range(5)]
    pruner = OptunaMedianPruner(n_warmup_steps=3, interval_steps=2)
    stops = [n for n in range(1, 10) if pruner.decide(scripted_record(5, [0.1] * n), peers).stop]
    assert stops == [4, 6, 8]


def test_a_missed_check_is_made_at_the_next_report():
    peers = [scripted_record(i, [0.9] * 9, COMPLETE) for i in range(5)]
    pruner = OptunaMedianPruner(interval_steps=4)  # checks at 1, 5, 9
    assert not pruner.decide(record_of(5, {1: 0.1, 4: 0.1}), peers).stop
    assert pruner.decide(record_of(5, {1: 0.1, 4: 0.1, 6: 0.1}), peers).stop
    assert not pruner.decide(record_of(5, {1: 0.1, 4: 0.1, 6: 0.1, 7: 0.1}), peers).stop


def test_reasons():
    curves = [[0.2, 0.3, 0.5, 0.587]] * 9
    peers = [scripted_record(i, curve, COMPLETE) for i, curve in enumerate(curves)]
    pruner = OptunaMedianPruner()
    late = pruner.decide(scripted_record(9, [0.4, 0.412, 0.3, 0.2]), peers)
    assert late.reason == "epoch 4: 0.412 < median 0.587 of 9 trials"
    diverged = pruner.decide(scripted_record(9, [math.nan] * 4), peers)
    assert diverged.reason == "epoch 4: no finite score so far (diverged)"
    near = pruner.decide(scripted_record(9, [0.1, 0.1, 0.1, 0.58699999]), peers)
    assert near.reason == "epoch 4: 0.58699999 < median 0.587 of 9 trials"
    one = OptunaMedianPruner(n_startup_trials=1).decide(scripted_record(9, [0.1]), peers[:1])
    assert one.reason == "epoch 1: 0.1 < median 0.2 of 1 trial"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("peers", "done", "a str among {'complete', 'reported'}. Got 'done' instead."),
        ("reference", 3, "a str among {'running_mean', 'step_value'}. Got 3 instead."),
        ("n_startup_trials", -1, "an int in the range [0, inf). Got -1 instead."),
        ("n_warmup_steps", 1.5, "an int in the range [0, inf). Got 1.5 instead."),
        ("interval_steps", 0, "an int in the range [1, inf). Got 0 instead."),
        ("n_min_trials", True, "an int in the range [1, inf). Got True instead."),
        ("n_min_trials", None, "an int in the range [1, inf). Got None instead."),
    ],
)
def test_a_wrong_parameter_is_named(name, value, message):
    with pytest.raises(ValueError, match="MedianPruner") as caught:
        OptunaMedianPruner(**{name: value})
    assert str(caught.value) == f"The '{name}' parameter of OptunaMedianPruner must be {message}"


def test_repr_builds_an_equal_pruner():
    pruner = OptunaMedianPruner(2, 3, reference="running_mean")
    twin = eval(repr(pruner), {"OptunaMedianPruner": OptunaMedianPruner})
    assert repr(twin) == repr(pruner)


def test_a_copy_carries_no_records():
    pruner = OptunaMedianPruner(n_startup_trials=0, reference="running_mean")
    empty = len(pickle.dumps(pruner))
    record = scripted_record(1, [0.5] * 50)
    pruner.decide(record, [replace(record, trial=Trial(0, {}, 0), state=COMPLETE)])
    assert len(pickle.dumps(copy.deepcopy(pruner))) == len(pickle.dumps(pruner)) == empty
