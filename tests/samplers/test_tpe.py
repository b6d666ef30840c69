"""hpo's TPE: what it takes from Optuna's, and what it does in its own way."""

import copy
import math
import pickle
import random
import warnings

import numpy as np
import optuna
import pytest
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.samplers._tpe import sampler as theirs
from optuna.trial import TrialState, create_trial

from hpo import _private_parts
from hpo.samplers import _tpe as ours
from hpo.samplers._finished_trials import FinishedTrials
from hpo.samplers._scales import value_at
from hpo.samplers._tpe import CompletesTPESampler, SobolStart, n_good
from hpo.samplers.base import make_sampler

SPACE = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "width": IntDistribution(4, 64),
    "kind": CategoricalDistribution(["a", "b", "c"]),
    "rate": FloatDistribution(0.0, 1.0),
    "units": IntDistribution(64, 1024, log=True),
    "share": FloatDistribution(0.0, 1.0, step=0.25),
}
OVER = (TrialState.COMPLETE, TrialState.PRUNED)


def random_trials(seed, n, states=OVER, *, conditional=False, constrained=0.0):
    rng = random.Random(seed)
    for _ in range(n):
        params = {
            "lr": math.exp(rng.uniform(math.log(1e-4), 0)),
            "width": rng.randint(4, 64),
            "kind": rng.choice("abc"),
            "rate": rng.random(),
            "units": rng.randint(64, 1024),
            "share": rng.choice([0.0, 0.25, 0.5, 0.75, 1.0]),
        }
        if conditional and params["kind"] == "a":
            del params["rate"]
        state = rng.choice(states)
        steps = {step: rng.choice([math.nan, rng.random()]) for step in range(rng.randint(0, 4))}
        trial = create_trial(
            state=state,
            params=params,
            distributions={name: SPACE[name] for name in params},
            value=round(rng.random(), 1) if state is TrialState.COMPLETE else None,  # ties too
            intermediate_values=steps,
        )
        if rng.random() < constrained:
            trial.set_constraint("memory", 1.0)
        yield trial


def study_of(trials, sampler=None, direction="maximize"):
    study = optuna.create_study(sampler=sampler, direction=direction)
    study.add_trials(list(trials))
    return study


def ask(study, space):
    trial = study.ask()
    suggested = {}
    for name, dist in space.items():
        suggested[name] = trial._suggest(name, dist)
    return suggested


def assert_same(first, second):
    """But for rounding: Optuna inverts the normal distribution by iteration."""
    assert first.keys() == second.keys()
    for name, value in first.items():
        other = second[name]
        assert value == (other if name == "kind" else pytest.approx(other, rel=1e-7))


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [1, 8, 40, 150])
def test_without_pruned_trials_it_proposes_what_optuna_does(seed, n, direction):
    options = dict(seed=seed, n_startup_trials=1, multivariate=True)
    complete = (TrialState.COMPLETE,)
    proposals = [
        ask(study_of(random_trials(seed, n, complete), sampler, direction), SPACE)
        for sampler in (CompletesTPESampler(**options, random_share=0.0), TPESampler(**options))
    ]
    assert_same(*proposals)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("more", [{}, {"multivariate": False}, {"group": True}])
def test_conditional_parameters_are_proposed_as_optuna_does(seed, more):
    options = dict(seed=seed, n_startup_trials=1, **more)
    made = list(random_trials(seed, 60, (TrialState.COMPLETE,), conditional=True))
    first = ask(study_of(made, CompletesTPESampler(**options, random_share=0.0)), SPACE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        other = TPESampler(**options)
    assert_same(first, ask(study_of(made, other), SPACE))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("states", [OVER, (*OVER, TrialState.FAIL), (TrialState.PRUNED,)])
def test_the_split_is_optunas_for_the_number_of_good_ones(seed, states):
    """Of any history: the good ones are those that Optuna's ``_split_trials`` puts first."""
    study = study_of(random_trials(seed, 70, states, constrained=0.2))
    finished = FinishedTrials(25)
    finished.read(study)
    trials = study.get_trials(deepcopy=False, states=OVER)
    assert finished.n_complete == sum(t.state is TrialState.COMPLETE for t in trials)
    for n in (1, n_good(finished.n_complete), 25):
        below, above = theirs._split_trials(study, trials, n)
        assert finished.best(n) == [trial.number for trial in below]
        good, bad = finished.split(["lr"], n, without=999, running=True)
        assert good["lr"].tolist() == [trial.params["lr"] for trial in below]
        assert bad["lr"].tolist() == [trial.params["lr"] for trial in above]


def test_reading_bit_by_bit_is_reading_at_once():
    """Trials that end in another order than they began, and some that fail, included."""
    study, rng = study_of([]), random.Random(0)
    little, running = FinishedTrials(25), []
    for i in range(150):
        asked = study.ask(SPACE)
        running.append(asked)
        if len(running) > rng.randint(1, 8):
            ended = running.pop(rng.randrange(len(running)))
            ended.report(rng.random(), 0)
            state = rng.choice([*OVER, TrialState.FAIL])
            study.tell(ended, rng.random() if state is TrialState.COMPLETE else None, state)
        if i % 3 == 0:
            little.read(study)
    little.read(study)
    whole = FinishedTrials(25)
    whole.read(study)
    for finished in (little, whole):
        for trial in finished.running:
            finished.put(trial, trial.params)
    parts = [f.split(list(SPACE), 12, without=149, running=True) for f in (little, whole)]
    for first, second in zip(*parts, strict=True):
        assert all(np.array_equal(first[name], second[name]) for name in SPACE)
    assert little.n_complete == whole.n_complete
    assert little.common == whole.common


@pytest.mark.parametrize("seed", range(4))
def test_the_joint_space_is_optunas(seed):
    study = study_of(random_trials(seed, 9, (*OVER, TrialState.FAIL), conditional=True))
    running = study.ask()
    first, second = (
        cls(seed=0).infer_relative_search_space(study, running._cached_frozen_trial)
        for cls in (CompletesTPESampler, TPESampler)
    )
    assert list(first.items()) == list(second.items())


@pytest.mark.parametrize(
    ("n_complete", "expected"), [(0, 1), (1, 1), (10, 1), (11, 2), (100, 10), (900, 25)]
)
def test_the_good_set_is_counted_by_complete_trials(n_complete, expected):
    assert n_good(n_complete) == expected


def test_pruned_trials_do_not_swell_the_good_set(monkeypatch):
    sizes = []
    made = [
        *random_trials(0, 20, (TrialState.COMPLETE,)),
        *random_trials(1, 180, (TrialState.PRUNED,)),
    ]
    estimator = ours.FastParzenEstimator

    def spy(observations, space):
        sizes.append(len(observations["lr"]))
        return estimator(observations, space)

    monkeypatch.setattr(ours, "FastParzenEstimator", spy)
    ask(study_of(made, CompletesTPESampler(random_share=0.0, multivariate=True)), SPACE)
    assert sizes == [2, 198]


def test_trials_in_flight_are_bad_ones():
    sampler = CompletesTPESampler(random_share=0.0)
    study = study_of(random_trials(0, 20, (TrialState.COMPLETE,)), sampler)
    running = [study.ask(SPACE) for _ in range(3)]
    asked = study.ask()
    sampler._finished.read(study)
    for trial in sampler._finished.running:
        sampler._finished.put(trial, trial.params)
    _, bad = sampler._finished.split(["lr"], 2, asked.number, running=True)
    assert bad["lr"][-3:].tolist() == [trial.params["lr"] for trial in running]
    assert len(bad["lr"]) == 21


def test_the_first_trials_are_sobol_points_until_one_is_complete():
    sampler = make_sampler("tpe", 7, parallel=True)
    study = study_of([], sampler)
    asked = [study.ask(SPACE) for _ in range(20)]
    start = SobolStart(sampler._sampler._start._seed)
    start.expect(list(SPACE))
    for trial in asked:
        expected = {name: start.draw(trial.number, name, dist) for name, dist in SPACE.items()}
        assert trial.params == expected
    for name, parts in (("rate", 16), ("lr", 16)):  # one point in each sixteenth
        low, high = (0, 1) if name == "rate" else (math.log(1e-4), 0)
        values = [t.params[name] for t in asked[:16]]
        values = [math.log(v) for v in values] if name == "lr" else values
        assert sorted(int((v - low) / (high - low) * parts) for v in values) == list(range(16))
    study.tell(asked[0], 1.0)
    point = SobolStart.draw(start, 20, "rate", SPACE["rate"])
    assert study.ask(SPACE).params["rate"] != point


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_reseeded_sampler_draws_what_a_new_one_does(share):
    made = list(random_trials(0, 40))
    samplers = (
        CompletesTPESampler(random_share=share).reseeded(7),
        CompletesTPESampler(random_share=share, seed=7),
    )
    first, second = (ask(study_of(made, sampler), SPACE) for sampler in samplers)
    assert first == second


def test_a_share_of_the_proposals_is_uniform():
    made = list(random_trials(0, 40, (TrialState.COMPLETE,)))
    study = study_of(made)
    trial = study.ask()
    assert trial.number in CompletesTPESampler(random_share=1.0)._random
    base = CompletesTPESampler(random_share=0.1)
    drawn = [trial.number in base.reseeded(seed)._random for seed in range(2000)]
    assert 0.08 < np.mean(drawn) < 0.12


def study_of_two(sampler, n=15):
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    rng = random.Random(0)
    for made in random_trials(0, n, (TrialState.COMPLETE,)):
        values = [made.params["lr"], rng.random()]
        study.add_trial(create_trial(params=made.params, distributions=SPACE, values=values))
    return study


@pytest.mark.parametrize("options", [{}, {"multivariate": True}, {"group": True}])
def test_several_objectives_are_optunas_with_the_number_of_good_ones(options):
    """Of 15 complete trials 2 are good here, and 2 by Optuna's own count of a tenth too."""
    proposals = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cls, more in ((CompletesTPESampler, {"random_share": 0.0}), (TPESampler, {})):
            sampler = cls(n_startup_trials=1, seed=3, **options, **more)
            proposals.append(ask(study_of_two(sampler), SPACE))
    assert proposals[0] == proposals[1]


def test_the_good_ones_of_several_objectives_are_counted_by_complete_trials(monkeypatch):
    sizes, split = [], theirs._split_trials

    def spy(study, trials, n_below):
        sizes.append(n_below)
        return split(study, trials, n_below)

    monkeypatch.setattr(theirs, "_split_trials", spy)
    ask(study_of_two(CompletesTPESampler(random_share=0.0), 300), {"lr": SPACE["lr"]})
    assert sizes == [25]


def test_without_optunas_gamma_its_own_count_is_used_with_a_note(monkeypatch):
    class Later(TPESampler):
        def __init__(self, n_startup_trials, n_ei_candidates, seed, **_):
            super().__init__(n_startup_trials=0, seed=seed)

    monkeypatch.setattr(ours, "TPESampler", Later)
    monkeypatch.setattr(_private_parts, "_noted", {})
    study = study_of_two(CompletesTPESampler(random_share=0.0, n_startup_trials=1))
    with pytest.warns(_private_parts.MissingPartWarning, match=r"has no TPESampler\(gamma=\)"):
        ask(study, SPACE)


def test_it_stands_on_optunas_public_interface():
    assert CompletesTPESampler.__bases__ == (BaseSampler,)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_proposes_the_same(again):
    sampler = CompletesTPESampler(random_share=0.0)
    made = list(random_trials(0, 40))
    study_of(made, sampler).ask({"lr": SPACE["lr"]})
    assert ask(study_of(made, again(sampler.reseeded(1))), SPACE) == ask(
        study_of(made, sampler.reseeded(1)), SPACE
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_ei_candidates": 0}, r"n_ei_candidates must be at least 1\. Got 0 instead\."),
        ({"group": True, "multivariate": False}, "group=True draws parameters together"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(ValueError, match=message):
        CompletesTPESampler(**options)


@pytest.mark.parametrize(
    "dist",
    [*(d for name, d in SPACE.items() if name != "kind"), FloatDistribution(2.0, 2.0)],
)
@pytest.mark.parametrize("share", [0.0, 1e-9, 0.3, 0.5, 0.999999, math.nextafter(1.0, 0.0)])
def test_values_lie_where_optuna_has_them(dist, share):
    scale = _SearchSpaceTransform({"x": dist})
    low, high = scale.bounds[0]
    expected = scale.untransform(np.array([low + share * (high - low)]))["x"]
    assert value_at(share, dist) == expected


def test_one_sampler_may_serve_one_study_after_another():
    sampler = CompletesTPESampler(n_startup_trials=1, random_share=0.0)
    first, second = (list(random_trials(seed, 30)) for seed in (0, 1))
    ask(study_of(first, sampler), {"lr": SPACE["lr"]})
    study = study_of(second, sampler)
    sampler._finished.read(study)
    assert sampler._finished.n_finished == 30


def test_what_optuna_counts_is_what_this_sampler_replaces():
    """Optuna counts pruned trials too: if that ends, this sampler is not needed any more."""
    counts = []
    sampler = TPESampler(n_startup_trials=1, seed=0)
    sampler._gamma = lambda n: counts.append(n) or 1
    made = [
        *random_trials(0, 3, (TrialState.COMPLETE,)),
        *random_trials(1, 5, (TrialState.PRUNED,)),
    ]
    ask(study_of(made, sampler), {"lr": SPACE["lr"]})
    assert set(counts) == {8}


def test_a_seed_given_as_an_option_does_not_repeat_one_point():
    study = study_of([], make_sampler("random:seed=3", 0, parallel=False))
    assert study.ask(SPACE).params != study.ask(SPACE).params


def test_a_random_share_out_of_range():
    with pytest.raises(ValueError, match=r"random_share must be from 0 to 1\. Got 2 instead\."):
        CompletesTPESampler(random_share=2)
