"""A lent pruner decides in hpo as it does in a live Optuna study of the same curves."""

import copy
import logging
import math
import pickle
import random
import sys
import warnings
from collections import Counter
from dataclasses import replace

import optuna
import pytest

from hpo.pruners.optuna import OptunaPruner
from hpo.testing.pruners import scripted_record
from hpo.trial import Report, Trial, TrialRecord, TrialState

N_STEPS = 10


@pytest.fixture(autouse=True)
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def native(name, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return getattr(optuna.pruners, name)(*args, **kwargs)


def median():
    return native("MedianPruner", n_startup_trials=3)


def halving():
    return native("SuccessiveHalvingPruner", reduction_factor=2)


# name and options in hpo; the same pruner built by hand
LENT = {
    "successive_halving": ({}, lambda: native("SuccessiveHalvingPruner")),
    "halving_2": (
        {"pruner": "successive_halving", "min_resource": 2, "reduction_factor": 2},
        lambda: native("SuccessiveHalvingPruner", min_resource=2, reduction_factor=2),
    ),
    "halving_bootstrap": (
        {"pruner": "successive_halving", "min_resource": 1, "bootstrap_count": 3},
        lambda: native("SuccessiveHalvingPruner", min_resource=1, bootstrap_count=3),
    ),
    "hyperband": ({"max_resource": N_STEPS}, lambda: native("HyperbandPruner", 1, N_STEPS)),
    "hyperband_auto": (
        {"pruner": "hyperband", "reduction_factor": 2},
        lambda: native("HyperbandPruner", reduction_factor=2),
    ),
    "median": ({}, lambda: native("MedianPruner")),
    "percentile": (
        {"percentile": 25.0, "n_warmup_steps": 2},
        lambda: native("PercentilePruner", 25.0, n_warmup_steps=2),
    ),
    "threshold": ({"lower": 0.1, "upper": 0.9}, lambda: native("ThresholdPruner", 0.1, 0.9)),
    "patient": (
        {"patience": 1, "min_delta": 0.01},
        lambda: native("PatientPruner", None, 1, 0.01),
    ),
    "patient_median": (
        {"pruner": "patient", "patience": 1, "wrapped": "median", "wrapped__n_startup_trials": 3},
        lambda: native("PatientPruner", median(), 1),
    ),
    "patient_halving": (
        {
            "pruner": "patient",
            "patience": 1,
            "wrapped": "successive_halving",
            "wrapped__reduction_factor": 2,
        },
        lambda: native("PatientPruner", halving(), 1),
    ),
    "nop": ({}, lambda: native("NopPruner")),
}


def lent(case, **more):
    options = {"pruner": case, **LENT[case][0], **more}
    return OptunaPruner(**options)


def curve(number, seed):
    rng = random.Random(f"{seed}/{number}")
    level, speed = rng.random(), rng.uniform(0.2, 0.9)
    values = [level * (1 - speed**step) + rng.gauss(0, 0.03) for step in range(1, N_STEPS + 1)]
    return [math.nan if rng.random() < 0.05 else value for value in values]


class Both:
    """One study in Optuna and the same one as records, trained side by side."""

    def __init__(self, ours, theirs, seed, study_name="hpo"):
        self.ours, self.seed = ours, seed
        self.live = optuna.create_study(direction="maximize", pruner=theirs, study_name=study_name)
        self.records: dict[int, TrialRecord] = {}
        self.asked: dict[int, optuna.Trial] = {}
        self.n_stops = 0

    def start(self):
        trial = self.live.ask()
        self.asked[trial.number] = trial
        self.records[trial.number] = TrialRecord(Trial(trial.number, {}, 0))
        return trial.number

    def step(self, number):
        """Report once under both, compare what they say; return whether the trial ended."""
        record, trial = self.records[number], self.asked[number]
        step = record.last_step + 1
        value = curve(number, self.seed)[step - 1]
        record = replace(record, reports=(*record.reports, Report(number, step, value)))
        self.records[number] = record
        peers = [peer for key, peer in self.records.items() if key != number]
        decision = self.ours.decide(record, peers)
        trial.report(value, step - 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            assert decision.stop == trial.should_prune(), (number, step)
        if decision.stop:
            self.n_stops += 1
            return self.end(number, TrialState.PRUNED, decision.reason)
        if number % 7 == 6 and step == 4:
            return self.end(number, TrialState.FAILED, "interrupted")
        return step == N_STEPS and self.end(number, TrialState.COMPLETE)

    def end(self, number, state, reason=""):
        record = self.records[number] = replace(self.records[number], state=state, reason=reason)
        theirs = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}[state]
        value = record.value if state is TrialState.COMPLETE else None
        self.live.tell(self.asked[number], value, state=optuna.trial.TrialState[theirs])
        return True

    def run(self, n_trials, in_flight=1):
        rng, flying = random.Random(self.seed), []
        started = 0
        while flying or started < n_trials:
            while len(flying) < in_flight and started < n_trials:
                flying.append(self.start())
                started += 1
            number = rng.choice(flying)
            if self.step(number):
                flying.remove(number)


@pytest.mark.parametrize("in_flight", [1, 4])
@pytest.mark.parametrize("case", LENT)
def test_equals_a_live_study(case, in_flight):
    both = Both(lent(case), LENT[case][1](), seed=in_flight)
    both.run(50, in_flight)
    assert (both.n_stops > 3) == (case != "nop")


@pytest.mark.parametrize("how", ["pickled", "built anew"])
@pytest.mark.parametrize("case", LENT)
def test_goes_on_after_a_restart(case, how):
    """A pruner that has seen nothing yet decides on as the one that saw it all."""
    both = Both(lent(case), LENT[case][1](), seed=5)
    both.run(20)
    both.ours = lent(case) if how == "built anew" else pickle.loads(pickle.dumps(both.ours))
    both.run(20)


@pytest.mark.parametrize("case", ["halving_2", "hyperband"])
def test_a_restart_with_trials_in_flight(case):
    """With fixed resources a trial's rungs follow from its own reports, whatever their order."""
    both = Both(lent(case), LENT[case][1](), seed=8)
    both.run(16, in_flight=4)
    flying = [both.start() for _ in range(4)]
    flying = [number for number in flying if not both.step(number)]
    both.ours = copy.deepcopy(both.ours)
    while flying:
        flying = [number for number in reversed(flying) if not both.step(number)]


def test_a_pruner_that_is_given_is_lent_as_it_is():
    given = native("SuccessiveHalvingPruner")
    both = Both(OptunaPruner(given), native("SuccessiveHalvingPruner"), seed=2)
    both.run(30, in_flight=2)
    assert both.n_stops > 3
    assert given._min_resource is None  # a copy was used


def test_a_pruner_of_the_user_sees_every_report_once_and_in_turn():
    class Notes(optuna.pruners.BasePruner):
        seen = []  # noqa: RUF012  # shared by the copies

        def prune(self, study, trial):
            self.seen.append((trial.number, trial.last_step))
            return False

    pruner = OptunaPruner(Notes())
    peers = [scripted_record(2, [0.3]), scripted_record(0, [0.1, 0.2], TrialState.COMPLETE)]
    pruner.decide(scripted_record(1, [0.5]), peers)
    pruner.decide(scripted_record(1, [0.5, 0.6]), peers)
    pruner.decide(scripted_record(1, [0.5, 0.6]), peers)
    assert Notes.seen == [(0, 0), (0, 1), (2, 0), (1, 0), (1, 1)]


@pytest.mark.parametrize("reason", ["interrupted", "no finite score"])
def test_states_in_the_private_study(reason):
    class Looks(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            states.append([each.state.name for each in study.trials])
            return False

    states = []
    peers = [scripted_record(i, [], state) for i, state in enumerate(TrialState)]
    peers = [replace(peer, reason=reason) for peer in peers]
    OptunaPruner(Looks()).decide(scripted_record(5, [0.5]), peers)
    assert states == [["RUNNING", "COMPLETE", "PRUNED", "FAIL", "FAIL", "RUNNING"]]


def test_hyperband_draws_brackets_from_the_study_name():
    case = "hyperband"
    for name in ("hpo", "another"):
        both = Both(lent(case, study_name=name), LENT[case][1](), seed=1, study_name=name)
        both.run(30)
    both = Both(lent(case), LENT[case][1](), seed=1, study_name="another")
    with pytest.raises(AssertionError):
        both.run(30)


@pytest.mark.parametrize("case", ["halving_2", "median"])
def test_records_that_were_rewritten_are_read_again(case):
    peers = [scripted_record(i, [0.5] * 8, TrialState.COMPLETE) for i in range(6)]
    better = [scripted_record(i, [0.9] * 8, TrialState.COMPLETE) for i in range(6)]
    record = scripted_record(6, [0.7] * 4)
    pruner = lent(case)
    assert not pruner.decide(record, peers).stop
    assert pruner.decide(record, better).stop == lent(case).decide(record, better).stop
    assert lent("median").decide(record, better).stop


@pytest.mark.parametrize("case", ["halving_2", "median"])
def test_peers_that_are_gone_do_not_count(case):
    weak = [scripted_record(i, [0.1] * 8, TrialState.COMPLETE) for i in range(5)]
    strong = [scripted_record(i, [0.9] * 8, TrialState.COMPLETE) for i in range(5, 15)]
    pruner, record = lent(case), scripted_record(15, [0.5] * 3)
    assert pruner.decide(record, [*weak, *strong]).stop
    assert not pruner.decide(record, weak).stop


def test_the_trial_in_question_is_judged_as_it_ran():
    """Asked about a trial that has ended, a pruner does not count it among its own peers."""
    peers = [scripted_record(i, [0.5] * 8, TrialState.COMPLETE) for i in range(4)]
    running = scripted_record(4, [0.1] * 3)
    ended = replace(running, state=TrialState.COMPLETE)
    for case in ("median", "halving_2"):
        assert lent(case).decide(ended, peers) == lent(case).decide(running, peers)


def test_wilcoxon_takes_the_earlier_of_two_equal_best_trials():
    low = [[0.1, 0.11, 0.12, 0.13, 0.14]]
    high = [[0.9, 0.91, 0.92, 0.93, 0.94]]
    first = with_folds(0, [*low, *high], TrialState.COMPLETE)
    second = with_folds(1, [*high, *low], TrialState.COMPLETE)
    record = with_folds(2, [[0.5, 0.51, 0.52, 0.53, 0.54]])
    for peers in ([first, second], [second, first]):
        assert not OptunaPruner("wilcoxon").decide(record, peers).stop


def test_a_decision_does_not_read_the_whole_study_again():
    """Adding to a study of 300 trials costs per report what is new."""
    pruner = lent("halving_2")
    peers = [scripted_record(i, curve(i, 0), TrialState.COMPLETE) for i in range(300)]

    def n_calls(n_steps):
        """Return how many functions are called for a decision."""
        called = Counter()
        sys.setprofile(lambda frame, event, argument: called.update([event]))
        try:
            pruner.decide(scripted_record(300, [0.5] * n_steps), peers)
        finally:
            sys.setprofile(None)
        return called["call"]

    first = n_calls(1)
    assert all(n_calls(n_steps) < first / 5 for n_steps in range(2, 12))


def test_the_private_study_writes_no_log(caplog):
    with caplog.at_level(logging.DEBUG):
        optuna.logging.enable_propagation()
        optuna.logging.set_verbosity(optuna.logging.INFO)
        try:
            lent("median").decide(scripted_record(0, [0.1]), [])
            assert not caplog.records
            optuna.create_study()
            assert caplog.records
        finally:
            optuna.logging.disable_propagation()


# Wilcoxon ------------------------------------------------------------------------------------


def with_folds(number, folds, state=TrialState.RUNNING):
    reports = tuple(
        Report(number, step, sum(values) / len(values), tuple(values))
        for step, values in enumerate(folds, start=1)
    )
    return TrialRecord(Trial(number, {}, 0), state, reports)


def live_wilcoxon(best, own):
    """Ask Optuna in the way its documentation shows: one report for each instance."""
    study = optuna.create_study(direction="maximize", pruner=native("WilcoxonPruner"))
    for values, ends in ((best, True), (own, False)):
        trial = study.ask()
        for fold, value in enumerate(values):
            trial.report(value, fold)
        if ends:
            study.tell(trial, sum(values) / len(values))
    return trial.should_prune()


def test_wilcoxon_equals_a_live_study_over_the_folds():
    rng = random.Random(0)
    said = []
    for _ in range(40):
        shift = rng.uniform(-0.1, 0.2)
        best = [rng.random() for _ in range(6)]
        own = [value - shift + rng.gauss(0, 0.05) for value in best]
        other = with_folds(0, [[0.0] * 6, best, [1.0] * 6], TrialState.COMPLETE)
        lesser = with_folds(1, [[0.0] * 6] * 3, TrialState.COMPLETE)
        unfinished = with_folds(2, [[9.0] * 6] * 3, TrialState.PRUNED)
        record = with_folds(3, [[0.5] * 6, own])
        peers = [lesser, other, unfinished]
        said.append(OptunaPruner("wilcoxon").decide(record, peers).stop)
        assert said[-1] == live_wilcoxon(best, own)
    assert 5 < sum(said) < 35


def test_wilcoxon_takes_the_last_folds_of_a_best_trial_that_made_fewer_steps():
    best = with_folds(0, [[0.9, 0.91, 0.92, 0.93, 0.94]], TrialState.COMPLETE)
    record = with_folds(1, [[0.1, 0.11, 0.12, 0.13, 0.14]] * 3)
    decision = OptunaPruner("wilcoxon", p_threshold=0.05).decide(record, [best])
    assert decision.reason == (
        "epoch 3: 0.12 is worse over the folds than the best complete trial; "
        "stopped by WilcoxonPruner(p_threshold=0.05)"
    )


@pytest.mark.parametrize("folds", [(), (0.1, 0.1, math.nan, 0.1, 0.1)])
def test_wilcoxon_lets_a_trial_without_finite_folds_go_on(folds):
    best = with_folds(0, [[0.9, 0.91, 0.92, 0.93, 0.94]], TrialState.COMPLETE)
    record = TrialRecord(Trial(1, {}, 0), reports=(Report(1, 1, 0.1, folds),))
    assert not OptunaPruner("wilcoxon").decide(record, [best]).stop
