"""A study extended on purpose: the old trials that fit the new search space count."""

import functools
import os
import socket
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_iris
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler
from torch import nn

from hpo import HPOSearchCV, SearchSpace, Study, StudyData, load_result, run_study
from hpo.exceptions import StudyError
from hpo.identity import Describer
from hpo.storage.stored_study import StoredStudy
from hpo.storage.studies import study_names
from hpo.storage.trial_store import TrialStore
from hpo.study._extending import EXTENDS
from hpo.study._fingerprint import _parameter_form
from hpo.study._fitting import Fitting
from hpo.study._own_values import MISSING, default_value
from hpo.study.opening import Allowed
from hpo.study.prepared import PreparedStudy
from hpo.testing.backends import timeless
from hpo.trial import Cause, Report, Trial, TrialRecord, TrialState

X, y = load_iris(return_X_y=True)


class Scored(ClassifierMixin, BaseEstimator):
    """Its score follows from its parameters, so that a search of it takes no time."""

    def __init__(self, a=0.5, b=1, kind="flat", weight=None):
        self.a, self.b, self.kind, self.weight = a, b, kind, weight

    def fit(self, X, y):
        if self.a < 0:
            raise ValueError("a is negative")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.where(X[:, 0] > 5.5 + self.a, 2, 0)


LINE = {"a": {"type": "float", "low": 0.0, "high": 1.0}}


@pytest.fixture
def study(tmp_path):
    return Study(
        name="line",
        estimator=Scored(),
        data=StudyData(X=X, y=y),
        search_space=LINE,
        scoring="accuracy",
        cv=3,
        n_trials=6,
        sampler="random",
        folds="all",  # every trial is to have scores
        baseline=False,
        storage=f"journal:///{tmp_path}/hpo.journal",
        tracker="null",
        refit=False,
    )


def space(**forms):
    return {**LINE, **forms}


def told(record):
    """Return what must stay of a record that is taken over."""
    return (record.trial.seed, record.state, record.reports and timeless(record), record.reason)


def test_a_wider_range_keeps_all_trials(study):
    old = run_study(study)
    wider = study.replace(search_space={"a": {**LINE["a"], "high": 2.0}}, n_trials=9)
    with pytest.raises(StudyError, match=r"--extend .*: the trials that fit the new search space"):
        run_study(wider)
    assert study_names(study.storage) == ["line"]
    result = run_study(wider, extend=True)
    assert (result.name, result.n_trials) == ("line@2", 9)
    assert [timeless(r) for r in result.records[:6]] == [timeless(r) for r in old.records]
    assert result.notes == (
        "6 of the 6 trials of 'line' fit the new search space and count in 'line@2'.",
    )
    assert load_result("line@1", study.storage).n_trials == 6


def test_out_of_fold_predictions_are_taken_over(study):
    """So an extended study's winner has a corrected score, though copied trials are chosen from."""
    old = run_study(study)
    wider = study.replace(search_space={"a": {**LINE["a"], "high": 2.0}}, n_trials=9)
    result = run_study(wider, extend=True)
    for record in old.records:
        np.testing.assert_array_equal(
            result.oof(record.number).predictions, old.oof(record.number).predictions
        )
    assert result.corrected is not None, result.uncorrected
    assert result.corrected.n_candidates == 9


def test_an_extended_study_goes_on_as_any_other(study):
    run_study(study)
    wider = study.replace(search_space={"a": {**LINE["a"], "high": 2.0}}, n_trials=8)
    run_study(wider, extend=True)
    assert run_study(wider.replace(n_trials=9)).n_trials == 9
    again = run_study(wider.replace(n_trials=10), extend=True)  # nothing to extend
    assert (again.name, again.n_trials, again.notes) == ("line@2", 10, ())
    with pytest.raises(StudyError, match=r"'line@2'.*\n  search space: a: high 2.0 -> 1.0"):
        run_study(study)


def test_a_narrower_range_leaves_some_and_says_which(study):
    old = run_study(study)
    narrow = study.replace(search_space={"a": {**LINE["a"], "high": 0.5}}, n_trials=6)
    result = run_study(narrow, extend=True)
    fit = [r for r in old.records if r.trial.params["a"] <= 0.5]
    assert 0 < len(fit) < 6
    assert result.n_trials == 6
    kept = result.records[: len(fit)]
    assert [told(r)[:2] for r in kept] == [told(r)[:2] for r in fit]
    assert [r.reports for r in kept] == [
        tuple(replace(report, number=i) for report in r.reports) for i, r in enumerate(fit)
    ]
    assert result.notes == (
        f"{len(fit)} of the 6 trials of 'line' fit the new search space and count in 'line@2'. "
        f"The others stay in 'line': a was outside of float 0.0 .. 0.5 ({6 - len(fit)}).",
    )


def test_a_kept_trial_is_what_it_would_be_in_the_new_study(study):
    run_study(study)
    narrow = study.replace(search_space={"a": {**LINE["a"], "high": 0.5}}, n_trials=6)
    result = run_study(narrow, extend=True)
    objective = PreparedStudy(narrow).search.objective
    for record in result.records:
        trial = Trial(record.number, record.trial.params, record.trial.seed)
        values = [report.fold_values for report in objective.run(trial)]
        assert values == [report.fold_values for report in record.reports]


@pytest.mark.parametrize(
    ("old", "new", "kept", "why"),
    [
        ({"kind": ["flat", "round"]}, {"kind": ["flat", "round", "odd"]}, 4, ""),
        ({"kind": ["flat", "round"]}, {"kind": ["round", "flat"]}, 4, ""),
        ({"kind": ["flat", "odd"]}, {"kind": ["flat"]}, 2, "kind was odd, which is no choice of"),
        ({"kind": ["flat", "odd"]}, {}, 2, "kind is no longer searched, and was not what the"),
        ({}, {"kind": ["flat", "odd"]}, 2, ""),
        ({}, {"kind": ["round", "odd"]}, 0, "kind is new, and what it is by itself, 'flat', is"),
        ({}, {"b": {"type": "int", "low": 1, "high": 4}}, 2, ""),
        ({}, {"b": {"type": "int", "low": 2, "high": 4}}, 0, "b is new, and what it is by itself"),
        ({"b": [1, 2]}, {"b": {"type": "int", "low": 1, "high": 9}}, 4, ""),
        ({"b": [1, 2]}, {"b": {"type": "int", "low": 1, "high": 9, "step": 2}}, 2, "b was outside"),
        ({"b": {"type": "int", "low": 1, "high": 2}}, {"b": [1, 2, 5]}, 4, ""),
        ({"b": [1, 2]}, {"b": {"type": "float", "low": 0.5, "high": 9}}, 0, "b was outside"),
        ({"b": [1, 2]}, {"b": [1.0, 2.0]}, 0, "b was 1, which is no choice of it now (2); b was 2"),
        ({}, {"kind": ["flat", "odd"], "b": {"type": "int", "low": 1, "high": 2,
                                            "when": {"kind": "odd"}}}, 2, ""),
        ({"kind": ["flat"], "b": {"type": "int", "low": 1, "high": 2, "when": {"kind": "flat"}}},
         {"kind": ["flat", "odd"], "b": {"type": "int", "low": 1, "high": 2,
                                        "when": {"kind": "odd"}}}, 2, "b is no longer searched"),
    ],
)  # fmt: skip
def test_choices_and_parameters_that_come_and_go(study, old, new, kept, why):
    a = {"a": [0.25, 0.75]}
    made = PreparedStudy(study.replace(search_space={**a, **old}, sampler="grid"))
    store = made.store()
    for point in made.search.grid:
        store.enqueue([point])
        trial = store.ask()
        store.tell(TrialRecord(trial, TrialState.COMPLETE, (Report(trial.number, 1, 0.5),)))
    other = PreparedStudy(study.replace(search_space={**a, **new}))
    extended = other.store(allowed=Allowed(extend=True))
    note = other.search.notes[-1]  # there is one too of a finite space
    assert note.startswith(f"{kept} of the {len(made.search.grid)} trials of 'line' fit")
    assert why in note
    assert len(extended.records()) == kept == len(other.search.copied)


# -- nets ----------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self, width=8, dropout=0.0):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.Dropout(dropout), nn.Linear(width, 3))

    def forward(self, X):
        return self.layers(X)


def net(**params):
    known = {"criterion": nn.CrossEntropyLoss, "max_epochs": 2, "train_split": None, "verbose": 0}
    return NeuralNetClassifier(Net, **{**known, **params})


def sgd(momentum):
    return functools.partial(torch.optim.SGD, momentum=momentum)


@pytest.mark.parametrize(
    ("name", "params", "value"),
    [
        ("lr", {}, 0.01),
        ("module__width", {}, 8),
        ("module__dropout", {}, 0.0),
        ("optimizer__momentum", {}, 0),
        ("optimizer__momentum", {"optimizer": sgd(0.9)}, 0.9),
        ("optimizer__amsgrad", {"optimizer": torch.optim.Adam}, False),
        ("optimizer__lr", {"lr": 0.5}, 0.5),
        ("criterion__label_smoothing", {}, 0.0),
        ("iterator_train__batch_size", {}, 128),
        ("iterator_train__shuffle", {}, None),
        ("callbacks__schedule__gamma", {}, 0.3),
        ("callbacks__other__gamma", {}, MISSING),
        ("module__nothing", {}, MISSING),
    ],
)
def test_what_a_net_has_by_itself(name, params, value):
    schedule = ("schedule", LRScheduler("StepLR", step_size=1, gamma=0.3))
    assert default_value(net(callbacks=[schedule]), name, params) == value


def test_parameters_of_a_module_and_an_optimizer_that_are_new(study):
    data = StudyData(X=X.astype("float32"), y=y)
    lr = {"lr": {"type": "float", "low": 0.01, "high": 0.1}}
    mine = study.replace(estimator=net(), data=data, search_space=lr, n_trials=3)
    old = run_study(mine)
    more = {
        **lr,
        "optimizer": ["torch.optim.SGD", "torch.optim.Adam"],
        "optimizer__momentum": {
            "type": "float",
            "low": 0.0,
            "high": 0.9,
            "when": {"optimizer": "torch.optim.SGD"},
        },
        "module__dropout": {"type": "float", "low": 0.0, "high": 0.5},
    }
    result = run_study(mine.replace(search_space=more, n_trials=5), extend=True)
    assert result.notes[0].startswith("3 of the 3 trials")
    for now, before in zip(result.records, old.records, strict=False):
        assert now.trial.params == {
            "lr": before.trial.params["lr"],
            "optimizer": "torch.optim.SGD",
            "optimizer__momentum": 0.0,
            "module__dropout": 0.0,
        }
        assert now.reports == before.reports


def test_objects_among_choices_are_known_by_what_they_are(study):
    data = StudyData(X=X.astype("float32"), y=y)

    def scaled(factor):
        return lambda output: factor * output

    def searched(*factors):
        return {"lr": [0.01, 0.02], "predict_nonlinearity": [scaled(f) for f in factors]}

    mine = study.replace(estimator=net(), data=data, search_space=searched(1, 2), sampler="grid")
    old = run_study(mine)
    assert len({r.trial.params["predict_nonlinearity"] for r in old.records}) == 2
    result = run_study(mine.replace(search_space=searched(3, 2)), extend=True)
    assert "2 of the 4 trials" in result.notes[0]
    label = "scaled.<locals>.<lambda>"
    kept = [r.trial.params["predict_nonlinearity"] for r in result.records[:2]]
    assert kept == [kept[0]] * 2
    assert kept[0].endswith(f"{label} #2")
    assert f"{label}, which is no choice of it now (2)" in result.notes[0]


# -- laws ----------------------------------------------------------------------------------------

FLOATS = st.floats(-2.0, 2.0).map(lambda value: round(value, 1))
RANGES = st.tuples(FLOATS, FLOATS).filter(lambda pair: pair[0] < pair[1])
FORMS = st.fixed_dictionaries(
    {},
    optional={
        "a": RANGES.map(lambda pair: {"type": "float", "low": pair[0], "high": pair[1]})
        | st.lists(FLOATS, min_size=1, max_size=3, unique=True),
        "b": st.integers(-1, 1).map(lambda low: {"type": "int", "low": low, "high": low + 2})
        | st.lists(st.integers(-1, 3), min_size=1, max_size=3, unique=True),
        "kind": st.lists(st.sampled_from(["flat", "odd", "round"]), min_size=1, unique=True),
        "weight": st.sampled_from([[None, (1, 2)], [(1, 2), (2, 1)], [(2, 1), None]]),
    },
).filter(bool)


def sampled(space, data):
    def suggest(name, distribution):
        if hasattr(distribution, "choices"):
            return data.draw(st.sampled_from(list(distribution.choices)))
        if isinstance(distribution.low, int):
            return data.draw(st.integers(distribution.low, distribution.high))
        return data.draw(st.floats(distribution.low, distribution.high))

    return space.sample(suggest)


@settings(deadline=None)
@given(FORMS, FORMS, st.data())
def test_a_trial_that_fits_trains_the_same_estimator(old, new, data):
    first, second = SearchSpace.load(old), SearchSpace.load(new)
    fitting = Fitting({n: _parameter_form(Describer(), first, n) for n in first}, second, Scored())
    params = sampled(first, data)
    fitted = fitting(params)
    trained = clone(Scored()).set_params(**first.resolve(params)).get_params()
    if isinstance(fitted, str):
        assert not _has(second, trained)
    else:
        assert clone(Scored()).set_params(**second.resolve(fitted)).get_params() == trained


def _has(space, trained):
    """Return whether a space has a point of which an estimator has these parameters."""
    for name, value in Scored().get_params().items():
        if name not in space:
            found = trained[name] == value
        elif space.parameters[name].choices:
            found = any(choice.value == trained[name] for choice in space.parameters[name].choices)
        else:
            distribution = space.distributions[name]
            found = distribution.low <= trained[name] <= distribution.high
        if not found:
            return False
    return True


# -- all kinds of trials -------------------------------------------------------------------------


def test_trials_that_ended_otherwise_are_taken_over_too(study):
    wide = {"a": {"type": "float", "low": -1.0, "high": 1.0}}
    old = run_study(study.replace(search_space=wide, n_trials=12))
    assert old.n_failed > 0
    wider = {"a": {**wide["a"], "high": 1.5}}
    result = run_study(study.replace(search_space=wider, n_trials=12), extend=True)
    assert [told(r) for r in result.records] == [told(r) for r in old.records]
    assert [r.error for r in result.records] == [r.error for r in old.records]


def test_an_interrupted_trial_is_tried_again_in_the_new_study(study):
    run_study(study.replace(n_trials=2))
    store = TrialStore("line", SearchSpace.load(LINE), study.storage, sampler=None)
    trial = store.ask()
    store.tell(TrialRecord(trial, TrialState.INTERRUPTED, reason="a test"))
    wider = study.replace(search_space={"a": {**LINE["a"], "high": 2.0}}, n_trials=3)
    result = run_study(wider, extend=True)
    assert "2 of the 2 trials" in result.notes[0]
    assert [r.state for r in result.records] == ["complete"] * 2 + ["interrupted", "complete"]
    assert result.records[3].trial.params == trial.params


def test_a_void_trial_is_tried_again_in_the_new_study(study):
    """It is complete in Optuna's tables of the old study, and failed in those of the new one."""
    old = run_study(study.replace(n_trials=2))
    store = TrialStore("line", SearchSpace.load(LINE), study.storage, sampler=None)
    store.set_attr("revoked", {"1": "a test"})  # and its driver died
    wider = study.replace(search_space={"a": {**LINE["a"], "high": 2.0}}, n_trials=2)
    result = run_study(wider, extend=True)
    assert [r.state for r in result.records] == ["complete", "interrupted", "complete"]
    assert result.records[1].reason == "a test"
    assert result.records[2].trial.params == old.records[1].trial.params
    trials = StoredStudy("line@2", study.storage).trials()
    assert [t.state.name for t in trials] == ["COMPLETE", "FAIL", "COMPLETE"]


def test_what_a_sampler_needs_is_taken_over(study):
    """Values of several objectives, and what broke a constraint."""
    two = study.replace(costs=("seconds",), sampler="tpe")
    old = run_study(two.replace(n_trials=3))
    store = TrialStore("line", SearchSpace.load(LINE), study.storage, costs=("seconds",))
    trial = store.ask()
    short = TrialRecord(trial, TrialState.PRUNED, reason="x", cause=Cause.OUT_OF_MEMORY)
    store.tell(short)
    wider = two.replace(search_space={"a": {**LINE["a"], "high": 2.0}}, n_trials=4)
    result = run_study(wider, extend=True)
    assert result.n_trials == 4
    trials = StoredStudy("line@2", study.storage).trials()
    assert [t.values for t in trials[:3]] == [[r.value, r.cost("seconds")] for r in old.records]
    assert trials[3].constraints == {"memory": 1.0}
    assert all(t.distributions["a"].high == 2.0 for t in trials)


@pytest.mark.parametrize("scheme", ["sqlite", "journal"])
def test_any_storage(study, tmp_path, scheme):
    study = study.replace(storage=f"{scheme}:///{tmp_path}/any.db")
    run_study(study)
    wider = study.replace(search_space={"a": {**LINE["a"], "high": 2.0}})
    assert run_study(wider, extend=True).n_trials == 6


# -- what cannot be extended ---------------------------------------------------------------------


def test_nothing_else_may_differ(study):
    run_study(study)
    other = study.replace(search_space={"a": {**LINE["a"], "high": 2.0}}, seed=1)
    with pytest.raises(StudyError, match="seed: 0 -> 1"):
        run_study(other, extend=True)
    assert study_names(study.storage) == ["line"]


def test_code_that_differs_must_be_accepted_too(study):
    run_study(study.replace(estimator=Scored(weight=lambda x: x + 1)))
    other = study.replace(
        estimator=Scored(weight=lambda x: x + 2), search_space={"a": {**LINE["a"], "high": 2.0}}
    )
    with pytest.raises(StudyError) as caught:
        run_study(other)
    assert "Go on with --extend" in str(caught.value)
    assert "; and with --accept-code" in str(caught.value)
    with pytest.raises(StudyError, match=r"<lambda> changed\nGo on with --accept-code"):
        run_study(other, extend=True)
    assert run_study(other, extend=True, accept_code=True).n_trials == 6


def test_fresh_and_extend_exclude_each_other(study):
    with pytest.raises(StudyError, match="choose one of them"):
        run_study(study, fresh=True, extend=True)


# -- nothing half made ---------------------------------------------------------------------------


def test_an_error_on_the_way_leaves_nothing(study, monkeypatch):
    run_study(study)
    wider = study.replace(search_space={"a": {**LINE["a"], "high": 2.0}})
    monkeypatch.setattr("hpo.study._extending.remember", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_study(wider, extend=True)
    assert study_names(study.storage) == ["line"]


@pytest.fixture
def half_made(study):
    """Leave what a driver has that is killed while it takes trials over."""

    def make(process):
        run_study(study)
        store = TrialStore("line@2", SearchSpace.load(LINE), study.storage)
        driver = f"{socket.gethostname()}/{process}/abc"
        store.set_attr(EXTENDS, {"study": "line", "driver": driver, "time": time.time()})
        return store

    return make


def test_what_a_dead_driver_has_left_is_deleted(study, half_made):
    half_made(2**22 + 1)
    assert run_study(study.replace(n_trials=7)).name == "line"
    assert study_names(study.storage) == ["line"]


def test_while_another_driver_extends_it_is_waited_for(study, half_made, monkeypatch):
    store = half_made(os.getppid())
    wider = study.replace(search_space={"a": {**LINE["a"], "high": 2.0}})
    mark = PreparedStudy(wider).search.fingerprint
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 2:
            store.set_attr("fingerprint", mark)

    # Optuna's own waiting goes through it too
    monkeypatch.setattr("hpo.study.opening.time.sleep", sleep)
    assert run_study(wider.replace(n_trials=1), extend=True).name == "line@2"
    assert slept.count(0.2) == 2


# -- the other doors -----------------------------------------------------------------------------


def test_a_search_is_extended(study):
    def search(high, **changes):
        known = {"cv": 3, "n_trials": 3, "storage": study.storage, "study_name": "line"}
        form = {"a": {"type": "float", "low": 0.0, "high": high}}
        return HPOSearchCV(Scored(), form, sampler="random", **{**known, **changes}).fit(X, y)

    search(1.0)
    with pytest.raises(StudyError, match=r"Go on with HPOSearchCV\(..., extend=True\): the trials"):
        search(2.0)
    with pytest.warns(UserWarning, match="3 of the 3 trials of 'line' fit the new search space"):
        found = search(2.0, extend=True, n_trials=5)
    assert len(found.cv_results_["params"]) == 5
    assert found.result_.name == "line@2"


# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
def test_the_new_study_has_its_kept_trials_in_mlflow(study, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracked = study.replace(tracker="mlflow", tracking_uri=uri, n_trials=2)
    run_study(tracked)
    wider = tracked.replace(search_space={"a": {**LINE["a"], "high": 2.0}}, n_trials=3)
    result = run_study(wider, extend=True)
    client = mlflow.MlflowClient(tracking_uri=uri)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    (parent,) = [run for run in runs if run.info.run_name == "line@2"]
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    found = {int(r.data.tags["number"]): r.data.metrics["best_score"] for r in children}
    assert found == {record.number: record.value for record in result.records}
