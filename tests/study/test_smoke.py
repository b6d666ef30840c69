"""The smallest form of a study: what it keeps of the data, and that it runs."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GroupKFold, PredefinedSplit, RepeatedStratifiedKFold
from skorch import NeuralNetClassifier
from torch import nn

from hpo import Study, StudyData, run_study
from hpo.study._smoke import N_SAMPLES, cut_data
from hpo.study.prepared import PreparedStudy

SPACE = {"lr": [0.1, 0.2, 0.3], "batch_size": [8, 16]}


def samples(n=3000, n_classes=5, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n)
    y[: n // 100] = n_classes  # a rare class
    X = rng.normal(size=(n, 4)).astype("float32")
    X[:, 0] = np.arange(n)
    return X, y


def study(**changes):
    X, y = samples()
    net = NeuralNetClassifier(
        nn.Linear,
        module__in_features=4,
        module__out_features=6,
        criterion=nn.CrossEntropyLoss,
        max_epochs=20,
        train_split=None,
        verbose=0,
    )
    fields = dict(
        name="small",
        estimator=net,
        data=StudyData(X=X, y=y, X_test=X, y_test=y, X_refit=X, y_refit=y),
        search_space=SPACE,
        cv=5,
        n_jobs=2,
        n_trials=40,
        timeout=5.0,
    )
    return Study(**{**fields, **changes})


def test_a_grid_runs_one_trial_of_one_epoch_and_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run_study(study(sampler="grid", n_trials=None).smoke())
    assert result.n_trials == result.n_complete == 1
    assert result.epochs_run == result.refit_epochs == 1
    assert np.isfinite(result.test_score)
    assert list(tmp_path.iterdir()) == []


def test_every_part_is_cut_and_every_fold_has_every_class():
    prepared = PreparedStudy(study(cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=3)).smoke())
    data = prepared.data
    for X, y in ((data.X, data.y), (data.X_test, data.y_test), (data.X_refit, data.y_refit)):
        assert N_SAMPLES - 10 <= len(X) == len(y) <= N_SAMPLES + 10
        assert np.all(np.diff(X[:, 0]) > 0)  # in order
        assert np.bincount(y).min() >= 4
        assert np.bincount(y)[:5].max() < 60  # shares are kept
    assert prepared.search.objective.n_folds == 2
    for train, valid in prepared.search.objective.splits:
        assert len(set(data.y[train])) == len(set(data.y[valid])) == 6


@pytest.mark.parametrize(
    "kind",
    [
        pd.DataFrame,
        torch.as_tensor,
        lambda X: {"a": X, "b": torch.as_tensor(X)},
        lambda X: X.tolist(),
    ],
    ids=["frame", "tensor", "dict", "list"],
)
def test_data_of_any_kind_keep_their_kind(kind):
    X, y = samples()
    whole = StudyData(X=kind(X), y=torch.as_tensor(y), groups=np.arange(len(y)))
    data = cut_data(whole, stratify=True)
    assert type(data.X) is type(whole.X)
    assert isinstance(data.y, torch.Tensor)
    assert data.X_test is None
    first = data.X["a"] if isinstance(data.X, dict) else data.X
    assert np.array_equal(np.asarray(first)[:, 0], data.groups)  # rows stay together
    assert np.array_equal(y[data.groups], data.y)


def test_few_samples_are_all_kept():
    X, y = samples(150)
    assert cut_data(StudyData(X=X, y=y), stratify=True).X is not None
    assert len(cut_data(StudyData(X=X, y=y), stratify=True).y) == 150


def test_what_a_splitter_cuts_by_is_kept_and_named_rows_are_not():
    X, y = samples()
    grouped = StudyData(X=X, y=y, groups=np.arange(len(y)) % 7)
    small = study(data=lambda: grouped, cv=GroupKFold(3)).smoke()
    assert PreparedStudy(small).search.objective.n_folds == 3
    for cv in (PredefinedSplit(np.arange(len(y)) % 4), [(np.arange(2000), np.arange(2000, 3000))]):
        assert PreparedStudy(study(cv=cv).smoke()).search.objective.n_folds == 2


def test_estimators_without_epochs_and_targets_that_are_no_classes():
    X, _ = samples()
    numbers = StudyData(X=X, y=X[:, 1].astype("float64"))
    space = {"fit_intercept": [True, False]}
    small = study(estimator=LinearRegression(), data=numbers, search_space=space).smoke()
    assert small.epochs is None
    assert run_study(small).n_complete == 1
    plain = study(estimator=LogisticRegression(), search_space={"C": [1.0, 2.0]}).smoke()
    assert run_study(plain).n_complete == 1


def test_optimizer_steps_that_count_as_an_epoch_are_few():
    small = study(eval_every=1000, epochs=3).smoke()
    assert (small.epochs, small.eval_every) == (1, 5)
    assert run_study(small).n_complete == 1


def test_its_data_can_be_pickled():
    X, y = samples()
    small = study(data=partial(StudyData, X=X, y=y)).smoke()
    assert len(pickle.loads(pickle.dumps(small.data))().y) < 250
