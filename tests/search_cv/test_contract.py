"""What scikit-learn's contract of a search asks of HPOSearchCV beyond a plain grid."""

import math
import re
import time
import warnings

import numpy as np
import optuna
import pandas as pd
import pytest
import scipy.stats as st
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    PredefinedSplit,
    RandomizedSearchCV,
    StratifiedKFold,
)
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from hpo import HPOSearchCV
from hpo.exceptions import DataError, NoCompletedTrialError, SpaceError
from hpo.trial import Cause

pytestmark = pytest.mark.slow

IRIS = load_iris(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)


def grid(estimator, space, **settings):
    return HPOSearchCV(
        estimator, space, **{"sampler": "grid", "pruner": None, "n_trials": None, **settings}
    )


# -- classes that partial_fit wants ----------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:A column-vector y was passed:")
@pytest.mark.parametrize(
    ("estimator", "name", "labels"),
    [
        (SGDClassifier(random_state=0), "alpha", IRIS[1].astype(float)),
        (SGDClassifier(random_state=0), "alpha", IRIS[1].reshape(-1, 1)),
        (SGDClassifier(random_state=0), "alpha", np.array(["a", "b", "c"])[IRIS[1]]),
        (SGDClassifier(random_state=0), "alpha", pd.Series(IRIS[1].astype("float32"))),
        (SGDClassifier(random_state=0), "alpha", torch.tensor(IRIS[1])),
        (SGDClassifier(random_state=0), "alpha", IRIS[1].tolist()),
        (GaussianNB(), "var_smoothing", IRIS[1] + 0.0),
        (MLPClassifier(3, random_state=0), "alpha", np.eye(3, dtype=int)[IRIS[1]]),
        (
            MultiOutputClassifier(SGDClassifier(random_state=0)),
            "estimator__alpha",
            np.c_[IRIS[1], IRIS[1] > 0],
        ),
    ],
)
def test_labels_of_every_kind_are_trained_in_steps(estimator, name, labels):
    settings = {"epochs": 2, "cv": KFold(3, shuffle=True, random_state=0)}
    search = grid(estimator, {name: [1e-4, 1e-2]}, **settings, error_score="raise")
    search.fit(IRIS[0], labels)
    assert all(len(record.reports) == 2 for record in search.result_.records)
    assert 0 <= search.best_score_ <= 1
    assert search.predict(IRIS[0]).shape[0] == 150


def test_a_class_that_a_fold_lacks_is_among_those_that_partial_fit_is_told():
    folds = PredefinedSplit(np.where(IRIS[1] == 2, 0, np.arange(150) % 2 - 1))
    search = grid(SGDClassifier(random_state=0), {"alpha": [1e-3]}, epochs=1, cv=folds)
    assert search.fit(IRIS[0], IRIS[1].astype(float)).best_estimator_.classes_.tolist() == [0, 1, 2]


# -- precomputed kernels ---------------------------------------------------------------------------

KERNEL = rbf_kernel(IRIS[0])


def test_a_kernel_gives_what_grid_search_gives():
    for X in (KERNEL, pd.DataFrame(KERNEL).to_numpy(), np.asfortranarray(KERNEL)):
        ours = grid(SVC(kernel="precomputed"), {"C": [0.1, 1.0]}).fit(X, IRIS[1])
        theirs = GridSearchCV(SVC(kernel="precomputed"), {"C": [0.1, 1.0]}).fit(X, IRIS[1])
        for key in ("mean_test_score", "split0_test_score"):
            np.testing.assert_array_equal(ours.cv_results_[key], theirs.cv_results_[key])


@pytest.mark.parametrize(
    ("X", "told"),
    [
        (np.c_[KERNEL, KERNEL[:, :50]], "X must be square. Got 150 x 200."),
        (KERNEL[:, :100], "X must be square. Got 150 x 100."),
        (KERNEL.tolist(), "which must be an array or a sparse matrix. Got a list."),
    ],
)
@pytest.mark.parametrize(
    "estimator",
    [
        SVC(kernel="precomputed"),
        KNeighborsClassifier(metric="precomputed"),
        Pipeline([("svc", SVC(kernel="precomputed"))]),
    ],
)
def test_what_is_no_kernel_is_refused_before_anything_is_trained(X, told, estimator):
    name = "n_neighbors" if hasattr(estimator, "metric") else "C"
    name = f"svc__{name}" if isinstance(estimator, Pipeline) else name
    with pytest.raises(DataError) as caught:
        grid(estimator, {name: [1, 2]}).fit(X, IRIS[1])
    assert told in str(caught.value)


def test_an_estimator_that_a_choice_makes_want_a_kernel_fails_alone():
    X = np.c_[KERNEL, KERNEL[:, :50]]
    with pytest.warns(Warning, match=r"1 of 2 trials failed.*X must be square. Got 150 x 200"):
        search = grid(SVC(), {"kernel": ["linear", "precomputed"]}).fit(X, IRIS[1])
    assert search.best_params_ == {"kernel": "linear"}


# -- scores that are not finite --------------------------------------------------------------------


class Odd(ClassifierMixin, BaseEstimator):
    """Scores ``value`` less a little by fold, and what ``odd`` says in the fold of that number."""

    fold = 0

    def __init__(self, value=0.5, odd=None, at=1, raises=False):
        self.value = value
        self.odd = odd
        self.at = at
        self.raises = raises

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        if self.raises:
            raise ArithmeticError("as asked")
        return self

    def predict(self, X):
        return np.zeros(len(X))

    def score(self, X, y):
        fold = int(X[0, 0])
        return self.value - fold / 100 if fold != self.at or self.odd is None else self.odd


NUMBERED = np.repeat(np.arange(3), 20).reshape(-1, 1).astype(float), np.arange(60) % 2
BY_NUMBER = PredefinedSplit(NUMBERED[0].ravel())


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("error_score", [math.nan, -7.0])
def test_a_fold_without_a_finite_score_keeps_the_others_of_its_row(odd, error_score):
    space = [{"value": [0.5, 0.9]}, {"value": [0.8], "odd": [odd]}, {"raises": [True]}]
    search = grid(Odd(), space, cv=BY_NUMBER, error_score=error_score)
    with warnings.catch_warnings(record=True, action="always") as caught:
        search.fit(*NUMBERED)
    told = [str(warning.message) for warning in caught]
    assert len(told) == 2
    assert "1 of 4 trials failed. 1 failed with: ArithmeticError: as asked in fold 0" in told[0]
    assert "One or more of the test scores are non-finite" in told[1]
    table = search.cv_results_
    rows = [[table[f"split{i}_test_score"][row] for i in range(3)] for row in range(4)]
    np.testing.assert_allclose(rows[0], [0.5, 0.49, 0.48])
    np.testing.assert_allclose(rows[2], [0.8, odd, 0.78])
    np.testing.assert_allclose(rows[3], [error_score] * 3)
    np.testing.assert_allclose(table["mean_test_score"][2], np.mean(rows[2]))
    assert table["rank_test_score"].tolist()[:2] == [2, 1]
    assert min(table["rank_test_score"][2:]) == 3
    assert search.best_params_ == {"value": 0.9}


@pytest.mark.parametrize("scoring", [["accuracy", "roc_auc"], {"a": "accuracy", "auc": "roc_auc"}])
@pytest.mark.filterwarnings("ignore:Only one class is present")
def test_of_several_scores_the_finite_ones_are_kept(scoring):
    one_class = PredefinedSplit(np.where(IRIS[1][:100] == 1, 0, -1))
    auc = list(scoring)[1]
    search = grid(Ridgy(), {"alpha": [0.1]}, cv=one_class, scoring=scoring, refit=auc)
    X, y = IRIS[0][:100], np.r_[np.zeros(50), np.ones(50)].astype(int)
    y[:10] = 1
    with (
        pytest.warns(UserWarning, match="test scores are non-finite"),
        pytest.raises(NoCompletedTrialError, match="no finite score in fold 0"),
    ):
        search.fit(X, y)
    assert math.isfinite(search.cv_results_[f"mean_test_{next(iter(scoring))}"][0])
    assert math.isnan(search.cv_results_[f"mean_test_{auc}"][0])


class Ridgy(LogisticRegression):
    """Has ``alpha`` for ``C``."""

    def __init__(self, alpha=1.0):
        super().__init__(max_iter=300)
        self.alpha = alpha

    def fit(self, X, y):
        self.C = 1 / self.alpha
        return super().fit(X, y)


def test_the_table_is_there_when_no_trial_is_complete():
    search = grid(Odd(raises=True), {"value": [0.1, 0.2]}, cv=BY_NUMBER, error_score=0.0)
    with pytest.raises(NoCompletedTrialError, match="All the 2 trials failed"):
        search.fit(*NUMBERED)
    assert search.cv_results_["mean_test_score"].tolist() == [0.0, 0.0]
    assert search.n_splits_ == 3
    assert not hasattr(search, "best_params_")


# -- rare classes ----------------------------------------------------------------------------------


def test_a_rare_class_is_warned_of_as_by_scikit_learn():
    y = IRIS[1].copy()
    y[(y == 2).nonzero()[0][3:]] = 1
    for cv in (5, StratifiedKFold(5)):
        with pytest.warns(UserWarning, match="The least populated class in y has only 3 members"):
            ours = grid(KNeighborsClassifier(), {"p": [1, 2]}, cv=cv).fit(IRIS[0], y)
        with pytest.warns(UserWarning, match="The least populated class in y has only 3 members"):
            theirs = GridSearchCV(KNeighborsClassifier(), {"p": [1, 2]}, cv=cv).fit(IRIS[0], y)
        for key in ("mean_test_score", "std_test_score"):
            np.testing.assert_array_equal(ours.cv_results_[key], theirs.cv_results_[key])
    with pytest.raises(DataError, match="n_splits=60 cannot be greater than the number of members"):
        grid(KNeighborsClassifier(), {"p": [1]}, cv=60).fit(*IRIS)


# -- a timeout shorter than a trial ----------------------------------------------------------------


class Slow(ClassifierMixin, BaseEstimator):
    """Takes a while for a step, and scores the number of its steps."""

    def __init__(self, seconds=0.05, start=0.0):
        self.seconds = seconds
        self.start = start

    def partial_fit(self, X, y, classes=None):
        time.sleep(self.seconds)
        self.classes_ = np.unique(y) if classes is None else classes
        self.steps_ = getattr(self, "steps_", 0) + 1
        return self

    fit = partial_fit

    def predict(self, X):
        return np.zeros(len(X))

    def score(self, X, y):
        return self.start + self.steps_


def test_a_timeout_shorter_than_a_trial_gives_its_best_report():
    space = {"start": [0.1, 0.2, 0.3]}
    search = HPOSearchCV(Slow(), space, n_trials=3, timeout=0.5, epochs=1000, cv=2)
    with pytest.warns(UserWarning, match="No trial is complete: the time budget of 0.5 s is spent"):
        search.fit(*IRIS)
    best = search.result_.best_record
    assert best.out_of_budget
    assert search.n_steps_ == best.last_step == search.best_estimator_.steps_
    assert search.best_score_ == pytest.approx(best.trial.params["start"] + best.last_step)
    assert search.cv_results_["params"][search.best_index_] == search.best_params_
    assert search.cv_results_["rank_test_score"][search.best_index_] == 1


def test_a_trial_that_made_its_last_step_in_time_is_complete_and_another_is_cut_off():
    space = {"seconds": [0.0, 1000.0]}
    search = HPOSearchCV(Slow(), space, n_trials=2, sampler="grid", timeout=5, cv=2)
    search.fit(*IRIS)
    assert [r.trial.params["seconds"] for r in search.result_.records] == [0.0, 1000.0]
    assert [r.cause for r in search.result_.records] == [None, Cause.BUDGET]
    assert search.best_params_ == {"seconds": 0.0}


def test_a_timeout_shorter_than_a_step_gives_an_error():
    search = HPOSearchCV(Slow(), {"start": [0.1]}, n_trials=1, timeout=1e-9, cv=2)
    with pytest.raises(NoCompletedTrialError, match="no trials yet"):
        search.fit(*IRIS)


# -- finite spaces ---------------------------------------------------------------------------------

FINITE = {"alpha": [0.1, 1.0, 10.0], "fit_intercept": [True, False]}
ALL_POINTS = {(a, i) for a in FINITE["alpha"] for i in FINITE["fit_intercept"]}


def tried(search):
    return [(p["alpha"], p["fit_intercept"]) for p in search.cv_results_["params"]]


@pytest.mark.filterwarnings(
    "ignore:Argument ``multivariate``:optuna.exceptions.ExperimentalWarning"
)
@pytest.mark.parametrize(
    "sampler", ["random", "tpe", "gp", "qmc", "cmaes", "optuna_tpe", "tpe:n_startup_trials=1"]
)
def test_no_point_of_a_finite_space_is_tried_twice(sampler):
    search = HPOSearchCV(Ridge(), FINITE, n_trials=5, sampler=sampler, random_state=0, cv=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # cmaes draws choices by itself
        search.fit(*DIABETES)
        assert len(set(tried(search))) == 5
        search.set_params(n_trials=40).fit(*DIABETES)
    assert len(tried(search)) == 6
    assert set(tried(search)) == ALL_POINTS


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_more_trials_than_points_are_told_of(n_jobs):
    search = HPOSearchCV(Ridge(), FINITE, n_trials=50, cv=2, n_jobs=n_jobs)
    with pytest.warns(UserWarning, match="total space of parameters 6 is smaller than n_trials=50"):
        search.fit(*DIABETES)
    assert set(tried(search)) == ALL_POINTS
    assert len(tried(search)) == 6


def test_no_number_of_trials_makes_all_points():
    search = HPOSearchCV(Ridge(), FINITE, n_trials=None, sampler="random", cv=2).fit(*DIABETES)
    assert set(tried(search)) == ALL_POINTS


def test_random_trials_that_are_as_many_as_the_points_are_the_grid():
    ours = HPOSearchCV(Ridge(), FINITE, n_trials=6, sampler="random", cv=2).fit(*DIABETES)
    theirs = RandomizedSearchCV(Ridge(), FINITE, n_iter=6, cv=2).fit(*DIABETES)
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    np.testing.assert_array_equal(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"]
    )


def test_a_conditional_finite_space_is_tried_whole():
    space = {
        "kernel": ["rbf", "poly", "linear"],
        "degree": {"type": "int", "low": 2, "high": 3, "when": {"kernel": "poly"}},
        "gamma": {"type": "float", "low": 0.1, "high": 0.3, "step": 0.1, "when": {"kernel": "rbf"}},
    }
    for sampler in ("tpe", "random"):
        search = HPOSearchCV(SVC(), space, n_trials=6, sampler=sampler, cv=2, random_state=1)
        search.fit(*IRIS)
        points = {tuple(sorted(p.items())) for p in search.cv_results_["params"]}
        assert len(points) == len(search.cv_results_["params"]) == 6


def test_a_study_gone_on_with_repeats_nothing(tmp_path):
    settings = {"storage": f"sqlite:///{tmp_path}/s.db", "cv": 2, "sampler": "random"}
    for n_trials, expected in ((2, 2), (4, 4), (6, 6)):
        search = HPOSearchCV(Ridge(), FINITE, n_trials=n_trials, **settings).fit(*DIABETES)
        assert len(set(tried(search))) == len(tried(search)) == expected


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    ("kind", "n_jobs"),
    [("brute", None), ("brute", 2), ("grid", None), ("grid", 2), ("part", None)],
)
def test_samplers_that_stop_the_study_have_no_more_trials(kind, n_jobs):
    sampler = {
        "brute": lambda: optuna.samplers.BruteForceSampler(seed=0),
        "grid": lambda: optuna.samplers.GridSampler(FINITE),
        "part": lambda: optuna.samplers.GridSampler(
            {"alpha": [1.0, 10.0], "fit_intercept": [True]}
        ),
    }[kind]()
    search = HPOSearchCV(Ridge(), FINITE, n_trials=None, sampler=sampler, cv=2, n_jobs=n_jobs)
    search.fit(*DIABETES)
    assert set(tried(search)) == (ALL_POINTS if kind != "part" else {(1.0, True), (10.0, True)})
    assert len(tried(search)) == len(set(tried(search)))


# -- other forms of a space ------------------------------------------------------------------------


def test_arrays_and_lists_of_grids_give_what_grid_search_gives():
    space = [
        {"kernel": ["rbf"], "C": np.logspace(-1, 1, 3), "gamma": np.array([0.1, 1.0])},
        {"kernel": ["poly"], "degree": range(2, 4)},
        {},
    ]
    ours = grid(SVC(), space, cv=3).fit(*IRIS)
    theirs = GridSearchCV(SVC(), space, cv=3).fit(*IRIS)
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    for key in ("mean_test_score", "rank_test_score", "split2_test_score"):
        np.testing.assert_array_equal(ours.cv_results_[key], theirs.cv_results_[key])
    for key in ("param_C", "param_kernel", "param_degree"):
        assert ours.cv_results_[key].dtype == theirs.cv_results_[key].dtype
        assert ours.cv_results_[key].tolist() == theirs.cv_results_[key].tolist()
    assert ours.best_params_ == theirs.best_params_


@pytest.mark.parametrize("sampler", ["random", "tpe:n_startup_trials=3", "qmc"])
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_distributions_of_scipy_are_searched(sampler, n_jobs):
    space = [
        {"kernel": ["rbf"], "C": st.expon(scale=10), "gamma": st.loguniform(1e-3, 1)},
        {"kernel": ["poly"], "degree": st.randint(1, 4), "coef0": st.uniform(0, 2)},
    ]
    search = HPOSearchCV(
        SVC(), space, n_trials=12, sampler=sampler, random_state=0, cv=2, n_jobs=n_jobs
    ).fit(*IRIS)
    ends = st.expon(scale=10).ppf([0.001, 0.999])
    for params, record in zip(search.cv_results_["params"], search.result_.records, strict=True):
        assert params == record.trial.params  # values, not quantiles
        if params["kernel"] == "rbf":
            assert ends[0] * (1 - 1e-9) <= params["C"] <= ends[1]
            assert 1e-3 <= params["gamma"] <= 1
        else:
            assert params["degree"] in {1, 2, 3}
            assert 0 <= params["coef0"] <= 2
    assert search.best_estimator_.get_params().items() >= search.best_params_.items()
    assert {params["kernel"] for params in search.cv_results_["params"]} == {"rbf", "poly"}


def test_an_empty_space_is_one_trial():
    for n_trials in (None, 1):
        search = HPOSearchCV(Ridge(), {}, n_trials=n_trials, cv=3).fit(*DIABETES)
        theirs = GridSearchCV(Ridge(), {}, cv=3).fit(*DIABETES)
        assert search.cv_results_["params"] == [{}]
        assert search.best_params_ == {}
        assert search.best_score_ == theirs.best_score_
    assert HPOSearchCV(Ridge(), {}, n_trials=None, sampler="grid").fit(*DIABETES).best_score_ > 0


class Loose(RegressorMixin, BaseEstimator):
    """Takes parameters that it does not list, as LightGBM's estimators do."""

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def get_params(self, deep=False):
        return {"alpha": self.alpha}

    def set_params(self, **params):
        vars(self).update(params)
        return self

    def fit(self, X, y):
        self.fitted_ = Ridge(self.alpha).fit(X, y)
        return self

    def predict(self, X):
        return self.fitted_.predict(X) + getattr(self, "shift", 0)


def test_a_parameter_that_only_set_params_knows_is_searched():
    search = grid(Loose(), {"shift": [0, 1000]}).fit(*DIABETES)
    assert search.best_params_ == {"shift": 0}
    assert search.cv_results_["mean_test_score"][1] < -1
    with pytest.raises(SpaceError, match="'alfa' is not a parameter of Ridge"):
        grid(Ridge(), {"alfa": [1]}).fit(*DIABETES)


# -- what is told ----------------------------------------------------------------------------------


def test_verbose_tells_of_each_trial_by_its_number_and_of_each_fold(capsys):
    grid(Odd(), {"value": [0.5, 0.6]}, cv=BY_NUMBER, verbose=1).fit(*NUMBERED)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("trial 0 complete: 0.4900  (1 of 2, ")
    assert lines[2].startswith("trial 1 complete: 0.5900  (2 of 2, ")
    assert lines[2].endswith("best so far)  value 0.6")
    assert [line for line in lines if "note" in line] == []
    assert re.fullmatch(r"search took \S+ s, refit \S+ s", lines[3])
    assert lines[4] == "StudyResult 'HPOSearchCV': 2 trials (2 complete)"
    search = grid(Odd(), {"value": [0.5]}, cv=BY_NUMBER, verbose=3, return_train_score=True)
    search.fit(*NUMBERED)
    told = capsys.readouterr().out
    assert "trial 0, epoch 1 of 1: 0.490" in told
    assert "trial 0, fold 1: score=(train=0.500, test=0.490)" in told


def test_notes_reach_verbose_and_a_warning(capsys):
    net = NeuralNetClassifier(nn.Linear, module__in_features=4, module__out_features=3, verbose=0)
    net.set_params(criterion=nn.CrossEntropyLoss, train_split=None, max_epochs=1)
    search = grid(net, {"lr": [0.1, 0.2]}, executor="fused", cv=2, verbose=1)
    search.set_params(estimator__callbacks=[("own", OwnCallback())])
    with pytest.warns(UserWarning, match="trained by 2 worker") as caught:
        search.fit(IRIS[0].astype("float32"), IRIS[1])
    notes = search.result_.notes
    assert notes
    assert {str(w.message) for w in caught} >= set(notes)
    assert caught[-1].filename == __file__
    printed = capsys.readouterr().out
    assert printed.count(f"note: {notes[0]}") == 1
    assert printed.count("trained: 2 process\n") == 1
    told = search.result_.to_frame()
    assert set(told["trained_by"]) == {"process"}
    assert all("callback 'own' (OwnCallback)" in why for why in told["trained_by_reason"])


class OwnCallback(Callback):
    """A callback that no batch of nets can have."""

    def on_batch_begin(self, net, **kwargs):
        self.seen_ = True


# -- a frame of numbers and categories -------------------------------------------------------------


class Net(nn.Module):
    def __init__(self, n=9, width=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, X):
        return self.layers(X)


def as_float32(X):
    return np.asarray(X, dtype="float32")


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "age": rng.normal(40, 10, 90),
            "rooms": rng.integers(0, 9, 90),
            "town": rng.choice(["a", "b", "c"], 90),
            "kind": pd.Categorical(rng.choice(["x", "y"], 90)),
            "new": rng.random(90) > 0.5,
        },
        index=np.arange(90) + 1000,
    )
    X.loc[1003, "age"] = np.nan
    return X, ((X["rooms"] > 4) ^ (X["town"] == "a")).astype("int64")


def mixed():
    numbers = Pipeline([("fill", SimpleImputer()), ("scale", StandardScaler())])
    columns = ColumnTransformer(
        [
            ("numbers", numbers, ["age", "rooms"]),
            ("choices", OneHotEncoder(sparse_output=False), ["town", "kind", "new"]),
        ]
    )
    net = NeuralNetClassifier(Net, criterion=nn.CrossEntropyLoss, max_epochs=2, lr=0.1)
    net.set_params(train_split=None, verbose=0)
    return Pipeline(
        [("columns", columns), ("float", FunctionTransformer(as_float32)), ("net", net)]
    )


@pytest.mark.filterwarnings("ignore:no trial is trained in a batch:UserWarning")
@pytest.mark.filterwarnings("ignore:.*trained:UserWarning")
def test_a_frame_of_numbers_and_categories_in_every_executor(frame):
    space = {"net__lr": [0.05, 0.2], "columns__numbers__scale": ["passthrough", StandardScaler()]}
    tables = {}
    for executor in ("serial", "process", "fused", "auto"):
        search = grid(mixed(), space, cv=2, executor=executor, random_state=0)
        tables[executor] = search.fit(*frame).cv_results_["mean_test_score"]
        assert search.predict(frame[0]).shape == (90,)
    for executor, table in tables.items():
        np.testing.assert_allclose(table, tables["serial"], atol=0.03, err_msg=executor)
    np.testing.assert_array_equal(tables["process"], tables["serial"])
