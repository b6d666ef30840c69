"""Which epoch's score stands for a trial: the best one's, or the last one's as in a grid search."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn

from hpo import HPOSearchCV, Study, StudyData, load_result, run_study
from hpo.exceptions import StudyError
from hpo.storage.open import open_storage
from hpo.testing.pruners import scripted_record

IRIS = load_iris(return_X_y=True)
X, Y = IRIS[0].astype("float32"), IRIS[1].astype("int64")


class Seeded(nn.Module):
    """A net whose weights, and order of minibatches, are the same wherever it is trained."""

    def __init__(self, width=4):
        super().__init__()
        torch.manual_seed(7)
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, X):
        return self.layers(X)


def net(**settings):
    known = {
        "criterion": nn.CrossEntropyLoss,
        "max_epochs": 8,
        "batch_size": 32,
        "iterator_train__shuffle": True,
        "train_split": None,
        "verbose": 0,
    }
    return NeuralNetClassifier(Seeded, **{**known, **settings})


def grid(estimator, space, **settings):
    known = {"sampler": "grid", "pruner": "nop", "n_trials": None, "select": "last", "cv": 3}
    return HPOSearchCV(estimator, space, **{**known, **settings})


def assert_same_table(ours, theirs):
    mine, expected = ours.cv_results_, theirs.cv_results_
    assert list(mine) == list(expected)
    for key in expected:
        if "time" not in key:
            np.testing.assert_array_equal(mine[key], expected[key], err_msg=key)
    for name in ("best_index_", "best_params_", "best_score_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))


RESTLESS = {"lr": [0.5, 0.1], "optimizer__momentum": [0.0, 0.9]}
"""Some of it does best before the last epoch."""

STOPPING = [("stop", EarlyStopping("valid_loss", patience=1, sink=print))]
SPLIT = ValidSplit(4, stratified=True)


@pytest.mark.parametrize(
    ("estimator", "space", "settings"),
    [
        (net(), RESTLESS, {}),
        (net(), RESTLESS, {"return_train_score": True}),
        (
            net(),
            RESTLESS,
            {"scoring": ["accuracy", "neg_log_loss", "f1_macro"], "refit": "neg_log_loss"},
        ),
        (net(callbacks=STOPPING, train_split=SPLIT), RESTLESS, {"return_train_score": True}),
        (net(), {"max_epochs": [2, 6], "lr": [0.9]}, {}),
        (net(callbacks=[("rate", LRScheduler("StepLR", step_size=2))]), RESTLESS, {}),
        (
            Pipeline([("scale", StandardScaler()), ("net", net())]),
            {"net__lr": [0.9, 0.05], "net__module__width": [2, 9]},
            {"scoring": "neg_log_loss"},
        ),
    ],
    ids=["plain", "train", "several", "early stopping", "max_epochs", "schedule", "pipeline"],
)
def test_with_the_last_epoch_a_grid_of_nets_is_grid_search(estimator, space, settings):
    ours = grid(estimator, space, **settings).fit(X, Y)
    theirs = GridSearchCV(estimator, space, cv=3, **settings).fit(X, Y)
    assert_same_table(ours, theirs)
    assert ours.result_.best_score == ours.best_score_
    fitted = ours.best_estimator_
    mine = (fitted.steps[-1][1] if isinstance(fitted, Pipeline) else fitted).history
    other = theirs.best_estimator_
    assert len(mine) == len((other.steps[-1][1] if isinstance(other, Pipeline) else other).history)


def test_with_the_best_epoch_the_table_is_another_one():
    best = grid(net(), RESTLESS, select="best").fit(X, Y)
    last = grid(net(), RESTLESS).fit(X, Y)
    means = best.cv_results_["mean_test_score"], last.cv_results_["mean_test_score"]
    assert (means[0] >= means[1]).all()
    assert (means[0] > means[1]).any()
    assert last.n_steps_ == 8
    assert best.n_steps_ == best.result_.best_step
    assert HPOSearchCV(net(), RESTLESS).select == "best"
    for record in last.result_.records:
        assert record.value == record.reports[-1].value
        assert record.best_report is record.reports[-1]


@pytest.mark.parametrize("select", ["best", "last"])
def test_estimators_without_epochs_have_no_choice(select):
    diabetes = load_diabetes(return_X_y=True)
    ours = grid(Ridge(), {"alpha": [0.1, 9.0]}, select=select).fit(*diabetes)
    theirs = GridSearchCV(Ridge(), {"alpha": [0.1, 9.0]}, cv=3).fit(*diabetes)
    np.testing.assert_array_equal(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"]
    )


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="'select' parameter of HPOSearchCV must be a str among"):
        grid(net(), RESTLESS, select="final").fit(X, Y)
    with pytest.raises(StudyError, match=r"Study's 'select'.*'best' or 'last'.*Got 'final'"):
        study(None).replace(select="final")


def test_the_last_report_stands_for_a_record_whatever_came_before():
    scripted = scripted_record(0, [0.9, 0.4, 0.6])
    record = replace(scripted, max_steps=5, select="last")
    assert (record.value, record.best_report.step, record.refit_steps) == (0.6, 3, 5)
    assert (scripted.value, scripted.best_report.step, scripted.refit_steps) == (0.9, 1, 1)
    timed = replace(record, reports=[replace(r, seconds=2.0) for r in record.reports])
    assert timed.cost("seconds") == 6.0
    assert replace(timed, select="best").cost("seconds") == 2.0
    diverged = scripted_record(0, [0.9, math.nan])
    assert diverged.value == 0.9
    assert replace(diverged, select="last").best_report is None


def study(tmp_path, **settings):
    known = {
        "name": "restless",
        "estimator": net(),
        "data": StudyData(X=X[::2], y=Y[::2], X_test=X[1::2], y_test=Y[1::2]),
        "search_space": RESTLESS,
        "sampler": "grid",
        "pruner": "nop",
        "n_trials": None,
        "cv": 2,
        "select": "last",
        "storage": f"journal:///{tmp_path}/hpo.journal",
        "tracker": "null",
        "analyses": (),
    }
    return Study(**{**known, **settings})


def test_a_study_keeps_its_choice(tmp_path):
    result = run_study(study(tmp_path))
    assert result.select == "last"
    assert result.refit_epochs == 8
    assert len(result.estimator.history) == 8
    assert result.best_step == 8
    assert set(result.to_frame()["step"]) == {8}
    assert all(record.value == record.reports[-1].value for record in result.records)
    loaded = load_result("restless", f"journal:///{tmp_path}/hpo.journal")
    assert loaded.records == result.records
    assert loaded.best_score == result.best_score
    again = run_study(study(tmp_path))
    assert again.records == result.records
    with pytest.raises(StudyError, match="select: 'last' -> 'best'"):
        run_study(study(tmp_path, select="best"))


def test_a_choice_made_afterwards_is_another_study(tmp_path):
    run_study(study(tmp_path, select="best"))
    with pytest.raises(StudyError, match="select: 'best' -> 'last'"):
        run_study(study(tmp_path))


def test_the_sampler_and_the_trackers_are_told_the_last_score(tmp_path):
    import optuna

    from hpo.trackers import TrialChange
    from hpo.trackers.mlflow.plan import trial_plan

    run_study(study(tmp_path))
    stored = optuna.load_study(
        study_name="restless", storage=open_storage(f"journal:///{tmp_path}/hpo.journal")
    )
    loaded = load_result("restless", f"journal:///{tmp_path}/hpo.journal")
    assert [t.value for t in stored.trials] == [r.reports[-1].value for r in loaded.records]
    assert all(t.value == t.intermediate_values[8] for t in stored.trials)
    for record in loaded.records:
        metrics = {
            key: (value, step)
            for key, value, _, step in trial_plan(TrialChange(record, "")).metrics
        }
        assert metrics["best_score"] == (record.reports[-1].value, 8)
