"""HPOSearchCV: pruning, failures, settings, Ctrl-C, and as a part of something larger."""

import os
import signal

import numpy as np
import optuna
import pytest
from scipy.stats import expon
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.callback import ProgressBar
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch import nn

from hpo import HPOSearchCV, SearchSpace, load_result
from hpo.exceptions import (
    DataError,
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


def test_estimators_of_the_space_stay_as_they_are():
    scalers = [StandardScaler(), MinMaxScaler()]
    search = grid(SCALED_KNN, {"scale": scalers}).fit(*IRIS)
    assert any(search.best_params_["scale"] is scaler for scaler in scalers)
    assert not any(hasattr(scaler, "n_features_in_") for scaler in scalers)


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


def test_error_score_raise_ends_with_the_error_itself():
    with pytest.raises(ArithmeticError, match="no 2") as caught:
        grid(Picky(), {"size": [0, 2, 3]}, error_score="raise").fit(*IRIS)
    assert "Trial 1 failed with the parameters {'size': 2}." in caught.value.__notes__
    with pytest.raises(ArithmeticError, match="no 2") as caught:
        grid(Picky(), {"size": [0, 2]}, error_score="raise", n_jobs=2).fit(*IRIS)
    (note,) = (note for note in caught.value.__notes__ if note.startswith("Trial 1 failed"))
    assert "Traceback" in note


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
    storage = f"journal:///{tmp_path}/hpo.journal"
    space = {"alpha": {"type": "float", "low": 0.1, "high": 9.0}}
    search = HPOSearchCV(Ridge(), space, n_trials=2, storage=storage)
    first = search.fit(*DIABETES).result_
    more = clone(search).set_params(n_trials=4).fit(*DIABETES).result_
    assert more.name == first.name
    assert more.records[:2] == first.records
    assert more.n_trials == 4
    assert load_result(first.name, storage).n_trials == 4
    assert cross_val_score(search, *DIABETES, cv=2).shape == (2,)  # studies of their own
    named = clone(search).set_params(study_name="mine").fit(*DIABETES)
    assert named.result_.name == "mine"
    with pytest.raises(StudyError, match="data: X: 442 x 10 float64 array -> 300 x 10"):
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
    assert lines[0].startswith("HPOSearchCV, 2 trials: score over 5 folds, sampler ")
    assert lines[1].startswith("trial 0 complete: 0.5000 at epoch 1  (1 of 2, 0:0")
    assert lines[1].endswith(", best so far)  start 0.5")
    assert lines[2].startswith("trial 1 pruned: odd  (2 of 2, 0:0")
    assert lines[2].endswith("best 0.5000)  start 0.6")
    assert lines[3].startswith("search took ")
    assert lines[3].endswith("pruning saved 17% of the epochs (1 of 6)")
    assert lines[4].startswith("StudyResult 'HPOSearchCV': 2 trials (1 complete, 1 pruned)")
    grid(Sinking(), {"start": [0.5]}, epochs=2, verbose=2).fit(*TWO)
    assert "trial 0, epoch 2 of 2: 0.2500" in capsys.readouterr().out


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


@pytest.mark.filterwarnings("ignore:The estimator Ridge does not support callbacks:UserWarning")
def test_callbacks_of_scikit_learn_hear_the_trials_and_the_refit(capsys):
    tasks = Tasks()
    grid(Ridge(), {"alpha": [0.1]}, cv=3).set_callbacks(tasks).fit(*DIABETES)
    assert tasks.heard == [
        "setup",
        ("begin", "fit", 0, 442),
        ("begin", "search", 0, 442),
        ("begin", "candidate-split-evaluation", 0, 294),
        ("begin", "candidate-split-evaluation", 1, 295),
        ("begin", "candidate-split-evaluation", 2, 295),
        ("end", "candidate-split-evaluation", 2),
        ("end", "candidate-split-evaluation", 1),
        ("end", "candidate-split-evaluation", 0),
        ("end", "search", 0),
        ("begin", "refit-with-best-params", 1, 442),
        ("end", "refit-with-best-params", 1),
        ("end", "fit", 0),
        "teardown",
    ]
    search = HPOSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, n_trials=2, n_jobs=2)
    search.set_callbacks(ProgressBar()).fit(*DIABETES)
    assert "100%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({"search_space": {"alfa": [1.0]}}, SpaceError, "did you mean 'alpha'"),
        ({"search_space": []}, SpaceError, "is an empty list"),
        ({"enqueue": [{"alfa": 0.1}]}, SpaceError, "did you mean 'alpha'"),
        ({"enqueue": {"alpha": 0.1}}, SpaceError, "must be a list of mappings"),
        ({"estimator": nn.Linear(1, 1)}, DataError, "Wrap it"),
        ({"estimator": Ridge}, DataError, "is a class"),
        ({"n_trials": 0}, ValueError, "'n_trials' parameter of HPOSearchCV must be an int"),
        ({"timeout": 0}, ValueError, "'timeout' parameter of HPOSearchCV"),
        (
            {"n_trials": None, "search_space": {"alpha": expon()}},
            StudyError,
            "would search for ever",
        ),
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
    space = {"start": {"type": "float", "low": 0.1, "high": 0.2}}
    search = HPOSearchCV(Sinking(), space, n_trials=None, timeout=0.3, epochs=2)
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
    assert search.result_.n_complete == 1  # what the search has found is kept
    assert search.result_.estimator is None
