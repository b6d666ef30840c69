"""HPOSearchCV: a scikit-learn search, first by what GridSearchCV says."""

import os
import pickle
import signal
import warnings

import numpy as np
import optuna
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.callback import ProgressBar
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import accuracy_score, get_scorer
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.helper import SliceDict
from torch import nn

from hpo import HPOSearchCV, SearchSpace, load_result
from hpo.exceptions import (
    DataError,
    HpoError,
    NoCompletedTrialError,
    PluginError,
    SpaceError,
    StudyError,
)
from hpo.pruners import BasePruner, PruneDecision

IRIS = load_iris(return_X_y=True)
TWO = tuple(part[:100] for part in IRIS)
DIABETES = load_diabetes(return_X_y=True)
SCALED_KNN = Pipeline([("scale", StandardScaler()), ("knn", KNeighborsClassifier())])


def grid(estimator, space, **settings):
    return HPOSearchCV(
        estimator, space, **{"sampler": "grid", "pruner": "nop", "n_trials": None, **settings}
    )


def assert_same_search(ours, theirs):
    """Compare two fitted searches: results, the choice and what the choice does."""
    mine, expected = ours.cv_results_, theirs.cv_results_
    assert list(mine) == list(expected)
    assert mine["params"] == expected["params"]
    for key in set(expected) - {"params"}:
        assert type(mine[key]) is type(expected[key]), key
        assert mine[key].dtype == expected[key].dtype, key
        if key.startswith("param_"):
            assert mine[key].tolist() == expected[key].tolist()
            assert np.array_equal(mine[key].mask, expected[key].mask)
        elif "time" not in key:
            np.testing.assert_array_equal(mine[key], expected[key], err_msg=key)
    for name in ("best_index_", "best_params_", "best_score_", "n_splits_", "multimetric_"):
        assert hasattr(ours, name) == hasattr(theirs, name), name
        assert getattr(ours, name, None) == getattr(theirs, name, None), name


GRIDS = {
    "logistic": (LogisticRegression(max_iter=300), {"C": [0.01, 1.0, 10.0]}, IRIS),
    "ridge": (Ridge(), {"fit_intercept": [True, False], "alpha": [0.1, 1, 10.0]}, DIABETES),
    "knn": (KNeighborsClassifier(), {"weights": ["uniform", "distance"], "p": [1, 2]}, IRIS),
    "tree": (DecisionTreeClassifier(random_state=3), {"max_depth": [None, 1, 3]}, IRIS),
    "pipeline": (
        SCALED_KNN,
        {"scale": [StandardScaler(), MinMaxScaler(), "passthrough"], "knn__n_neighbors": [1, 5]},
        IRIS,
    ),
}


@pytest.mark.parametrize(("estimator", "space", "data"), GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("train", [False, True])
def test_a_search_over_a_grid_is_grid_search(estimator, space, data, train):
    # estimators in the space are told apart by identity: both searches get the same objects
    settings = {"return_train_score": train, "cv": 3}
    ours = grid(estimator, space, **settings).fit(*data)
    theirs = GridSearchCV(estimator, space, **settings).fit(*data)
    assert_same_search(ours, theirs)
    assert ours.score(*data) == theirs.score(*data)
    np.testing.assert_array_equal(ours.predict(data[0]), theirs.predict(data[0]))
    assert ours.result_.best_record.number == ours.best_index_
    assert ours.result_.best_score == ours.best_score_


def test_scores_of_the_records_are_those_of_the_table_to_the_last_bit():
    search = grid(Ridge(), {"alpha": np.linspace(0.1, 9, 12).tolist()}, cv=10).fit(*DIABETES)
    means = search.cv_results_["mean_test_score"].tolist()
    assert [record.value for record in search.result_.records] == means


def test_estimators_of_the_space_stay_as_they_are():
    scalers = [StandardScaler(), MinMaxScaler()]
    search = grid(SCALED_KNN, {"scale": scalers}).fit(*IRIS)
    assert any(search.best_params_["scale"] is scaler for scaler in scalers)
    assert not any(hasattr(scaler, "n_features_in_") for scaler in scalers)


def worst(results):
    return int(
        np.argmax(results["rank_test_score" if "rank_test_score" in results else "rank_test_auc"])
    )


def two_scores(estimator, X, y):
    return {"acc": accuracy_score(y, estimator.predict(X)), "neg": -float(np.mean(X))}


@pytest.mark.parametrize(
    ("scoring", "refit"),
    [
        ("f1_macro", True),
        (["accuracy", "f1_macro"], "f1_macro"),
        ({"acc": "accuracy", "auc": get_scorer("roc_auc_ovr")}, "auc"),
        ({"acc": "accuracy", "auc": "roc_auc_ovr"}, False),
        ({"acc": "accuracy", "auc": "roc_auc_ovr"}, worst),
        (None, worst),
        (None, False),
        (two_scores, "acc"),
        (two_scores, "neg"),
        (two_scores, False),
        (lambda estimator, X, y: -float(np.mean(estimator.predict(X) != y)), True),
        (lambda estimator, X, y: {"score": 1.0, "acc": estimator.score(X, y)}, "acc"),
        (lambda estimator, X, y: {"score": 1.0, "acc": estimator.score(X, y)}, False),
    ],
)
def test_every_form_of_scoring_and_refit_is_that_of_grid_search(scoring, refit):
    space = {"knn__n_neighbors": [1, 5, 60]}
    settings = {"scoring": scoring, "refit": refit, "return_train_score": True, "cv": 3}
    ours = grid(SCALED_KNN, space, **settings).fit(*IRIS)
    theirs = GridSearchCV(SCALED_KNN, space, **settings).fit(*IRIS)
    assert_same_search(ours, theirs)
    assert hasattr(ours, "predict_proba") == hasattr(theirs, "predict_proba") == bool(refit)
    if refit:
        assert ours.refit_time_ > 0
        if not (callable(refit) and ours.multimetric_):  # scikit-learn's `score` knows no answer
            assert ours.score(*IRIS) == theirs.score(*IRIS)


@pytest.mark.parametrize("refit", [True, "f1"])
def test_several_scores_need_a_name_in_refit(refit):
    for scoring in (["accuracy", "f1_macro"], two_scores):
        with pytest.raises(ValueError, match="refit must be set to a scorer key"):
            grid(SCALED_KNN, {"knn__p": [1, 2]}, scoring=scoring, refit=refit).fit(*IRIS)


def test_groups_and_a_splitter_are_those_of_grid_search():
    groups = np.arange(150) % 7
    space = {"n_neighbors": [1, 5]}
    ours = grid(KNeighborsClassifier(), space, cv=GroupKFold(4)).fit(*IRIS, groups=groups)
    theirs = GridSearchCV(KNeighborsClassifier(), space, cv=GroupKFold(4)).fit(*IRIS, groups=groups)
    assert_same_search(ours, theirs)
    splits = list(KFold(3, shuffle=True, random_state=1).split(IRIS[0]))
    assert_same_search(
        grid(KNeighborsClassifier(), space, cv=iter(splits)).fit(*IRIS),
        GridSearchCV(KNeighborsClassifier(), space, cv=iter(splits)).fit(*IRIS),
    )
    with pytest.raises(DataError, match="'groups' parameter should not be None"):
        grid(KNeighborsClassifier(), space, cv=GroupKFold(4)).fit(*IRIS)


def test_sample_weights_without_routing_are_those_of_grid_search():
    weights = np.linspace(0, 1, 150)
    space = {"C": [0.01, 1.0]}
    estimator = LogisticRegression(max_iter=300)
    ours = grid(estimator, space).fit(*IRIS, sample_weight=weights)
    theirs = GridSearchCV(estimator, space).fit(*IRIS, sample_weight=weights)
    assert_same_search(ours, theirs)
    np.testing.assert_allclose(ours.best_estimator_.coef_, theirs.best_estimator_.coef_)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
def test_metadata_goes_where_it_is_requested():
    weights, groups = np.linspace(0.1, 1, 150), np.arange(150) % 5
    estimator = LogisticRegression(max_iter=300).set_fit_request(sample_weight=True)
    pipeline = Pipeline([("scale", StandardScaler()), ("clf", estimator)])
    pipeline.named_steps["scale"].set_fit_request(sample_weight=False)
    scorer = get_scorer("accuracy").set_score_request(sample_weight=True)
    for of, name in ((estimator, "C"), (pipeline, "clf__C")):
        settings = {"scoring": scorer, "cv": GroupKFold(3)}
        ours = grid(of, {name: [0.01, 1.0]}, **settings)
        theirs = GridSearchCV(of, {name: [0.01, 1.0]}, **settings)
        for search in (ours, theirs):
            search.fit(*IRIS, sample_weight=weights, groups=groups)
        assert_same_search(ours, theirs)
        weighted = ours.score(*IRIS, sample_weight=weights)
        assert weighted == theirs.score(*IRIS, sample_weight=weights) != ours.score(*IRIS)


@pytest.mark.usefixtures("routing")
def test_metadata_that_nobody_requests_is_refused():
    with pytest.raises(ValueError, match="sample_weight"):
        grid(LogisticRegression(), {"C": [1.0]}).fit(*IRIS, sample_weight=np.ones(150))


def test_data_frames_sparse_matrices_and_kernels():
    frame = pd.DataFrame(IRIS[0], columns=list("abcd"), index=np.arange(150) + 7)
    target = pd.Series(IRIS[1], index=frame.index)
    ours = grid(SCALED_KNN, {"knn__p": [1, 2]}).fit(frame, target)
    assert ours.feature_names_in_.tolist() == list("abcd")
    assert ours.n_features_in_ == 4
    assert ours.classes_.tolist() == [0, 1, 2]
    assert_same_search(ours, GridSearchCV(SCALED_KNN, {"knn__p": [1, 2]}).fit(frame, target))
    kernel = rbf_kernel(IRIS[0])
    settings = SVC(kernel="precomputed"), {"C": [0.1, 1.0]}
    assert_same_search(
        grid(*settings).fit(kernel, IRIS[1]), GridSearchCV(*settings).fit(kernel, IRIS[1])
    )


class Picky(ClassifierMixin, BaseEstimator):
    """Takes no ``size`` of 2."""

    def __init__(self, size=1):
        self.size = size

    def fit(self, X, y):
        if self.size >= 2:
            raise ArithmeticError(f"no {self.size}")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[self.size])


@pytest.mark.parametrize("error_score", [np.nan, -1.0])
def test_a_trial_that_failed_gets_the_error_score(error_score):
    space = {"size": [0, 1, 2]}
    settings = {"error_score": error_score, "cv": 3, "return_train_score": True}
    with pytest.warns(FitFailedWarning) as caught:
        ours = grid(Picky(), space, **settings).fit(*IRIS)
    (warning,) = caught
    assert "1 of 3 trials failed. 1 failed with: ArithmeticError: no 2 in fold 0" in str(
        warning.message
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = GridSearchCV(Picky(), space, **settings).fit(*IRIS)
    assert_same_search(ours, theirs)
    assert ours.result_.records[2].error.startswith("Traceback")


def test_error_score_raise_ends_with_the_error_itself():
    with pytest.raises(ArithmeticError, match="no 2") as caught:
        grid(Picky(), {"size": [0, 2, 3]}, error_score="raise").fit(*IRIS)
    assert "Trial 1 failed with the parameters {'size': 2}." in caught.value.__notes__
    with pytest.raises(HpoError, match=r"Trial 1 failed.*ArithmeticError: no 2") as told:
        grid(Picky(), {"size": [0, 2]}, error_score="raise", n_jobs=2).fit(*IRIS)
    assert "Traceback" in str(told.value)


def test_all_trials_failing_is_one_error_with_the_summary():
    search = grid(Picky(), {"size": [2, 3, 4]}, cv=3)
    with pytest.raises(ValueError, match=r"All the 3 trials failed\. 1 failed with: Ari") as caught:
        search.fit(*IRIS)
    assert isinstance(caught.value, NoCompletedTrialError)
    with pytest.raises(NotFittedError):
        search.predict(IRIS[0])


class AtOnce(BasePruner):
    """Stops a trial at its second step, the odd ones alone."""

    def decide(self, record, peers):
        return PruneDecision(record.number % 2 == 1 and record.last_step == 2, "odd")


class Sinking(ClassifierMixin, BaseEstimator):
    """Scores ``start``, and less with each step."""

    def __init__(self, start=0.5):
        self.start = start

    def partial_fit(self, X, y, classes=None):
        self.steps_ = getattr(self, "steps_", 0) + 1
        return self

    fit = partial_fit

    def predict(self, X):
        return np.zeros(len(X))

    def score(self, X, y):
        return self.start / self.steps_


def test_the_best_row_is_complete_however_well_a_pruned_trial_began():
    search = grid(Sinking(), {"start": [0.1, 0.9, 0.2, 0.8]}, pruner=AtOnce(), epochs=4)
    search.fit(*TWO)
    assert search.cv_results_["mean_test_score"].tolist() == [0.1, 0.9, 0.2, 0.8]
    assert search.cv_results_["rank_test_score"].tolist() == [2, 3, 1, 4]
    assert search.best_index_ == search.result_.best_record.number == 2
    assert search.best_params_ == {"start": 0.2}
    assert search.n_steps_ == search.best_estimator_.steps_ == 1
    assert search.result_.epochs_saved_fraction == 0.25
    by_function = clone(search).set_params(refit=lambda results: len(results["params"]) - 1)
    assert by_function.fit(*TWO).best_index_ == 2
    assert by_function.best_params_ == {"start": 0.2}


# -- skorch ----------------------------------------------------------------------------------


def net(**settings):
    return NeuralNetClassifier(
        nn.Linear,
        **{
            "module__in_features": 4,
            "module__out_features": 3,
            "criterion": nn.CrossEntropyLoss,
            "max_epochs": 5,
            "lr": 0.1,
            "batch_size": 32,
            "iterator_train__shuffle": True,
            "train_split": None,
            "verbose": 0,
            **settings,
        },
    )


def iris_for_torch():
    return IRIS[0].astype("float32"), IRIS[1].astype("int64")


NET_SPACE = {
    "lr": {"type": "float", "low": 1e-3, "high": 0.5, "log": True},
    "optimizer": ["torch.optim.SGD", "torch.optim.Adam"],
    "optimizer__momentum": {
        "type": "float",
        "low": 0.0,
        "high": 0.9,
        "when": {"optimizer": "torch.optim.SGD"},
    },
}


def test_a_net_is_searched_refitted_cloned_and_pickled():
    X, y = iris_for_torch()
    estimator = net(max_epochs=10, batch_size=16)
    search = HPOSearchCV(estimator, NET_SPACE, n_trials=12, random_state=0, cv=3).fit(X, y)
    assert search.best_score_ > 0.9
    assert search.best_params_["optimizer"] in (torch.optim.SGD, torch.optim.Adam)
    assert search.result_.n_pruned > 0
    assert search.best_estimator_.max_epochs == search.n_steps_ == search.result_.best_step
    assert len(search.best_estimator_.history) == search.n_steps_
    assert search.score(X, y) > 0.8
    table = search.cv_results_
    assert table["rank_test_score"][search.best_index_] == 1
    assert table["param_optimizer__momentum"].mask.any()
    again = clone(search).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), search.predict_proba(X))
    loaded = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(loaded.predict_proba(X), search.predict_proba(X))
    assert loaded.result_.records == search.result_.records


def test_two_processes_give_the_results_of_one():
    X, y = iris_for_torch()
    space = {"lr": {"type": "float", "low": 0.01, "high": 0.2}, "module__bias": [True, False]}
    settings = {"sampler": "random", "pruner": "nop", "n_trials": 4, "cv": 3, "random_state": 1}
    one = HPOSearchCV(net(max_epochs=2), space, **settings).fit(X, y)
    two = HPOSearchCV(net(max_epochs=2), space, n_jobs=2, **settings).fit(X, y)
    for key, column in one.cv_results_.items():
        if "time" not in key:
            np.testing.assert_array_equal(column, two.cv_results_[key])
    assert one.best_params_ == two.best_params_
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_a_net_takes_a_dict_of_arrays_and_tensors():
    X, y = iris_for_torch()
    settings = {"sampler": "grid", "pruner": "nop", "cv": 3, "random_state": 0}
    for form in ({"input": X}, SliceDict(input=X), torch.as_tensor(X)):
        search = HPOSearchCV(net(), {"lr": [0.1]}, **settings)
        assert search.fit(form, torch.as_tensor(y)).best_score_ > 0.5


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_a_net_that_diverges_is_never_the_best():
    X, y = iris_for_torch()
    scorings = (
        {"nll": "neg_log_loss"},
        lambda e, X, y: {"nll": get_scorer("neg_log_loss")(e, X, y)},
    )
    for scoring in scorings:
        search = grid(net(), {"lr": [1e38, 0.01]}, scoring=scoring, refit="nll", random_state=0)
        search.fit(X * 1e3, y)
        assert search.best_params_ == {"lr": 0.01}
        assert search.cv_results_["rank_test_nll"].tolist() == [2, 1]
        assert "diverged" in search.result_.records[0].reason


def scored_twice(estimator, X, y):
    return {"nll": get_scorer("neg_log_loss")(estimator, X, y), "acc": estimator.score(X, y)}


def test_scores_that_a_function_names_are_not_mixed_with_losses_of_a_net():
    X, y = iris_for_torch()
    X[0] = 1e30
    rest = np.arange(100, 150)
    folds = [(np.arange(100), rest), (np.arange(1, 100), rest)]  # the first of them diverges
    search = grid(net(max_epochs=2), {"lr": [0.1]}, scoring=scored_twice, refit=False)
    search.fit(X[1:], y[1:])
    assert [key for key in search.cv_results_ if key.startswith("mean_test")] == [
        "mean_test_nll",
        "mean_test_acc",
    ]
    (record,) = search.result_.records
    assert record.value == search.cv_results_["mean_test_nll"][0]
    with pytest.raises(NoCompletedTrialError, match="diverged"):
        search.set_params(cv=folds).fit(X, y)


# -- as a part of something larger ---------------------------------------------------------------


def test_it_is_a_step_of_a_pipeline_and_is_nested():
    search = HPOSearchCV(
        LogisticRegression(max_iter=300),
        {"C": {"type": "float", "low": 1e-3, "high": 10.0, "log": True}},
        n_trials=4,
        cv=3,
        random_state=0,
    )
    pipeline = Pipeline([("scale", StandardScaler()), ("search", search)])
    scores = cross_val_score(pipeline, *IRIS, cv=3)
    assert scores.min() > 0.9
    np.testing.assert_array_equal(scores, cross_val_score(pipeline, *IRIS, cv=3))
    X, y = iris_for_torch()
    X = StandardScaler().fit_transform(X)
    nested = grid(net(batch_size=8), {"lr": [1e-6, 0.1]}, cv=2, random_state=0)
    scores = cross_val_score(nested, X, y, cv=KFold(2, shuffle=True, random_state=0))
    assert scores.min() > 0.6
    outer = GridSearchCV(search, {"estimator__fit_intercept": [True, False]}, cv=2).fit(*IRIS)
    assert outer.best_estimator_.best_score_ > 0.9


def test_a_stepwise_estimator_is_refitted_for_its_best_number_of_steps():
    search = HPOSearchCV(
        SGDClassifier(random_state=0),
        {"alpha": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True}},
        n_trials=4,
        epochs=6,
        cv=3,
        random_state=0,
    ).fit(*IRIS)
    assert len(search.result_.best_record.reports) == 6
    # t_ counts the rows seen, from 1
    assert search.best_estimator_.t_ == 1 + search.n_steps_ * len(IRIS[1])


# -- settings ----------------------------------------------------------------------------------


def test_random_state_rules_what_is_proposed():
    def proposed(random_state, times=1):
        search = HPOSearchCV(
            Ridge(),
            {"alpha": {"type": "float", "low": 0.1, "high": 9.0}},
            n_trials=3,
            sampler="random",
            random_state=random_state,
        )
        return [search.fit(*DIABETES).cv_results_["param_alpha"].tolist() for _ in range(times)]

    assert proposed(1) == proposed(1) != proposed(2)
    first, second = proposed(None, 2)
    assert first != second
    first, second = proposed(np.random.RandomState(0), 2)
    assert first != second
    assert [first, second] == proposed(np.random.RandomState(0), 2)


def test_a_sampler_starts_anew_with_each_fit():
    space = {"alpha": {"type": "float", "low": 0.1, "high": 9.0}}
    sampler = optuna.samplers.RandomSampler(seed=0)
    search = HPOSearchCV(Ridge(), space, n_trials=3, sampler=sampler)
    first = search.fit(*DIABETES).cv_results_["params"]
    assert search.fit(*DIABETES).cv_results_["params"] == first


def test_the_search_space_comes_as_a_path_or_a_space(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("alpha: [0.1, 1.0]\n")
    for space in (path, str(path), SearchSpace.load(path)):
        assert len(grid(Ridge(), space).fit(*DIABETES).cv_results_["params"]) == 2


def test_a_study_in_a_storage_goes_on_where_it_ended(tmp_path):
    storage = f"sqlite:///{tmp_path}/hpo.db"
    space = {"alpha": {"type": "float", "low": 0.1, "high": 9.0}}
    search = HPOSearchCV(Ridge(), space, n_trials=2, storage=storage)
    first = search.fit(*DIABETES).result_
    more = clone(search).set_params(n_trials=4).fit(*DIABETES).result_
    assert more.name == first.name
    assert more.records[:2] == first.records
    assert more.n_trials == 4
    assert load_result(first.name, storage)[0].n_trials == 4
    assert cross_val_score(search, *DIABETES, cv=2).shape == (2,)  # studies of their own
    named = clone(search).set_params(study_name="mine").fit(*DIABETES)
    assert named.result_.name == "mine"
    with pytest.raises(StudyError, match="another data and another folds"):
        named.fit(DIABETES[0][:300], DIABETES[1][:300])


# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
def test_trials_are_tracked_in_mlflow(tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    search = grid(Ridge(), {"alpha": [0.1, 1.0]}, tracking_uri=uri, study_name="ridge")
    search.fit(*DIABETES)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments)
    assert len(runs) == 3
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.data.metrics["best_score"] == pytest.approx(search.best_score_)


def test_verbose_tells_of_each_trial(capsys):
    grid(Sinking(), {"start": [0.5, 0.6]}, pruner=AtOnce(), epochs=3).fit(*TWO)
    assert capsys.readouterr().out == ""
    grid(Sinking(), {"start": [0.5, 0.6]}, pruner=AtOnce(), epochs=3, verbose=1).fit(*TWO)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("[trial 1/2] complete score 0.5000 at step 1; ")
    assert lines[1].startswith("[trial 2/2] pruned score 0.6000 at step 1 (odd); ")
    assert lines[1].endswith("; start=0.6")
    grid(Sinking(), {"start": [0.5]}, epochs=2, verbose=2).fit(*TWO)
    assert "[trial 1/1] step 2: 0.2500" in capsys.readouterr().out


class Tasks:
    """A callback of scikit-learn that notes the tasks."""

    def __init__(self):
        self.heard = []

    def setup(self, estimator, context):
        self.heard.append("setup")

    def on_fit_task_begin(self, estimator, context, *, X=None):
        self.heard.append(("begin", context.task_name, context.task_id, len(X)))

    def on_fit_task_end(self, estimator, context):
        self.heard.append(("end", context.task_name, context.task_id))

    def teardown(self, estimator, context):
        self.heard.append("teardown")


def test_callbacks_of_scikit_learn_hear_the_trials_and_the_refit(capsys):
    tasks = Tasks()
    grid(Ridge(), {"alpha": [0.1, 1.0]}).set_callbacks(tasks).fit(*DIABETES)
    assert tasks.heard == [
        "setup",
        ("begin", "fit", 0, 442),
        ("begin", "search", 0, 442),
        ("begin", "trial", 0, 442),
        ("end", "trial", 0),
        ("begin", "trial", 1, 442),
        ("end", "trial", 1),
        ("end", "search", 0),
        ("begin", "refit", 1, 442),
        ("end", "refit", 1),
        ("end", "fit", 0),
        "teardown",
    ]
    search = HPOSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, n_trials=3)
    search.set_callbacks(ProgressBar()).fit(*DIABETES)
    assert "100%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({"search_space": {"alfa": [1.0]}}, SpaceError, "did you mean 'alpha'"),
        ({"search_space": {}}, SpaceError, "."),
        ({"estimator": nn.Linear(1, 1)}, DataError, "Wrap it"),
        ({"estimator": Ridge}, DataError, "is a class"),
        ({"n_trials": 0}, ValueError, "'n_trials' parameter of HPOSearchCV must be an int"),
        ({"timeout": 0}, ValueError, "'timeout' parameter of HPOSearchCV"),
        ({"n_trials": None}, StudyError, "would search for ever"),
        ({"sampler": "tpee"}, PluginError, "did you mean 'tpe'"),
        ({"pruner": "medain"}, PluginError, "did you mean 'median'"),
        ({"backend": "optunaa"}, PluginError, "did you mean 'optuna'"),
        ({"executor": "serail"}, PluginError, "did you mean 'serial'"),
        ({"executor": "serial:n_thread=2"}, PluginError, "did you mean 'n_threads'"),
        ({"executor": "process", "n_jobs": 0}, PluginError, "n_jobs must be a positive number"),
        ({"scoring": "r3"}, ValueError, "'scoring' parameter"),
        ({"error_score": "ignore"}, ValueError, "'error_score' parameter"),
        ({"cv": 1}, ValueError, "cv"),
    ],
)
def test_mistakes_are_told_by_fit_and_not_before(settings, error, told):
    search = HPOSearchCV(
        **{"estimator": Ridge(), "search_space": {"alpha": [0.1, 1.0]}, "n_trials": 2, **settings}
    )
    with pytest.raises(error, match=told):
        search.fit(*DIABETES)


def test_a_grid_larger_than_the_number_of_trials_is_told_of():
    search = grid(Ridge(), {"alpha": [0.1, 1.0, 10.0]}, n_trials=2)
    with pytest.warns(UserWarning, match="The grid has 3 points and n_trials=2"):
        search.fit(*DIABETES)
    assert len(search.cv_results_["params"]) == 2


def test_the_time_is_kept():
    search = HPOSearchCV(Sinking(), {"start": [0.1, 0.2]}, n_trials=None, timeout=0.3, epochs=2)
    search.fit(*TWO)
    assert search.result_.stopped == "the time budget of 0.3 s is spent"
    assert len(search.cv_results_["params"]) == len(search.result_.candidates) > 1


# -- Ctrl-C ------------------------------------------------------------------------------------


class Interrupted(Sinking):
    """Presses Ctrl-C where ``start`` is 0.3, in a fold, and where it is 0.7, at the refit."""

    def partial_fit(self, X, y, classes=None):
        if (self.start, len(X)) in {(0.3, 33), (0.7, 100)}:
            os.kill(os.getpid(), signal.SIGINT)
        return super().partial_fit(X, y)

    fit = partial_fit


UNEVEN = [(rows, np.arange(100)) for rows in (np.arange(0, 99, 3), np.arange(0, 100, 3))]
"""Folds of which one is interrupted."""


def test_the_first_ctrl_c_ends_the_search_and_keeps_what_is_complete():
    search = grid(Interrupted(), {"start": [0.1, 0.2, 0.3, 0.4]}, epochs=2, cv=UNEVEN)
    with pytest.warns(UserWarning, match="ended early .Ctrl-C.: the best of 2 complete"):
        search.fit(*TWO)
    assert search.best_params_ == {"start": 0.2}
    assert [p["start"] for p in search.cv_results_["params"]] == [0.1, 0.2]
    assert search.predict(TWO[0]).shape == (100,)


def test_ctrl_c_before_anything_is_complete_is_a_keyboard_interrupt():
    with pytest.raises(KeyboardInterrupt, match="no trial is complete"):
        grid(Interrupted(), {"start": [0.3, 0.4]}, epochs=2, cv=UNEVEN).fit(*TWO)


@pytest.mark.filterwarnings("ignore:The search was ended early:UserWarning")
def test_the_second_ctrl_c_is_a_keyboard_interrupt():
    search = grid(Interrupted(), {"start": [0.7, 0.3]}, epochs=2, cv=UNEVEN)
    with pytest.raises(KeyboardInterrupt):
        search.fit(*TWO)
    assert not hasattr(search, "result_")


class Impatient(Callback):
    """Presses Ctrl-C twice while the net is trained on all rows."""

    def on_epoch_end(self, net, dataset_train=None, **kwargs):
        if len(dataset_train) == 150:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)


def test_the_second_ctrl_c_ends_the_refit_of_a_net_too():
    # skorch takes the exception for a normal end of the training
    search = grid(net(callbacks=[Impatient()]), {"lr": [0.1]}, cv=2)
    with pytest.raises(KeyboardInterrupt):
        search.fit(*iris_for_torch())
