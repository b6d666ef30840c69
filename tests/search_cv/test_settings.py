"""What HPOSearchCV takes of a study's settings: each reaches the search and has its effect."""

import json

import numpy as np
import optuna
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import KFold, LeaveOneGroupOut
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from hpo import HPOSearchCV, Study, StudyData, load_result, run_study
from hpo.analyses import BaseAnalysis
from hpo.exceptions import DataError, PluginError, StudyError
from hpo.review import compare, write_report
from hpo.search_cv._definition import definition_of
from hpo.trial import TrialState

RAW = load_iris(return_X_y=True)
ORDER = np.random.default_rng(0).permutation(150)
X, Y = RAW[0][ORDER].astype("float32"), RAW[1][ORDER].astype("int64")
HELD_OUT = StudyData(X=X[:100], y=Y[:100], X_test=X[100:], y_test=Y[100:])
RATES = {"lr": {"type": "float", "low": 1e-3, "high": 0.5, "log": True}}


class Surroundings(Callback):
    """Records what a net is trained with, epoch by epoch."""

    def on_epoch_end(self, net, **kwargs):
        net.history.record("threads", torch.get_num_threads())
        net.history.record("on_device", float(str(net.device) == "cpu:0"))


def net(**settings):
    known = {
        "module__in_features": 4,
        "module__out_features": 3,
        "criterion": nn.CrossEntropyLoss,
        "max_epochs": 3,
        "batch_size": 32,
        "train_split": None,
        "verbose": 0,
    }
    return NeuralNetClassifier(nn.Linear, **{**known, **settings})


def search(space=RATES, estimator=None, **settings):
    known = {"n_trials": 3, "cv": 2, "random_state": 0, "pruner": None, "scoring": "accuracy"}
    return HPOSearchCV(estimator or net(), space, **{**known, **settings})


def recorded(found, name):
    """Return the values of a metric in all folds of all trials, and in the refit."""
    folds = {v for r in found.result_.records for p in r.reports for v in p.metrics[name]}
    return folds | set(found.best_estimator_.history[:, name])


# -- one definition ------------------------------------------------------------------------------

OTHER_NAMES = {
    "name": "study_name",
    "seed": "random_state",
    "metric": "refit",
}
"""Fields of a study that have scikit-learn's names."""


def test_every_field_of_a_study_is_a_parameter():
    left = {"data", "nested"}  # cross_val_score(HPOSearchCV(...)) is nested cross-validation
    fields = {OTHER_NAMES.get(name, name) for name in Study.model_fields} - left
    assert fields <= set(search().get_params(deep=False))


CHANGES = {
    "study_name": ("name", "mine", "mine"),
    "random_state": ("seed", 7, 7),
    "tracker": ("tracker", "mlflow", "mlflow"),
    "tracking_uri": ("tracker", "sqlite:///m.db", "mlflow"),
    "scoring": ("scoring", "f1_macro", "f1_macro"),
    "refit": ("refit", False, False),
    "cv": ("cv", 4, 4),
    "epochs": ("epochs", 2, 2),
    "eval_every": ("eval_every", 5, 5),
    "choose": ("choose", "one_se", "one_se"),
    "folds": ("folds", "race", "race"),
    "baseline": ("baseline", False, False),
    "repeats": ("repeats", 2, 2),
    "select": ("select", "last", "last"),
    "n_trials": ("n_trials", np.int64(9), 9),
    "timeout": ("timeout", 60, 60),
    "trial_timeout": ("trial_timeout", 9.5, 9.5),
    "max_total_epochs": ("max_total_epochs", 40, 40),
    "pruner": ("pruner", "halving", "halving"),
    "sampler": ("sampler", "random", "random"),
    "backend": ("backend", "ray", "ray"),
    "executor": ("executor", "process", "process"),
    "n_jobs": ("n_jobs", 2, 2),
    "n_threads": ("n_threads", 2, 2),
    "device": ("device", "cpu", "cpu"),
    "storage": ("storage", "sqlite:///s.db", "sqlite:///s.db"),
    "fail_fast": ("fail_fast", 5, 5),
    "add_trials": ("add_trials", "old", "old"),
    "keep": ("keep", "all", "all"),
    "out_of_fold_mb": ("out_of_fold_mb", 10, 10),
    "enqueue": ("enqueue", [{"lr": 0.1}], [{"lr": 0.1}]),
    "costs": ("costs", ["seconds"], ["seconds"]),
    "compare": ("compare", ["lr"], ["lr"]),
    "watch": ("watch", ["train_loss"], ["train_loss"]),
    "analyses": ("analyses", ["confusion"], ["confusion"]),
}


@pytest.mark.parametrize("parameter", CHANGES)
def test_a_parameter_is_what_the_definition_has(parameter):
    field, value, expected = CHANGES[parameter]
    before = getattr(definition_of(search(), HELD_OUT), field)
    changed = definition_of(search().set_params(**{parameter: value}), HELD_OUT)
    assert getattr(changed, field) == expected != before


def test_a_tracker_is_named_or_follows_from_its_store():
    uri = {"tracking_uri": "sqlite:///m.db"}
    assert definition_of(search(**uri, tracker="null"), HELD_OUT).tracker == "null"
    assert definition_of(search(**uri), HELD_OUT).tracking_uri == uri["tracking_uri"]
    assert definition_of(search(), HELD_OUT).tracker == "null"


def test_of_several_scores_refit_names_the_metric():
    several = search(scoring=["accuracy", "f1_macro"], refit="f1_macro")
    assert definition_of(several, HELD_OUT).metric == "f1_macro"
    assert several.fit(X, Y).best_score_ == several.result_.best_score


def test_the_parameters_survive_clone_and_are_in_the_representation():
    settings = {
        "n_threads": 2,
        "device": "cpu",
        "costs": ["seconds"],
        "compare": ["lr"],
        "watch": ["train_loss"],
        "analyses": ["confusion"],
        "max_total_epochs": 9,
    }
    copied = clone(search(**settings))
    assert {name: copied.get_params()[name] for name in settings} == settings
    assert all(f"{name}={value!r}" in repr(copied) for name, value in settings.items())


def test_both_doors_find_train_and_score_the_same():
    folds = KFold(3)
    study = Study(
        name="same",
        estimator=net(),
        data=HELD_OUT,
        search_space=RATES,
        scoring="accuracy",
        cv=folds,
        n_trials=4,
        seed=3,
        storage=None,
        tracker="null",
    )
    theirs = run_study(study)
    ours = search(cv=folds, n_trials=4, random_state=3, pruner="median").fit(HELD_OUT)
    assert [r.all_reports[-1].value for r in ours.result_.records] == [
        r.all_reports[-1].value for r in theirs.records
    ]
    assert ours.result_.best_params == theirs.best_params
    assert ours.test_score_ == theirs.test_score
    assert ours.n_steps_ == theirs.refit_epochs
    assert list(ours.analyses_) == list(theirs.analyses) == ["confusion", "features"]
    assert ours.analyses_["confusion"] == theirs.analyses["confusion"]
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.estimator.predict_proba(X))


# -- what each of them does ----------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"n_threads": 2}, {"executor": "serial:n_threads=2"}])
def test_n_threads_are_those_of_the_trials_and_of_the_refit(settings):
    estimator = net(callbacks=[Surroundings()])
    assert recorded(search(estimator=estimator).fit(X, Y), "threads") == {1}
    assert recorded(search(estimator=estimator, **settings).fit(X, Y), "threads") == {2}


def test_device_is_that_of_the_trials_and_of_the_refit():
    estimator = net(callbacks=[Surroundings()])
    found = search(estimator=estimator, device="cpu:0").fit(X, Y)
    assert recorded(found, "on_device") == {1.0}
    assert str(found.best_estimator_.device) == "cpu:0"
    named = search(estimator=estimator, executor="process", device="cpu:0", n_jobs=2).fit(X, Y)
    assert recorded(named, "on_device") == {1.0}


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
@pytest.mark.parametrize("door", ["study", "search"])
def test_a_device_that_is_not_there_is_refused_before_anything_is_trained(device, door):
    study = Study(name="s", estimator=net(), data=HELD_OUT, search_space=RATES, device=device)
    with pytest.raises(StudyError, match=rf"device='{device}' is .*Give 'cpu'"):
        run_study(study) if door == "study" else search(device=device).fit(X, Y)


def test_costs_make_a_front_and_the_score_names_the_winner(tmp_path):
    storage = f"sqlite:///{tmp_path}/s.db"
    found = search(costs=["train_loss", "seconds"], storage=storage, study_name="costs", n_trials=5)
    found.fit(X, Y)
    kept = optuna.load_study(study_name="costs", storage=storage)
    for trial, record in zip(kept.get_trials(), found.result_.records, strict=True):
        assert trial.values == [record.value, record.cost("train_loss"), record.cost("seconds")]
    front = found.result_.pareto_front()
    assert {trial.number for trial in kept.best_trials} == {record.number for record in front}
    assert found.best_index_ == front[0].number
    assert found.best_score_ == max(found.cv_results_["mean_test_score"])
    report = write_report(found.result_, tmp_path / "report")["report.html"]
    assert "Pareto front" in report.read_text()


def test_a_cost_that_nobody_reports_is_named():
    with pytest.raises(StudyError, match=r"'train_los', did you mean 'train_loss'"):
        search(costs=["train_los"]).fit(X, Y)


def test_compared_and_watched_are_in_the_report(tmp_path):
    space = {"lr": [0.01, 0.1], "optimizer__momentum": [0.0, 0.9]}
    settings = {"sampler": "grid", "n_trials": None}
    by_default = search(space, **settings).fit(X, Y)
    assert set(by_default.result_.compare) == set(space)
    assert search(space).fit(X, Y).result_.compare == ()
    found = search(space, compare=["lr"], watch=["train_loss"], **settings).fit(X, Y)
    comparison = compare(found.result_)
    assert comparison.names == ("lr",)
    assert comparison.watch == ("train_loss",)
    assert len(comparison.groups) == 2
    assert "train_loss" in write_report(found.result_, tmp_path)["report.html"].read_text()


def test_enqueued_points_are_tried_first_and_in_their_order():
    points = [{"lr": 0.3}, {"lr": 0.002}, {"lr": 0.05}]
    found = search(enqueue=points, n_trials=4).fit(X, Y)
    assert found.cv_results_["params"][:3] == points
    assert [record.number for _, record in found.result_.enqueued_trials()] == [0, 1, 2]


def test_max_total_epochs_ends_the_search():
    found = search(n_trials=None, max_total_epochs=7).fit(X, Y)
    assert found.result_.stopped == "the budget of 7 epochs is spent"
    assert found.result_.epochs_run == 7
    assert [r.state for r in found.result_.records].count(TrialState.COMPLETE) == 2
    assert len(found.cv_results_["params"]) == 2


class Names(BaseAnalysis):
    """How many rows the winner was fitted on, and whether another fit predicts the same."""

    def compute(self, winner):
        again = winner.refit()
        same = again.predict_proba(winner.X).shape == winner.estimator.predict_proba(winner.X).shape
        return {"n": len(winner.X), "same": same, "first": winner.ranked[0].number}

    def summarize(self, data):
        return [("n", str(data["n"]))]

    def plot(self, data):
        raise NotImplementedError


def test_analyses_are_made_of_the_winner_and_kept(tmp_path):
    storage = f"sqlite:///{tmp_path}/s.db"
    found = search(analyses=[Names(), "confusion"], storage=storage, study_name="kept")
    found.fit(HELD_OUT)
    assert found.analyses_["names"]["n"] == 100
    assert found.analyses_["names"]["first"] == found.best_index_
    assert found.analyses_["confusion"]["accuracy"] == found.test_score_
    assert found.test_score_ == found.score(HELD_OUT.X_test, HELD_OUT.y_test)
    loaded = load_result("kept", storage)
    assert json.dumps(loaded.analyses) == json.dumps(found.analyses_)
    assert loaded.test_score == found.test_score_
    assert loaded.refit_seconds == found.refit_time_
    found.set_params(analyses=None, study_name="other").fit(X, Y)
    assert not hasattr(found, "analyses_")
    assert not hasattr(found, "test_score_")


def test_an_analysis_sees_the_trial_that_a_function_chose():
    worst = search(analyses=[Names()], refit=lambda table: int(table["mean_test_score"].argmin()))
    worst.fit(X, Y)
    assert worst.analyses_["names"]["first"] == worst.best_index_
    assert worst.best_index_ != worst.result_.best_record.number


def test_a_study_data_brings_its_groups_and_its_refit_part():
    groups = np.arange(90) % 3
    data = StudyData(X=X[:90], y=Y[:90], groups=groups, X_refit=X[:140], y_refit=Y[:140])
    found = search(cv=LeaveOneGroupOut(), analyses=[Names()]).fit(data)
    assert found.n_splits_ == 3
    assert found.analyses_["names"]["n"] == 140
    for given in ({"y": Y[:90]}, {"groups": groups}):
        with pytest.raises(DataError, match=f"leave out the {next(iter(given))} of fit"):
            found.fit(data, **given)


# -- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({"n_threads": 0}, ValueError, "'n_threads' parameter of HPOSearchCV must be an int"),
        ({"n_threads": None}, ValueError, "'n_threads' parameter of HPOSearchCV must be an int"),
        ({"device": 0}, ValueError, "'device' parameter of HPOSearchCV must be an instance of"),
        ({"max_total_epochs": 0}, ValueError, "'max_total_epochs' parameter of HPOSearchCV"),
        ({"costs": "seconds"}, ValueError, "'costs' parameter of HPOSearchCV"),
        ({"costs": [1]}, StudyError, "HPOSearchCV's 'costs' must be a list .* Got .1. instead"),
        ({"costs": ["seconds"], "sampler": "cmaes"}, PluginError, "searches for one objective"),
        ({"tracker": "mlflwo"}, PluginError, "did you mean 'mlflow'"),
        ({"compare": "lr"}, ValueError, "'compare' parameter of HPOSearchCV"),
        ({"compare": ["lr"]}, StudyError, "'compare' names 'lr', which has a continuous range"),
        ({"compare": ["rl"]}, StudyError, "'compare' names 'rl', which is not in the search"),
        ({"watch": "train_loss"}, ValueError, "'watch' parameter of HPOSearchCV"),
        ({"analyses": "confusion"}, ValueError, "'analyses' parameter of HPOSearchCV"),
        ({"analyses": ["confusoin"]}, PluginError, "did you mean 'confusion'"),
        ({"analyses": ["confusion"]}, StudyError, "'analyses' names confusion, made on the held-"),
        ({"analyses": [Names()], "refit": False}, StudyError, "'analyses' are made of the refitte"),
        ({"n_trials": None}, StudyError, "max_total_epochs=None would search for ever"),
    ],
)
def test_mistakes_are_told_with_the_name_of_the_parameter(settings, error, told):
    with pytest.raises(error, match=told):
        search(**settings).fit(X, Y)
