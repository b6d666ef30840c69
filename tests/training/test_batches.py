"""The loader of whole minibatches gives skorch's own batches, and only where it is asked for."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import cross_val_score
from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import SliceDataset, SliceDict, predefined_split
from torch import nn
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
)
from torch.utils.data import Dataset as TorchDataset

from hpo import HPOSearchCV
from hpo.training._batches import BatchDataset, BatchSubset, load_whole_batches

N = 23
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(N, 4)).astype("float32")
LABELS = np.arange(N) % 3


class Doubled(Dataset):
    """A dataset that changes its rows."""

    def transform(self, X, y):
        X, y = super().transform(X, y)
        return X * 2, y


class Rows(TorchDataset):
    """A dataset of somebody else's."""

    def __init__(self, X, y):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i], self.y[i]


class Stream(IterableDataset):
    def __init__(self, X, y):
        self.X, self.y = X, y

    def __iter__(self):
        yield from zip(self.X, self.y, strict=True)

    def __len__(self):
        return len(self.X)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def patched(dataset):
    dataset.transform = lambda X, y: (X + 1, y)
    return dataset


FAST = {
    "rows": Dataset(ROWS, LABELS),
    "no y": Dataset(ROWS),
    "tensors": Dataset(torch.as_tensor(ROWS), torch.as_tensor(LABELS)),
    "float64": Dataset(ROWS.astype("float64"), LABELS.astype("int32")),
    "images": Dataset(RNG.normal(size=(N, 3, 4, 4)).astype("float32"), LABELS),
    "channels last": Dataset(torch.randn(N, 3, 4, 4).to(memory_format=torch.channels_last), LABELS),
    "columns": Dataset(np.asfortranarray(ROWS), np.asfortranarray(ROWS[:, :2])),
    "every other": Dataset(np.repeat(ROWS, 2, axis=0)[::2], np.repeat(LABELS, 2)[::2]),
    "flat": Dataset(ROWS[:, 0].copy(), LABELS > 1),
    "dict": Dataset({"a": ROWS, "b": torch.as_tensor(LABELS)}, LABELS),
    "dict of y": Dataset(ROWS, {"a": LABELS, "b": ROWS}),
    "a part": Subset(Dataset(ROWS, LABELS), RNG.permutation(N)[:11]),
    "a list of a part": Subset(Dataset(ROWS, LABELS), [3, 1, 4, 1, 5]),
    "SliceDict": Dataset(SliceDict(a=ROWS), LABELS),
}
AS_IT_IS = {
    "backwards": Dataset(ROWS[::-1], LABELS),
    "read-only": Dataset(read_only(ROWS), LABELS),
    "other bytes": Dataset(ROWS.astype(">f4"), LABELS),
    "a masked array": Dataset(np.ma.masked_array(ROWS), LABELS),
    "a frame": Dataset(pd.DataFrame({"a": ROWS[:, 0]}), LABELS),
    "two": Dataset([ROWS, ROWS], LABELS),
    "a subclass": Doubled(ROWS, LABELS),
    "a patched one": patched(Dataset(ROWS, LABELS)),
    "a part of a subclass": Subset(Doubled(ROWS, LABELS), [1, 2]),
    "a part of a part": Subset(Subset(Dataset(ROWS, LABELS), [1, 2, 3]), [0, 2]),
    "several": ConcatDataset([Dataset(ROWS, LABELS), Dataset(ROWS, LABELS)]),
    "tensors of torch's": TensorDataset(torch.as_tensor(ROWS), torch.as_tensor(LABELS)),
    "somebody else's": Rows(ROWS, LABELS),
    "a stream": Stream(ROWS, LABELS),
}


class Net(nn.Sequential):
    def __init__(self, n_in=5):
        super().__init__(nn.Linear(n_in, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


class Seeded(NeuralNetClassifier):
    def initialize(self):
        torch.manual_seed(3)
        return super().initialize()


def make(cls=Seeded, **params):
    known = dict(
        module=Net,
        criterion=nn.CrossEntropyLoss,
        lr=0.1,
        batch_size=8,
        max_epochs=2,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    return cls(**{**known, **params})


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert a.dtype == b.dtype
        assert a.stride() == b.stride()
        assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", [*FAST, *AS_IT_IS])
def test_batches_are_skorchs(name, training):
    dataset = {**FAST, **AS_IT_IS}[name]
    net = make(iterator_train__shuffle=name != "a stream", iterator_train__drop_last=True)
    torch.manual_seed(0)
    loader = load_whole_batches(net.get_iterator, dataset, training=training)
    assert isinstance(loader.dataset, BatchDataset | BatchSubset) is (name in FAST)
    assert (loader.dataset is dataset) is (name in AS_IT_IS)
    try:
        torch.manual_seed(0)
        expected = list(net.get_iterator(dataset, training=training))
    except (TypeError, ValueError) as error:
        with pytest.raises(type(error)):
            list(loader)
        return
    torch.manual_seed(0)
    same(list(loader), expected)
    assert len(loader) == len(expected)


def reverse(rows):
    return default_collate(rows[::-1])


class OwnLoader(DataLoader):
    pass


@pytest.mark.parametrize(
    "params",
    [
        {"iterator_train__collate_fn": reverse},
        {"iterator_train": OwnLoader},
        {"iterator_train": lambda dataset, **kwargs: [dataset[0]]},
        {"iterator_train__batch_size": None, "iterator_train__shuffle": False},
    ],
    ids=["collate_fn", "a loader", "a function", "no batches"],
)
def test_a_loader_of_the_nets_own_is_left_alone(params):
    net, dataset = make(**params), FAST["rows"]
    torch.manual_seed(0)
    loader = load_whole_batches(net.get_iterator, dataset, training=True)
    batches = [*loader]
    torch.manual_seed(0)
    for batch, expected in zip(batches, net.get_iterator(dataset, training=True), strict=True):
        for a, b in zip(batch, expected, strict=True):
            assert type(a) is type(b)
            assert np.array_equal(a, b)


def test_rows_can_be_taken_one_by_one_too():
    net = make()
    for name in ("rows", "a part"):
        dataset = FAST[name]
        loader = load_whole_batches(net.get_iterator, dataset, training=True)
        assert len(loader.dataset) == len(dataset)
        assert np.array_equal(loader.dataset[1][0], dataset[1][0])
        same(loader.collate_fn([dataset[0], dataset[1]]), default_collate([dataset[0], dataset[1]]))


def splitting(kind):
    def split(dataset, y=None, **kwargs):
        X, y = dataset.X, dataset.y
        return {
            "torch's tensors": (dataset, TensorDataset(torch.as_tensor(X), torch.as_tensor(y))),
            "both tensors": (TensorDataset(torch.as_tensor(X), torch.as_tensor(y)),) * 2,
            "somebody else's": (Rows(X, y), Rows(X[:9], y[:9])),
            "parts": (Subset(dataset, range(30)), Subset(dataset, range(30, 60))),
            "parts of parts": (Subset(Subset(dataset, range(40)), range(0, 40, 2)), dataset),
            "several": (ConcatDataset([dataset, Dataset(X, y)]), Dataset(X, y)),
            "a subclass": (Doubled(X, y), Doubled(X[:5], y[:5])),
            "a stream": (dataset, Stream(X, y)),
        }[kind]

    return split


KINDS = [
    "torch's tensors",
    "both tensors",
    "somebody else's",
    "parts",
    "parts of parts",
    "several",
    "a subclass",
    "a stream",
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_train_split_of_the_nets_own(kind, three_classes, assert_law):
    _, nets = assert_law(make(train_split=splitting(kind)), *three_classes)
    assert all("valid_loss" in net.history[-1] for net in nets)


@pytest.mark.parametrize("cls", [Dataset, Doubled, Rows, Stream])
def test_a_predefined_split(cls, three_classes, assert_law):
    X, y = three_classes
    assert_law(make(train_split=predefined_split(cls(X[:20], y[:20]))), X, y)


def test_a_dataset_class_and_a_collate_function_of_the_nets_own(three_classes, assert_law):
    assert_law(make(dataset=Doubled, train_split=ValidSplit(3)), *three_classes)
    assert_law(make(iterator_train__collate_fn=reverse), *three_classes)
    assert_law(make(iterator_valid__collate_fn=default_collate), *three_classes)


class Predicts(Callback):
    """Predicts and scores on data sets of every kind, in the middle of the training."""

    def on_epoch_end(self, net, dataset_train=None, **kwargs):
        X, y = dataset_train.X, dataset_train.y
        part = Subset(dataset_train, range(10))
        shown = [
            X,
            torch.as_tensor(X),
            Dataset(X),
            Dataset(X, y),
            Rows(X, y),
            Stream(X, y),
            TensorDataset(torch.as_tensor(X), torch.as_tensor(y)),
            ConcatDataset([dataset_train, dataset_train]),
            part,
            Subset(part, [1, 3]),
            SliceDataset(dataset_train),
            dataset_train,
        ]
        expected = net.predict_proba(X)
        for data in shown:
            n = len(data)
            predicted = net.predict_proba(data)
            rows = [1, 3] if n == 2 else np.resize(np.arange(len(X)), n)
            assert np.allclose(predicted, expected[rows], atol=1e-6)
        net.history.record("own_score", net.score(SliceDataset(part), y[:10]))
        loader = DataLoader(dataset_train, batch_size=7, collate_fn=reverse)
        same(next(iter(loader)), reverse([dataset_train[i] for i in range(7)]))


def test_callbacks_that_predict_on_data_sets(three_classes, assert_law):
    assert_law(make(callbacks=[Predicts()]), *three_classes)


class OtherData(Callback):
    """Gives the training part other data on the way, of the same kind or of another."""

    def __init__(self, kind):
        self.kind = kind

    def on_epoch_end(self, net, dataset_train=None, **kwargs):
        whole = getattr(dataset_train, "dataset", dataset_train)
        if self.kind == "labels":
            whole.y = net.predict(whole.X)
        elif self.kind == "in place":
            whole.X *= 0.5
        elif self.kind == "type":
            whole.X = torch.as_tensor(np.asarray(whole.X)) * 2
        else:
            whole.X = np.asarray(whole.X).view(np.ma.MaskedArray)


@pytest.mark.parametrize("split", [None, ValidSplit(3)])
@pytest.mark.parametrize("kind", ["labels", "in place", "type", "masked"])
def test_callbacks_that_change_the_data(kind, split, three_classes, assert_law):
    assert_law(make(train_split=split, callbacks=[OtherData(kind)]), *three_classes)


class FromDict(Net):
    def forward(self, a, b=None):
        given = a if isinstance(a, list) else [a] if b is None else [a, b]
        return super().forward(torch.cat(given, dim=1))


SHOWN = {
    "Dataset": Dataset,
    "somebody else's": lambda X: Rows(X, np.zeros(len(X))),
    "SliceDataset": lambda X: SliceDataset(Dataset(X)),
    "TensorDataset": lambda X: TensorDataset(torch.as_tensor(X), torch.zeros(len(X))),
    "tensor": torch.as_tensor,
    "float64": lambda X: torch.as_tensor(X).double().float(),
    "part": lambda X: Subset(Dataset(X), range(len(X))),
    "several": lambda X: ConcatDataset([Dataset(X[:4]), Dataset(X[4:])]),
    "dict": lambda X: {"a": X},
    "two": lambda X: {"a": X[:, :2], "b": X[:, 2:]},
    "list": lambda X: [X[:, :2], X[:, 2:]],
    "frame": lambda X: pd.DataFrame({"a": X[:, 0]}),
    "stream": lambda X: Stream(X, np.zeros(len(X))),
}


class Scorer:
    def __init__(self, name):
        self.name = name

    def __call__(self, estimator, X, y):
        return float((estimator.predict(SHOWN[self.name](X)) == y).mean())


# torch says so once in a process, of the frame's own rows.
@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@pytest.mark.parametrize("name", SHOWN)
def test_scorers_that_predict_on_data_sets(name, three_classes):
    X, y = three_classes
    net = make(module=FromDict)
    if name == "frame":
        net.set_params(module__n_in=1)
        X = X[:, :1]
    expected = cross_val_score(net, X, y, cv=3, scoring=Scorer(name), error_score="raise")
    search = HPOSearchCV(
        net, {"lr": [0.1]}, n_trials=1, cv=3, scoring=Scorer(name), refit=False
    ).fit(X, y)
    assert search.result_.records[0].reports[-1].fold_values == tuple(expected)


def test_nothing_of_it_is_in_the_winner(three_classes):
    net = make()
    search = HPOSearchCV(net, {"lr": [0.1]}, n_trials=1, cv=3).fit(*three_classes)
    best = search.best_estimator_
    assert best.get_params(deep=False).keys() == net.get_params(deep=False).keys()
    assert best.dataset is Dataset
    plain = make().fit(*three_classes)
    assert vars(best).keys() == vars(plain).keys()
    assert type(best.get_iterator(FAST["rows"]).dataset) is Dataset
    assert type(best) is Seeded
    assert NeuralNet.get_iterator.__module__ == "skorch.net"
