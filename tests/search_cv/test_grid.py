"""HPOSearchCV over a grid and without pruning is GridSearchCV."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.sparse import dok_array
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, get_scorer
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from hpo import HPOSearchCV
from hpo.exceptions import (
    DataError,
)

IRIS = load_iris(return_X_y=True)
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
    sparse = dok_array(IRIS[0]).tocsr(), dok_array(IRIS[0])  # the latter is a dict
    for X in sparse:
        ours = grid(KNeighborsClassifier(), {"p": [1, 2]}).fit(X, IRIS[1])
        assert_same_search(
            ours, GridSearchCV(KNeighborsClassifier(), {"p": [1, 2]}).fit(X, IRIS[1])
        )
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
