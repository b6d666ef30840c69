"""Torch datasets as the data of a search."""

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.dataset import Dataset as SkorchDataset
from skorch.helper import SliceDataset
from torch import nn
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from hpo import HPOSearchCV, Study, run_study
from hpo.data import StudyData
from hpo.data.datasets import from_dataset
from hpo.exceptions import DataError

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int64")


class Pairs(Dataset):
    """Counts the samples that were loaded."""

    def __init__(self, change=None):
        self.change = change
        self.loaded = 0

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        self.loaded += 1
        x = torch.as_tensor(X[i])
        return (self.change(x) if self.change else x), int(Y[i])


class WithTargets(Pairs):
    targets = Y.tolist()


class WithOtherTargets(Pairs):
    targets = (1 - Y).tolist()


class Rows(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return torch.as_tensor(X[i])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


def net(**settings):
    known = {"criterion": nn.CrossEntropyLoss, "max_epochs": 3, "lr": 0.1, "train_split": None}
    return NeuralNetClassifier(
        nn.Linear,
        module__in_features=4,
        module__out_features=2,
        verbose=0,
        **{**known, **settings},
    )


def search(**settings):
    return HPOSearchCV(net(), {"lr": [0.05, 0.2]}, n_trials=2, cv=3, random_state=0, **settings)


@pytest.fixture(scope="module")
def score():
    return search().fit(X, Y).best_score_


@pytest.mark.parametrize(
    "dataset",
    [
        Pairs(),
        Pairs(lambda x: x),  # no pickle takes it
        WithTargets(),
        WithOtherTargets(),
        Subset(Pairs(), range(90)),
        TensorDataset(torch.as_tensor(X), torch.as_tensor(Y)),
        SkorchDataset(X, Y),
    ],
    ids=["pairs", "lambda", "targets", "wrong targets", "subset", "tensors", "skorch"],
)
def test_a_search_takes_a_dataset_and_finds_y_in_it(dataset, score):
    found = search().fit(dataset)
    assert found.best_score_ == score
    assert found.predict(dataset).shape == (90,)


def test_a_dataset_of_rows_takes_y_from_beside_it(score):
    assert search().fit(Rows(), Y).best_score_ == score
    assert search().fit(Pairs(), Y).best_score_ == score


def test_worker_processes_take_it_too(score):
    assert search(n_jobs=2).fit(Pairs(lambda x: x)).best_score_ == score


def test_targets_that_a_dataset_lists_spare_loading_it():
    listed, read = WithTargets(), Pairs()
    np.testing.assert_array_equal(from_dataset(listed)[1], Y)
    np.testing.assert_array_equal(from_dataset(read)[1], Y)
    assert listed.loaded <= 3 < len(Y) <= read.loaded


def test_what_only_holds_arrays_is_taken_apart():
    tensors = torch.as_tensor(X), torch.as_tensor(Y)
    assert from_dataset(TensorDataset(*tensors))[0] is tensors[0]
    assert from_dataset(SkorchDataset(X, Y))[0] is X
    assert isinstance(from_dataset(Pairs())[0], SliceDataset)
    assert from_dataset(X, None) == (X, None) or from_dataset(X, None)[0] is X


def test_a_study_is_kept_tested_and_gone_on_with(tmp_path, score):
    study = Study(
        name="pairs",
        estimator=net(),
        data=StudyData(X=Pairs(lambda x: x), X_test=Pairs()),
        search_space={"lr": [0.05, 0.2]},
        n_trials=1,
        cv=3,
        storage=f"journal:///{tmp_path}/hpo.journal",
        tracker="null",
    )
    run_study(study)
    result = run_study(study.replace(n_trials=2, data=StudyData(X=Pairs(lambda x: x))))
    assert result.n_complete == 2
    assert run_study(study.replace(n_trials=1)).test_score > 0.5
    assert run_study(study.smoke()).n_complete == 1


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        (Stream(), "map-style"),
        (Rows(), "a Tensor"),
        (TensorDataset(*[torch.as_tensor(X)] * 3), "3 parts"),
        (Subset(Pairs(), []), "is empty"),
    ],
)
def test_a_dataset_that_cannot_be_used_is_refused(dataset, told):
    with pytest.raises(DataError, match=told):
        search().fit(dataset)
    with pytest.raises(DataError, match=told):
        StudyData(X=dataset)
