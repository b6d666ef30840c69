"""Median stopping at rungs, among all trials that came there; and Optuna's rule by its options."""

import math
import statistics

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo._discovery import build
from hpo.pruners import BasePruner
from hpo.pruners.halving import HalvingPruner
from hpo.pruners.median import MedianPruner
from hpo.pruners.optuna_median import OptunaMedianPruner
from hpo.testing.pruners import PrunerConformance
from hpo.trial import Report, Trial, TrialRecord, TrialState

VALUE = st.one_of(st.integers(-2, 2).map(float), st.floats(0, 1), st.just(math.nan))


def record(number, values, n_steps=20, state=TrialState.RUNNING):
    reports = tuple(Report(number, i, value, (value,)) for i, value in enumerate(values, 1))
    return TrialRecord(Trial(number, {}, seed=number), state, reports, max_steps=n_steps)


class TestOptions(PrunerConformance):
    @pytest.fixture(
        params=[
            MedianPruner(),
            MedianPruner(3, 2, first_rung=2),
            MedianPruner(peers="complete"),
            MedianPruner(at="every", peers="complete"),
        ]
    )
    def pruner(self, request):
        return request.param


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.integers(2, 40))
def test_it_is_halving_with_eta_2(data, n_steps):
    history = st.lists(VALUE, min_size=1, max_size=n_steps)
    own = record(99, data.draw(history), n_steps)
    peers = [
        record(i, values, n_steps, data.draw(st.sampled_from(list(TrialState))))
        for i, values in enumerate(data.draw(st.lists(history, max_size=7)))
    ]
    assert MedianPruner().decide(own, peers).stop == HalvingPruner(2).decide(own, peers).stop


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0, 1))
def test_what_stops_is_not_above_the_median_and_what_is_below_stops(others, own):
    peers = [record(i, [value]) for i, value in enumerate(others)]
    stopped = MedianPruner().decide(record(99, [own]), peers).stop
    median = statistics.median([own, *others])
    assert own <= median if stopped else own >= median


def test_the_message_tells_rung_rank_and_median():
    peers = [record(i, [0.5 + i / 10, 0.6 + i / 10]) for i in range(4)]
    decision = MedianPruner().decide(record(4, [0.5, 0.65]), peers)
    assert decision.reason == (
        "epoch 2 (rung 2 of 5): 0.65 is rank 4 of 5, not above the median 0.7"
    )
    diverged = MedianPruner().decide(record(4, [math.nan]), peers)
    assert diverged.reason.startswith("epoch 1 (rung 1 of 5): no finite score, as 4 of 5 trials")


def test_between_rungs_and_at_the_last_step_nothing_stops():
    peers = [record(i, [1.0] * 20) for i in range(5)]
    stops = [s for s in range(1, 21) if MedianPruner().decide(record(9, [0.0] * s), peers).stop]
    assert stops == [1, 2, 4, 8, 16]


def test_startup_warm_up_and_the_first_rung():
    peers = [record(i, [1.0] * 20) for i in range(3)]

    def stops(pruner):
        return [s for s in range(1, 21) if pruner.decide(record(9, [0.0] * s), peers).stop]

    assert stops(MedianPruner(n_startup_trials=4)) == []
    assert stops(MedianPruner(n_startup_trials=3)) == [1, 2, 4, 8, 16]
    assert stops(MedianPruner(n_warmup_steps=4)) == [8, 16]
    assert stops(MedianPruner(first_rung=3)) == [3, 6, 12]


def test_complete_peers_alone():
    peers = [record(i, [1.0] * 20) for i in range(3)]
    pruner = MedianPruner(peers="complete")
    assert not pruner.decide(record(9, [0.0]), peers).stop
    peers.append(record(4, [1.0] * 20, state=TrialState.COMPLETE))
    assert pruner.decide(record(9, [0.0]), peers).stop


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_the_options_of_optunas_rule(data):
    history = st.lists(VALUE, min_size=1, max_size=6)
    own = record(99, data.draw(history), 6)
    peers = [
        record(i, values, 6, data.draw(st.sampled_from(list(TrialState))))
        for i, values in enumerate(data.draw(st.lists(history, max_size=8)))
    ]
    spelled = build("hpo.pruners", "median:at=every,peers=complete,n_startup_trials=5", BasePruner)
    named = build("hpo.pruners", "optuna_median", BasePruner)
    assert isinstance(named, OptunaMedianPruner)
    assert spelled.decide(own, peers) == named.decide(own, peers)


def test_options_out_of_range():
    with pytest.raises(ValueError, match="'at' parameter of MedianPruner"):
        MedianPruner(at="sometimes")
    with pytest.raises(ValueError, match="'n_startup_trials' parameter of MedianPruner"):
        MedianPruner(n_startup_trials=-1)
    with pytest.raises(ValueError, match="first_rung needs at='rungs'"):
        MedianPruner(at="every", first_rung=2)


def test_its_repr_makes_it_again():
    pruner = MedianPruner(2, 3, peers="complete", first_rung=2)
    assert repr(eval(repr(pruner), {"MedianPruner": MedianPruner})) == repr(pruner)
