"""The halving rule equals its definition on any history."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo.pruners._rungs import Rungs
from hpo.pruners.halving import HalvingPruner
from hpo.testing.pruners import PrunerConformance, scripted_record
from hpo.trial import Report, Trial, TrialRecord, TrialState

VALUE = st.one_of(st.integers(-2, 2).map(float), st.just(math.nan), st.just(-math.inf))


class TestOptions(PrunerConformance):
    @pytest.fixture(params=[HalvingPruner(3), HalvingPruner(first_rung=4)])
    def pruner(self, request):
        return request.param


def record(number, values, n_steps, state=TrialState.RUNNING, reason=""):
    reports = tuple(Report(number, i, value, (value,)) for i, value in enumerate(values, 1))
    trial = Trial(number, {}, seed=number)
    return TrialRecord(trial, state, reports, max_steps=n_steps, reason=reason)


def rungs(n_steps, eta):
    rung = max(1, round(n_steps / 17))
    while rung < n_steps:
        yield rung
        rung *= eta


def best_of(values):
    return max((value for value in values if not math.isnan(value)), default=-math.inf)


def stops(own, others, eta):
    """The definition, word for word; nan is the worst."""
    values = [-math.inf if math.isnan(v) else v for v in (own, *others)]
    return sum(v > values[0] for v in values) >= max(1, len(values) // eta)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.integers(2, 40), st.integers(2, 4))
def test_it_equals_its_definition_on_any_history(data, n_steps, eta):
    history = st.lists(VALUE, min_size=0, max_size=n_steps)
    own = data.draw(st.lists(VALUE, min_size=1, max_size=n_steps))
    others = data.draw(st.lists(history, max_size=6))
    states = st.sampled_from(list(TrialState))
    peers = [record(i, values, n_steps, data.draw(states)) for i, values in enumerate(others)]
    decision = HalvingPruner(eta).decide(record(99, own, n_steps), peers)
    step = len(own)
    there = [
        best_of(values[:step])
        for values, peer in zip(others, peers, strict=True)
        if len(values) >= step and not peer.interrupted
    ]
    expected = step in rungs(n_steps, eta) and stops(best_of(own), there, eta)
    assert decision.stop == expected


@pytest.mark.parametrize(
    ("n_steps", "eta", "expected"),
    [
        (52, 2, [3, 6, 12, 24, 48]),
        (52, 3, [3, 9, 27]),
        (50, 3, [3, 9, 27]),
        (10, 2, [1, 2, 4, 8]),
        (1, 2, []),
    ],
)
def test_rungs(n_steps, eta, expected):
    rungs = Rungs(eta)
    assert rungs.below(n_steps) == expected
    names = {s: rungs.name_of(s, n_steps) for s in range(1, n_steps + 1)}
    assert [s for s, name in names.items() if name] == expected
    assert all(names[s] == f"rung {i} of {len(expected)}" for i, s in enumerate(expected, 1))


def test_rungs_of_an_unknown_number_of_steps():
    names = [Rungs(2).name_of(step, None) for step in range(1, 9)]
    assert names == ["rung 1", "rung 2", "", "rung 3", "", "", "", "rung 4"]


def test_trials_that_arrive_together_are_halved():
    """The upper half of 16 goes on, whoever is asked first."""
    records = [record(i, [0.0, 0.0, float(i)], 52) for i in range(16)]
    pruner = HalvingPruner()
    stopped = [
        r.number for r in records if pruner.decide(r, [p for p in records if p is not r]).stop
    ]
    assert stopped == list(range(8))


def test_a_stop_says_why():
    peers = [scripted_record(i, [value]) for i, value in enumerate((0.5, 0.7, 0.1))]
    pruner = HalvingPruner()
    assert pruner.decide(scripted_record(3, [0.41]), peers).reason == (
        "epoch 1 (rung 1): 0.41 is rank 3 of 4, the best 2 go on"
    )
    assert pruner.decide(scripted_record(3, [math.nan]), peers).reason == (
        "epoch 1 (rung 1): no finite score, as 3 of 4 trials have (diverged), the best 2 go on"
    )


def test_an_interrupted_trial_does_not_count():
    """It is tried again, and would count twice."""
    cut = record(0, [1.0], 10, TrialState.INTERRUPTED, "test")
    assert not HalvingPruner().decide(record(1, [0.0], 10), [cut]).stop


@pytest.mark.parametrize("options", [{"eta": 1}, {"eta": 2.5}, {"first_rung": 0}])
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match="parameter of HalvingPruner must be an int in the range"):
        HalvingPruner(**options)
