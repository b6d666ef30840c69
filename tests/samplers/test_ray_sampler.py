"""Ray Tune's search algorithms as samplers: what they propose, and what they are told."""

import importlib.metadata
import logging.handlers
import math
import random
import sys
import warnings

import numpy as np
import optuna
import pytest

from hpo.backends.optuna import OptunaBackend
from hpo.exceptions import PluginError
from hpo.samplers._ray import METRIC
from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.testing import ScriptedObjective
from hpo.testing.backends import SPACE as FATES
from hpo.testing.backends import scripted_curve, search, timeless
from hpo.trial import Report, TrialRecord, TrialState

SMOOTH = {
    "x": {"type": "float", "low": -1.0, "high": 1.0},
    "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
}
MIXED = {
    **SMOOTH,
    "layers": {"type": "int", "low": 1, "high": 9, "step": 3},
    "width": {"type": "int", "low": 1, "high": 64, "log": True},
    "dropout": {"type": "float", "low": 0.05, "high": 0.95, "step": 0.1},
    "kind": [None, "a", 2, 2.5, True],
    "rate": {"type": "float", "low": 0.0, "high": 1.0, "when": {"kind": ["a", 2]}},
    "constant": {"type": "int", "low": 3, "high": 3},
}
SPECS = {
    "optuna": "",
    "hyperopt": "n_initial_points=10",
    "bayesopt": "random_search_steps=5",
    "nevergrad": "optimizer=OnePlusOne",
    "bohb": "",
    "zoopt": "budget=100",
}
PACKAGES = {
    "hyperopt": "hyperopt",
    "bayesopt": "bayesian-optimization",
    "nevergrad": "nevergrad",
    "bohb": "hpbandster",
    "zoopt": "zoopt",
}


def spec_of(algorithm):
    """Return a spec of the algorithm; skip the test if its package is missing."""
    package = PACKAGES.get(algorithm)
    if package:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{package} is not installed")
        if algorithm == "bayesopt" and not version.startswith("1."):
            pytest.skip(f"Ray knows bayesian-optimization 1.x, not {version}")
    return f"ray:algorithm={algorithm},{SPECS[algorithm]}"


def quadratic(params):
    return -((params["x"] - 0.3) ** 2) - (math.log10(params["lr"]) + 2) ** 2 / 4


def run(sampler, *, space=SMOOTH, n_trials=30, **options):
    objective = ScriptedObjective(lambda trial: [quadratic(trial.params)], n_steps=1)
    return search(
        OptunaBackend(),
        objective,
        space=space,
        sampler=sampler,
        n_trials=n_trials,
        pruner="nop",
        **options,
    )


def sampler_of(spec, space=SMOOTH, seed=0):
    return make_sampler(spec, seed, parallel=False, space=SearchSpace.load(space))


def store_of(sampler, space=SMOOTH, storage=None):
    return TrialStore("s", SearchSpace.load(space), storage, sampler=sampler)


def tell(store, trial, state=TrialState.COMPLETE, value=None):
    value = quadratic(trial.params) if value is None else value
    report = Report(trial.number, 1, value, (value,))
    store.report(report)
    store.tell(TrialRecord(trial, state, (report,)))


def ask_and_tell(store, n_trials):
    for _ in range(n_trials):
        tell(store, store.ask())


def heard(sampler):
    """Return the trials that Ray's OptunaSearch knows, in the order in which it heard of them."""
    return sampler.searcher.wrapped._ot_study.get_trials(deepcopy=False)


# -- what is proposed ------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", sorted(set(SPECS) - {"bohb"}))  # learns from reports
def test_later_trials_are_better_than_the_first(algorithm):
    spec = spec_of(algorithm)
    values = np.array([[r.value for r in run(spec, seed=seed)] for seed in range(2)])
    assert values[:, 20:].mean() > values[:, :10].mean()


def test_the_best_of_the_first_random_trials_is_beaten():
    for seed in range(3):
        values = [record.value for record in run("ray:algorithm=optuna", seed=seed)]
        assert max(values[10:]) > max(values[:10]) / 5  # values are below 0


@pytest.mark.parametrize("algorithm", sorted(SPECS))
def test_the_same_seed_gives_the_same_study_whatever_else_draws(algorithm):
    spec = spec_of(algorithm)
    random.seed(1)
    np.random.seed(1)
    first = run(spec, n_trials=15)
    random.seed(2)
    np.random.seed(2)
    second = run(spec, n_trials=15)
    assert [timeless(record) for record in first] == [timeless(record) for record in second]
    other = run(spec, n_trials=15, seed=1)
    assert all(a.trial.params != b.trial.params for a, b in zip(first[3:], other[3:], strict=True))


@pytest.mark.parametrize("algorithm", sorted(SPECS))
def test_random_numbers_of_others_stay_as_they_are(algorithm):
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    run(spec_of(algorithm), n_trials=8)
    assert (random.random(), np.random.random()) == expected


@pytest.mark.parametrize("algorithm", sorted(set(SPECS) - {"bayesopt", "zoopt"}))
def test_values_lie_in_the_space_and_conditions_hold(algorithm):
    space = SearchSpace.load(MIXED)
    seen = {name: set() for name in space}
    for record in run(spec_of(algorithm), space=MIXED, n_trials=40):
        params = record.trial.params
        assert set(params) == {name for name in space if space.is_active(name, params)}
        for name, value in params.items():
            distribution = space.distributions[name]
            assert distribution._contains(distribution.to_internal_repr(value))
            seen[name].add(value)
    assert all(isinstance(value, int) for value in seen["layers"] | seen["width"])
    assert seen["layers"] <= {1, 4, 7}
    assert min(seen["width"]) < 8 < max(seen["width"])  # as many below 8 as above, about
    assert len(seen["layers"]) > 1
    assert {type(value) for value in seen["kind"]} <= {type(None), str, int, float, bool}


def test_every_value_of_a_parameter_is_proposed():
    seen = {name: set() for name in ("layers", "kind", "dropout")}
    for seed in range(8):
        for record in run("ray:algorithm=optuna", space=MIXED, n_trials=10, seed=seed):
            for name, values in seen.items():
                values.add(record.trial.params[name])
    assert seen["layers"] == {1, 4, 7}
    assert seen["kind"] == {None, "a", 2, 2.5, True}
    assert sorted(seen["dropout"]) == pytest.approx([0.05 + 0.1 * step for step in range(10)])


def test_points_are_random_once_the_algorithm_has_ended():
    spec = spec_of("bayesopt") + ",patience=1"
    space = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
    objective = ScriptedObjective(lambda trial: [trial.params["x"]], n_steps=1)
    with pytest.warns(UserWarning, match="BayesOptSearch has ended its search before") as told:
        records = search(
            OptunaBackend(), objective, space=space, sampler=spec, n_trials=25, pruner="nop"
        )
    assert len(told) == 1
    assert len({record.trial.params["x"] for record in records[-5:]}) == 5


# -- what is told ----------------------------------------------------------------------------


def test_every_fate_is_told_under_the_trials_number():
    sampler = sampler_of("ray:algorithm=optuna", FATES)
    objective = ScriptedObjective(scripted_curve, n_folds=2, n_steps=5)
    records = search(OptunaBackend(), objective, sampler=sampler, n_trials=30, pruner="median")
    known = sampler.searcher.wrapped._ot_trials
    assert list(known) == [str(record.number) for record in records]
    pruned = set()
    for record, trial in zip(records, heard(sampler), strict=True):
        assert trial.params["x"] == record.trial.params["x"]
        if record.state is TrialState.FAILED:
            assert trial.state is optuna.trial.TrialState.FAIL
        elif math.isnan(record.reports[-1].value):
            assert trial.state is optuna.trial.TrialState.PRUNED
        elif record.state is TrialState.PRUNED:
            pruned.add(trial.state)
            assert trial.value == record.reports[-1].value
        else:
            assert (trial.state, trial.value) == (optuna.trial.TrialState.COMPLETE, record.value)
    assert pruned == {optuna.trial.TrialState.COMPLETE}
    assert {record.state for record in records} == {
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAILED,
    }


def test_enqueued_trials_are_told_once():
    sampler = sampler_of("ray:algorithm=optuna")
    store = store_of(sampler)
    store.enqueue([{"x": 0.1, "lr": 0.01}])
    ask_and_tell(store, 4)
    store.enqueue([{"x": 0.2, "lr": 0.1}])
    ask_and_tell(store, 4)
    known = [(trial.params["x"], trial.params["lr"], trial.value) for trial in heard(sampler)]
    expected = [
        (r.trial.params["x"], pytest.approx(math.log(r.trial.params["lr"])), r.value)
        for r in store.records()
    ]
    assert known == expected
    assert known[0][:2] == (0.1, pytest.approx(math.log(0.01)))
    assert known[4][:2] == (0.2, pytest.approx(math.log(0.1)))


def test_what_an_enqueued_point_leaves_open_is_drawn_and_told():
    sampler = sampler_of("ray:algorithm=optuna")
    store = store_of(sampler)
    store.enqueue([{"x": 0.1}])
    ask_and_tell(store, 3)
    first = heard(sampler)[0]
    assert first.params["x"] == 0.1
    assert math.exp(first.params["lr"]) == pytest.approx(store.records()[0].trial.params["lr"])


def test_a_resumed_study_is_told_once_and_goes_on_with_new_points(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    ask_and_tell(store_of(sampler_of("ray:algorithm=optuna", MIXED), MIXED, storage), 6)
    sampler = sampler_of("ray:algorithm=optuna", MIXED)
    store = store_of(sampler, MIXED, storage)
    ask_and_tell(store, 3)
    records = store.records()
    assert [trial.value for trial in heard(sampler)] == [record.value for record in records]
    assert len({record.trial.params["x"] for record in records}) == 9
    flat = set(MIXED) - {"constant"}  # nothing to propose there
    assert all(set(trial.params) == flat for trial in heard(sampler))


def test_two_drivers_hear_of_each_others_trials_once(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    samplers = [sampler_of("ray:algorithm=optuna") for _ in range(2)]
    stores = [store_of(sampler, storage=storage) for sampler in samplers]
    for _ in range(4):
        for store in stores:
            ask_and_tell(store, 1)
    records = stores[0].records()
    values = [trial.value for trial in heard(samplers[1])]
    assert values == [record.value for record in records]
    assert len(set(values)) == 8


def test_a_trial_of_another_run_without_a_value_teaches_nothing(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    first = store_of(sampler_of("ray:algorithm=optuna"), storage=storage)
    tell(first, first.ask(), TrialState.FAILED)
    tell(first, first.ask(), TrialState.PRUNED)
    tell(first, first.ask(), TrialState.PRUNED, math.nan)
    sampler = sampler_of("ray:algorithm=optuna")
    again = store_of(sampler, storage=storage)
    tell(again, again.ask())
    assert [trial.value for trial in heard(sampler)] == [
        again.records()[1].reports[-1].value,
        again.records()[3].value,
    ]


def test_opening_a_trial_proposes_nothing():
    sampler = sampler_of("ray:algorithm=optuna")
    study = optuna.create_study(sampler=sampler, direction="maximize")
    searcher, n_heard = sampler.searcher.wrapped, len(heard(sampler))
    trial = study.ask()
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert (sampler.searcher.wrapped, len(heard(sampler))) == (searcher, n_heard)


POINTS = {  # what each algorithm knows of x and the value there
    "hyperopt": lambda searcher: [
        (trial["misc"]["vals"]["x"][0], -trial["result"]["loss"])
        for trial in searcher._hpopt_trials.trials
    ],
    "bayesopt": lambda searcher: [
        (point["params"]["x"], point["target"]) for point in searcher.optimizer.res
    ],
    "nevergrad": lambda searcher: [
        (point.parameter.value["x"], -point.mean)
        for point in searcher._nevergrad_opt.archive.values()
    ],
}


@pytest.mark.parametrize("algorithm", sorted(POINTS))
def test_a_resumed_study_is_known_without_add_evaluated_point_too(algorithm, tmp_path):
    spec, storage = spec_of(algorithm), f"sqlite:///{tmp_path}/study.db"
    space = SMOOTH if algorithm == "bayesopt" else MIXED
    ask_and_tell(store_of(sampler_of(spec, space), space, storage), 8)
    sampler = sampler_of(spec, space)
    store = store_of(sampler, space, storage)
    ask_and_tell(store, 1)
    known = sorted(POINTS[algorithm](sampler.searcher.wrapped))
    expected = sorted((record.trial.params["x"], record.value) for record in store.records())
    assert known == [pytest.approx(point) for point in expected]


def test_bohb_learns_from_results_that_its_scheduler_has_marked():
    sampler = sampler_of(spec_of("bohb"), MIXED)
    searcher, store = sampler.searcher, store_of(sampler, MIXED)
    store.enqueue([{"x": 0.1}])
    for _ in range(4):
        trial = store.ask()
        result = {METRIC: quadratic(trial.params), "hyperband_info": {"budget": 3}}
        searcher.on_pause(str(trial.number))
        searcher.on_unpause(str(trial.number))
        searcher.on_trial_result(str(trial.number), result)
        tell(store, trial)
    proposed = [record.value for record in store.records()[1:]]  # the first was enqueued
    assert searcher.wrapped.bohber.losses[3] == pytest.approx([-value for value in proposed])


def test_reports_of_whatever_trial_may_be_passed_to_any_algorithm():
    sampler = sampler_of("ray:algorithm=optuna")
    store = store_of(sampler)
    store.enqueue([{"x": 0.1}])
    for _ in range(2):
        trial = store.ask()
        sampler.searcher.on_trial_result(str(trial.number), {METRIC: 0.0})
        sampler.searcher.on_pause(str(trial.number))
        tell(store, trial)
    assert not any(trial.intermediate_values for trial in heard(sampler))


# -- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ray", "the option 'algorithm' must name a search algorithm of Ray Tune. Got None"),
        ("ray:algorithm=hyperop", "Got 'hyperop' instead, did you mean 'hyperopt'? Choose one of"),
        ("ray:algorithm=random", "Got 'random' instead."),
        ("ray:algorithm=optuna,sede=3", "has no option 'sede', did you mean 'seed'?"),
        (
            "ray:algorithm=optuna,metric=loss",
            "has no option 'metric'. Its options are: study_name, seed.",
        ),
        ("ray:algorithm=optuna,sampler=tpe", "has no option 'sampler'."),
    ],
)
def test_mistakes_are_named(spec, message):
    for space in (None, SearchSpace.load(SMOOTH)):  # None: `hpo validate` with a broken space
        with pytest.raises(PluginError) as caught:
            make_sampler(spec, 0, parallel=False, space=space)
        assert str(caught.value).startswith("sampler 'ray")
        assert message in str(caught.value)


def test_without_a_space_a_right_spec_is_only_checked():
    assert make_sampler("ray:algorithm=optuna,seed=3", 0, parallel=False).searcher.wrapped


def test_parameters_that_an_algorithm_cannot_search_are_named():
    with pytest.raises(PluginError, match="cannot search layers, dropout, kind, rate: BayesOpt"):
        sampler_of(spec_of("bayesopt"), {**MIXED, "rate": {"type": "int", "low": 1, "high": 3}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "the option 'optimizer' must name an optimizer in Nevergrad's registry"),
        (",optimizer=OnePlusOn", "Got 'OnePlusOn' instead, did you mean 'OnePlusOne'?"),
        (",optimizer=NGOpt", "want optimizer_kwargs={'budget': <number of trials>}"),
    ],
)
def test_a_missing_or_wrong_optimizer_of_nevergrad_is_named(options, message):
    spec_of("nevergrad")
    with pytest.raises(PluginError) as caught:
        sampler_of(f"ray:algorithm=nevergrad{options}")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("algorithm", "module", "package"),
    [
        ("ax", "ax", "ax-platform"),
        ("bayesopt", "bayes_opt", "bayesian-optimization"),
        ("bohb", "hpbandster", "hpbandster ConfigSpace"),
        ("hebo", "hebo", "HEBO"),
        ("hyperopt", "hyperopt", "hyperopt"),
        ("nevergrad", "nevergrad", "nevergrad"),
        ("zoopt", "zoopt", "zoopt"),
    ],
)
def test_a_missing_package_is_named(algorithm, module, package, monkeypatch):
    loaded = f"ray.tune.search.{algorithm}.{algorithm}_search"
    monkeypatch.delitem(sys.modules, loaded, raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PluginError) as caught:
        sampler_of(f"ray:algorithm={algorithm}")
    assert str(caught.value).startswith(f"sampler 'ray:algorithm={algorithm}': ")
    assert "pip install" in str(caught.value)
    assert package in str(caught.value)
    sys.modules.pop(loaded, None)


def test_a_missing_ray_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "hpo.samplers._ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PluginError, match=r"sampler 'ray' needs Ray Tune.* pip install 'ray\[tune"):
        make_sampler("ray:algorithm=optuna", 0, parallel=False)


def test_a_package_that_does_not_fit_is_told_as_such(monkeypatch):
    def refuse(*_, **__):
        raise AttributeError("module 'optuna' has no attribute 'TPESampler'")

    monkeypatch.setattr("ray.tune.search.optuna.OptunaSearch.set_search_properties", refuse)
    with pytest.raises(PluginError, match=r"Ray .* may want another version of the algorithm's"):
        sampler_of("ray:algorithm=optuna")


def test_nothing_is_said_or_warned_of_on_the_way():
    heard_of = logging.handlers.BufferingHandler(100)
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.addHandler(heard_of)
    logger.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings(action="error"):
            run("ray:algorithm=optuna", n_trials=3)
        assert not heard_of.buffer
    finally:
        logger.removeHandler(heard_of)
        logger.setLevel(level)
