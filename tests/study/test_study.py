"""Study and run_study: from Python, on real parts."""

import importlib
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.linear_model import SGDClassifier
from skorch import NeuralNetClassifier
from torch import nn

import hpo
from hpo import Study, StudyData, load_result, run_study
from hpo._stop_signal import StopSignal
from hpo.exceptions import (
    DataError,
    HpoError,
    NoCompletedTrialError,
    PluginError,
    SpaceError,
    StudyError,
)
from hpo.testing.backends import Recorder, timeless

SPACE = {
    "lr": {"type": "float", "low": 1e-3, "high": 1.0, "log": True},
    "optimizer": ["torch.optim.SGD", "torch.optim.Adam"],
    "optimizer__momentum": {
        "type": "float",
        "low": 0.0,
        "high": 0.9,
        "when": {"optimizer": "torch.optim.SGD"},
    },
}


def iris():
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order].astype("float32"), y[order].astype("int64")
    return StudyData(X=X[:120], y=y[:120], X_test=X[120:], y_test=y[120:])


def net():
    return NeuralNetClassifier(
        nn.Linear,
        module__in_features=4,
        module__out_features=3,
        criterion=nn.CrossEntropyLoss,
        max_epochs=5,
        batch_size=16,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )


class Broken(ClassifierMixin, BaseEstimator):
    """Fails with a message of its own for each size."""

    def __init__(self, size=1):
        self.size = size

    def fit(self, X, y):
        raise ArithmeticError(f"no {self.size}")

    def predict(self, X):
        return X[:, 0]


@pytest.fixture
def study(tmp_path):
    return Study(
        name="iris",
        estimator=net(),
        data=iris,
        search_space=SPACE,
        cv=3,
        n_trials=10,
        storage=f"journal:///{tmp_path}/hpo.journal",
        tracker="null",
    )


def test_a_study_names_its_winner_refits_it_and_opens_the_held_out_test_set(study):
    result = run_study(study)
    assert result.n_trials == 10
    assert result.best_score == max(r.value for r in result.top(10))
    assert result.best_score > 0.7
    assert isinstance(result.resolved_params["optimizer"], type)
    data = iris()
    assert result.test_score == result.estimator.score(data.X_test, data.y_test)
    assert len(result.estimator.history) == result.best_step == result.refit_epochs
    pickle.loads(pickle.dumps(result.estimator))


def test_running_again_adds_nothing_and_more_trials_go_on(study):
    first = run_study(study)
    again = run_study(study, reuse_refit=True)
    assert [timeless(r) for r in again.records] == [timeless(r) for r in first.records]
    assert again.test_score == first.test_score
    assert again.estimator is None
    more = run_study(study.replace(n_trials=13))
    assert [timeless(r) for r in more.records[:10]] == [timeless(r) for r in first.records]
    assert more.n_trials == 13


def test_interrupted_and_resumed_is_the_study_that_ran_through(study):
    whole = run_study(study.replace(storage=None))
    part = run_study(study.replace(n_trials=4))
    rest = run_study(study)
    assert part.n_trials == 4
    assert [timeless(r) for r in rest.records] == [timeless(r) for r in whole.records]


def test_a_fresh_start_keeps_the_old_trials(study):
    old = run_study(study.replace(n_trials=3))
    new = run_study(study.replace(n_trials=2, seed=5), fresh=True)
    assert (old.name, new.name) == ("iris", "iris@2")
    assert load_result("iris", study.storage).n_trials == 2
    assert load_result("iris@1", study.storage).n_trials == 3
    assert run_study(study.replace(n_trials=4, seed=5)).name == "iris@2"


def test_another_definition_under_the_same_name_is_refused(study):
    run_study(study.replace(n_trials=2))
    changed = study.replace(seed=1, search_space={"lr": SPACE["lr"]}, n_trials=3)
    with pytest.raises(StudyError, match=r"seed: 0 -> 1\n  search space: optimizer: no longer"):
        run_study(changed)
    assert load_result("iris", study.storage).n_trials == 2


def test_a_study_is_read_back_from_its_storage(study):
    result = run_study(study)
    read = load_result("iris", study.storage)
    assert [timeless(r) for r in read.records] == [timeless(r) for r in result.records]
    assert read.test_score == result.test_score
    assert read.space.fingerprint == hpo.SearchSpace.load(SPACE).fingerprint


def test_grid_tries_every_point_once(study):
    grid = {"lr": [0.01, 0.1, 0.5], "batch_size": [16, 32]}
    result = run_study(study.replace(search_space=grid, sampler="grid", n_trials=None))
    tried = [(r.trial.params["batch_size"], r.trial.params["lr"]) for r in result.records]
    assert tried == [(b, lr) for b in (16, 32) for lr in (0.01, 0.1, 0.5)]


def test_enqueued_parameters_are_tried_first(study):
    first = {"lr": 0.123, "optimizer": "torch.optim.Adam"}
    result = run_study(study.replace(enqueue=[first], n_trials=2))
    assert result.records[0].trial.params == first


def test_processes_give_the_same_reports(study):
    options = {"pruner": "nop", "sampler": "random", "storage": None, "n_trials": 4}
    serial = run_study(study.replace(**options))
    process = run_study(study.replace(n_jobs=2, **options))
    assert [timeless(r) for r in serial.records] == [timeless(r) for r in process.records]
    assert serial.test_score == process.test_score


def test_trials_that_raise_are_recorded_and_the_study_goes_on(study):
    space = {"batch_size": [16, -3], "lr": SPACE["lr"]}
    result = run_study(study.replace(search_space=space))
    failed = [r for r in result.records if str(r.state) == "failed"]
    assert failed
    assert result.n_complete
    assert all(r.trial.params["batch_size"] == -3 and "Traceback" in r.error for r in failed)
    assert f"{len(failed)} of 10 trials failed." in result.failure_summary()


def test_all_trials_failing_ends_with_the_grouped_summary(study):
    broken = study.replace(estimator=Broken(), search_space={"size": [3, 4]}, fail_fast=None)
    with pytest.raises(NoCompletedTrialError, match=r"All the 2 trials failed\. \d failed with: "):
        run_study(broken)


def test_a_scikit_learn_estimator_steps_by_partial_fit(study):
    sgd = study.replace(
        estimator=SGDClassifier(random_state=0),
        search_space={"alpha": {"type": "float", "low": 1e-6, "high": 1.0, "log": True}},
        epochs=4,
        n_trials=3,
    )
    result = run_study(sgd)
    assert {r.last_reported.step for r in result.records} <= {1, 2, 3, 4}
    assert result.records[0].last_step == 4


def test_sample_weights_of_the_data_reach_the_estimator(study):
    data = iris()
    weighted = StudyData(X=data.X, y=data.y, sample_weight=np.where(data.y == 0, 1.0, 0.0))
    options = {"estimator": SGDClassifier(random_state=0, tol=None), "n_trials": 1}
    space = {"alpha": [1e-4]}
    plain = run_study(study.replace(search_space=space, storage=None, **options))
    skewed = run_study(study.replace(search_space=space, data=weighted, storage=None, **options))
    assert skewed.best_score < plain.best_score - 0.2


def test_an_interrupt_keeps_what_is_there_and_leaves_the_test_set_held_out(study):
    interrupt = StopSignal()

    class Cut(Recorder):
        def on_report(self, record, report):
            if (record.number, report.step) == (2, 3):
                interrupt.request("Ctrl-C")

    study = study.replace(pruner="nop")
    result = run_study(study, interrupt=interrupt, observers=[Cut()])
    assert result.stopped == "Ctrl-C"
    assert (result.n_complete, result.n_interrupted) == (2, 1)
    assert result.test_score is None
    resumed = run_study(study)
    assert resumed.n_trials == 10
    assert resumed.records[3].trial.params == result.records[2].trial.params


def test_the_time_budget_ends_the_search_and_the_winner_is_still_named(study):
    result = run_study(study.replace(n_trials=None, timeout=1.5))
    assert result.stopped == "the time budget of 1.5 s is spent"
    assert result.test_score is not None


# -- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"n_trails": 3}, StudyError, "Study has no field 'n_trails', did you mean 'n_trials'?"),
        (
            {"n_trials": "many"},
            StudyError,
            "Study's 'n_trials' must be a whole number. Got 'many' instead",
        ),
        ({"n_trials": 0}, StudyError, "must be 1 or more"),
        ({"name": ""}, StudyError, "Study's 'name'"),
        ({"cv": 1}, DataError, "cv must be at least 2 folds. Got 1 instead."),
        ({"pruner": "medain"}, PluginError, "no pruner 'medain', did you mean 'median'"),
        ({"pruner": "median:peers=done"}, PluginError, "Got 'done' instead"),
        ({"executor": "serail"}, PluginError, "no executor 'serail', did you mean 'serial'"),
        ({"backend": "optunaa"}, PluginError, "no backend 'optunaa', did you mean 'optuna'"),
        ({"sampler": "tpe:seeed=1"}, PluginError, "no option 'seeed', did you mean 'seed'"),
        ({"search_space": {"lrr": [1, 2]}}, SpaceError, "did you mean 'lr'"),
        ({"search_space": "no.yaml"}, SpaceError, "no.yaml: there is no such file"),
        ({"data": lambda: 3}, StudyError, "must be .or return. a StudyData"),
        ({"scoring": "acuracy"}, DataError, "scoring: .*acuracy"),
        ({"estimator": nn.Linear(4, 3)}, DataError, "Wrap it"),
        ({"sampler": "grid"}, SpaceError, "lr"),
    ],
)
def test_mistakes_are_named_and_nothing_is_created(study, tmp_path, changes, error, message):
    with pytest.raises(error, match=message) as caught:
        run_study(study.replace(**changes))
    assert isinstance(caught.value, HpoError)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_field():
    with pytest.raises(StudyError, match="Study needs the field 'data'"):
        Study(name="x", estimator=net(), search_space={})


def test_a_study_is_frozen(study):
    with pytest.raises(ValueError, match="frozen"):
        study.name = "other"


def test_public_names():
    assert sorted(hpo.__all__) == list(hpo.__all__)
    for name in hpo.__all__:
        assert getattr(hpo, name) is not None
    assert set(hpo.__all__) <= set(dir(hpo))
    assert importlib.import_module("hpo.study").Study is Study
    assert torch is not None
