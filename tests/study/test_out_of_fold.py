"""Out-of-fold predictions are kept by every executor, and the winner's score is corrected."""

import json

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, get_scorer
from sklearn.model_selection import GroupKFold, RepeatedKFold
from sklearn.tree import DecisionTreeClassifier
from skorch import NeuralNetClassifier

from hpo import HPOSearchCV, Study, StudyData, load_result, run_study
from hpo.modules import MLP
from hpo.storage.stored_study import StoredStudy
from hpo.storage.study_facts import files_folder
from hpo.trial import TrialState

X, Y = make_classification(240, 8, n_informative=6, n_classes=3, flip_y=0.1, random_state=0)
X = X.astype("float32")
RATES = {"lr": {"type": "float", "low": 0.01, "high": 0.5, "log": True}}


def net(**params):
    return NeuralNetClassifier(
        MLP,
        module__n_features=8,
        module__n_classes=3,
        module__hidden_units=8,
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=4,
        train_split=None,
        verbose=0,
        **params,
    )


def study(estimator=None, **settings):
    defaults = {
        "name": "rows",
        "estimator": net() if estimator is None else estimator,
        "data": StudyData(X=X[:180], y=Y[:180], X_test=X[180:], y_test=Y[180:]),
        "search_space": RATES,
        "n_trials": 4,
        "cv": 3,
        "storage": None,
        "tracker": "null",
        "analyses": (),
    }
    return Study(**{**defaults, **settings})


@pytest.fixture(scope="module")
def serial():
    return run_study(study(pruner=None))


@pytest.mark.parametrize("executor", ["process:n_jobs=2", "fused", "auto"])
def test_every_executor_keeps_the_same(executor, serial):
    other = run_study(study(pruner=None, executor=executor))
    for record in serial.records:
        ours, theirs = serial.oof(record.number), other.oof(record.number)
        assert ours.step == theirs.step
        assert np.array_equal(ours.rows, theirs.rows)
        assert np.allclose(ours.predictions, theirs.predictions, atol=1e-5)
        scores = [r.out_of_fold.row_scores(record.number).scores for r in (serial, other)]
        assert np.array_equal(*scores)
    assert other.corrected == serial.corrected


def test_predictions_give_the_scores_of_the_folds(serial):
    for record in serial.records:
        oof = serial.oof(record.number)
        assert sorted(oof.rows) == list(range(180))
        assert np.array_equal(oof.y, Y[:180][oof.rows])
        of_folds = [
            accuracy_score(oof.y[oof.folds == i], oof.labels[oof.folds == i]) for i in range(3)
        ]
        assert of_folds == pytest.approx(record.best_report.fold_values)
        last = oof.last_predictions.argmax(axis=1) == oof.y
        of_folds = [last[oof.folds == i].mean() for i in range(3)]
        assert of_folds == pytest.approx(record.reports[-1].fold_values)


def test_rows_of_every_step_have_the_reported_scores(serial):
    for record in serial.records:
        rows = serial.out_of_fold.row_scores(record.number)
        folds = serial.out_of_fold.rows.folds
        for report, scores in zip(record.reports, rows.scores, strict=True):
            of_folds = [scores[folds == i].mean() for i in range(3)]
            assert of_folds == pytest.approx(report.fold_values)


def test_reading_a_stored_study_gives_the_same(tmp_path, serial):
    url = f"journal:///{tmp_path}/hpo.journal"
    run_study(study(pruner=None, storage=url))
    result = load_result("rows", url)
    assert result.corrected == serial.corrected
    assert result.test_interval == serial.test_interval
    assert np.array_equal(result.oof().predictions, serial.oof().predictions)
    folder = files_folder(StoredStudy("rows", url)) / "out_of_fold"
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}
    assert {path.name for path in folder.iterdir()} == {
        "rows.npz",
        *(f"trial_{i}.npz" for i in range(4)),
    }


def test_trials_that_were_pruned_are_candidates(tmp_path):
    url = f"journal:///{tmp_path}/hpo.journal"
    pruned = run_study(study(pruner="halving", folds="all", n_trials=12, storage=url))
    assert pruned.n_pruned
    assert pruned.corrected.n_candidates == pruned.n_complete + pruned.n_pruned
    stopped = next(r for r in pruned.records if r.state is TrialState.PRUNED)
    assert len(pruned.out_of_fold.row_scores(stopped.number).steps) == stopped.last_step
    with pytest.raises(KeyError, match=f"trial {stopped.number}"):
        pruned.oof(stopped.number)


def test_a_study_that_goes_on_is_corrected_over_all_its_trials(tmp_path):
    url = f"journal:///{tmp_path}/hpo.journal"
    run_study(study(pruner=None, n_trials=2, storage=url))
    both = run_study(study(pruner=None, n_trials=4, storage=url))
    assert both.corrected.n_candidates == 4


def test_without_the_rows_of_a_trial_nothing_is_said(tmp_path):
    url = f"journal:///{tmp_path}/hpo.journal"
    first = run_study(study(pruner=None, n_trials=2, storage=url))
    folder = files_folder(StoredStudy("rows", url)) / "out_of_fold"
    (folder / "trial_0.npz").write_bytes(b"damaged")
    with pytest.raises(KeyError, match="trial 0"):
        first.oof(0)
    result = run_study(study(pruner=None, n_trials=3, storage=url))
    assert result.corrected is None
    assert "1 of 3 trials" in result.uncorrected


def test_budget_of_bytes_removes_the_predictions_of_the_worst(serial):
    sizes = [serial.oof(n).predictions.nbytes * 2 for n in range(4)]
    tight = run_study(study(pruner=None, out_of_fold_mb=(sum(sizes) + 1000) / 2 / 1e6))
    ranked = [record.number for record in tight.top(4)]
    kept = []
    for number in ranked:
        try:
            kept.append(tight.oof(number).number)
        except KeyError:
            break
    assert kept == ranked[: len(kept)]
    assert len(kept) < 4
    assert tight.corrected == serial.corrected  # the scores of the rows stay


def test_none_are_kept():
    result = run_study(study(out_of_fold_mb=0))
    assert result.corrected is None
    with pytest.raises(KeyError, match="No out-of-fold predictions"):
        result.oof()


def test_few_rows_cannot_tell():
    data = StudyData(X=X[:18], y=np.arange(18) % 3)
    result = run_study(
        study(
            LogisticRegression(),
            data=data,
            search_space={"C": {"type": "float", "low": 0.1, "high": 1.0}},
        )
    )
    assert result.corrected is None
    assert "fewer than 20" in result.uncorrected


def test_a_function_that_scores_cannot_tell_but_has_predictions():
    result = run_study(study(scoring=lambda estimator, X, y: estimator.score(X, y)))
    assert "not known as a mean over rows" in result.uncorrected
    assert result.oof().kind == "predict_proba"


@pytest.mark.parametrize(
    ("estimator", "scoring", "kind"),
    [
        (DecisionTreeClassifier(), "roc_auc", "predict_proba"),
        (LogisticRegression(), "f1", "decision_function"),
        (Ridge(), "neg_root_mean_squared_error", "predict"),
    ],
)
def test_scores_that_are_no_means_over_rows(estimator, scoring, kind):
    make = make_regression if isinstance(estimator, Ridge) else make_classification
    features, y = make(200, 5, random_state=0)
    space = {
        name: {"type": "int", "low": 1, "high": 9}
        for name in ("max_depth", "C", "alpha")
        if name in estimator.get_params()
    }
    data = StudyData(X=features[:150], y=y[:150], X_test=features[150:], y_test=y[150:])
    result = run_study(study(estimator, data=data, scoring=scoring, search_space=space))
    assert result.oof().kind == kind
    assert result.corrected.low < result.corrected.value < result.corrected.high
    assert result.test_interval[0] <= result.test_score <= result.test_interval[1]
    expected = get_scorer(scoring)(result.estimator, features[150:], y[150:])
    assert result.test_score == pytest.approx(expected)


def test_groups_are_drawn_together():
    groups = np.repeat(np.arange(18), 10)
    search = HPOSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, n_trials=2, cv=GroupKFold(3))
    search.fit(X[:180], Y[:180], groups=groups)
    assert not hasattr(search, "corrected_score_")
    assert "fewer than 20" in search.result_.uncorrected


def test_rows_that_several_folds_validate_stand_there_several_times():
    cv = RepeatedKFold(n_splits=3, n_repeats=2, random_state=0)
    search = HPOSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, n_trials=2, cv=cv).fit(X, Y)
    assert len(search.result_.oof().rows) == 2 * len(X)
    assert len(np.unique(search.result_.oof().rows)) == len(X)
    assert 0 < search.corrected_score_ < 1


def test_predictions_of_fold_without_a_class_stand_in_its_place():
    y = np.array(["a", "b"] * 30 + ["c"] * 3)
    features = np.random.default_rng(0).normal(size=(63, 4))
    folds = [(np.arange(21, 63), np.arange(21)), (np.arange(42), np.arange(42, 63))]
    search = HPOSearchCV(
        RandomForestClassifier(5, random_state=0), {"max_depth": [1, 2]}, n_trials=2, cv=folds
    )
    search.fit(features, y)
    oof = search.result_.oof()
    assert oof.predictions.shape == (42, 3)
    assert (oof.predictions[21:, 2] == 0).all()
    assert set(oof.labels) <= {"a", "b", "c"}


def test_a_study_keeps_its_fingerprint(tmp_path):
    url = f"journal:///{tmp_path}/hpo.journal"
    run_study(study(n_trials=1, storage=url, out_of_fold_mb=0))
    assert run_study(study(n_trials=2, storage=url)).n_trials == 2


def test_metrics_of_the_study_have_the_scores(tmp_path):
    url = f"journal:///{tmp_path}/hpo.journal"
    result = run_study(study(n_trials=2, storage=url))
    metrics = json.loads(json.dumps(StoredStudy("rows", url).get_attr("results")))["metrics"]
    assert metrics["corrected_score"] == result.corrected_score
    assert metrics["test_score_low"] <= metrics["test_score"] <= metrics["test_score_high"]


@pytest.mark.parametrize("dtype", [object, "category"])
def test_targets_of_any_kind_are_kept(dtype):
    import pandas as pd

    y = pd.Series(np.array(["no", "yes"])[(Y > 0).astype(int)]).astype(dtype)
    search = HPOSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, n_trials=2, cv=3).fit(X, y)
    oof = search.result_.oof()
    assert set(oof.y) == {"no", "yes"}
    assert (oof.labels == oof.y).mean() == pytest.approx(search.best_score_, abs=0.01)
    assert search.result_.out_of_fold.rows.labels is not None


def test_an_interval_that_is_not_known_is_no_metric(tmp_path):
    url = f"journal:///{tmp_path}/hpo.journal"
    result = run_study(study(n_trials=1, storage=url, scoring=lambda e, X, y: e.score(X, y)))
    assert np.isnan(result.test_interval).all()
    metrics = StoredStudy("rows", url).get_attr("results")["metrics"]
    assert "test_score" in metrics
    assert "test_score_low" not in metrics


def test_in_a_race_the_corrected_score_is_of_the_folds_by_which_nothing_was_stopped():
    raced = run_study(study(pruner="halving", n_trials=12))
    assert any(not r.reports for r in raced.records)
    assert raced.corrected.n_candidates == 12
    kept = [r for r in raced.records if r.reports]
    rows, files = raced.out_of_fold.rows, raced.out_of_fold
    best = max(files.row_scores(r.number).scores[:, rows.folds > 0].mean(1).max() for r in kept)
    assert raced.corrected.value <= best + 1e-6
