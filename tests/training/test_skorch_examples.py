"""Nets as skorch's examples make them, on little data: serial, process and GridSearchCV agree.

After the notebooks MNIST and Transfer_Learning, and the examples rnn_classifer and
nuclei_image_segmentation of skorch 1.4, with skorch's recipe for fixed seeds added to each.
"""

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import Callback, Checkpoint, EpochScoring, Freezer, LRScheduler
from skorch.helper import predefined_split
from torch import nn
from torch.optim.lr_scheduler import CyclicLR
from torch.utils.data import Dataset

from hpo import HPOSearchCV


class FixRandomSeed(Callback):
    """As in skorch's documentation: callbacks are initialized before the module."""

    def __init__(self, seed=42):
        self.seed = seed

    def initialize(self):
        torch.manual_seed(self.seed)
        np.random.seed(self.seed)
        return super().initialize()


SEEDED = ("seed", FixRandomSeed())


def digits(n):
    images, labels = load_digits(return_X_y=True)
    return (images[:n].reshape(-1, 1, 8, 8) / 16).astype("float32"), labels[:n].astype("int64")


class Cnn(nn.Module):
    def __init__(self, dropout=0.5):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.conv2_drop, self.fc1_drop = nn.Dropout2d(dropout), nn.Dropout(dropout)
        self.fc1, self.fc2 = nn.Linear(64, 20), nn.Linear(20, 10)

    def forward(self, x):
        x = torch.relu(F.max_pool2d(self.conv1(x), 2))
        x = torch.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = torch.relu(self.fc1_drop(self.fc1(x.flatten(1))))
        return torch.softmax(self.fc2(x), dim=-1)


def mnist(folder):
    net = NeuralNetClassifier(
        Cnn, max_epochs=3, lr=0.02, optimizer=torch.optim.Adam, callbacks=[SEEDED], verbose=0
    )
    return net, *digits(150), {"module__dropout": [0.2, 0.5]}, "accuracy"


class WordIndices(TransformerMixin, BaseEstimator):
    def __init__(self, max_features=20, lowercase=True):
        self.max_features = max_features
        self.lowercase = lowercase

    def _words(self, text):
        return (text.lower() if self.lowercase else text).split()

    def fit(self, X, y=None):
        counts = Counter(word for text in X for word in self._words(text))
        self.vocabulary_ = [word for word, _ in counts.most_common(self.max_features - 1)]
        return self

    def transform(self, X):
        places = {word: i for i, word in enumerate(self.vocabulary_)}
        return [[places.get(word, len(places)) for word in self._words(text)] for text in X]


class Padded(TransformerMixin, BaseEstimator):
    def __init__(self, max_len=6, pad_value=20):
        self.max_len = max_len
        self.pad_value = pad_value

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        rows = [(row + [self.pad_value] * self.max_len)[: self.max_len] for row in X]
        return np.asarray(rows, dtype="int64")


class Rnn(nn.Module):
    def __init__(self, rec_layer_type="lstm", num_units=8, num_layers=2, dropout=0.0):
        super().__init__()
        self.rec_layer_type = rec_layer_type
        self.emb = nn.Embedding(21, 6)
        layer = {"lstm": nn.LSTM, "gru": nn.GRU}[rec_layer_type]
        self.rec = layer(6, num_units, num_layers=num_layers, dropout=dropout, batch_first=True)
        self.drop, self.output = nn.Dropout(dropout), nn.Linear(num_units, 2)

    def forward(self, X):
        _, last = self.rec(self.emb(X))
        last = last if self.rec_layer_type == "gru" else last[0]
        return F.softmax(self.output(self.drop(last[-1])), dim=-1)


def reviews(folder):
    rng = np.random.default_rng(0)
    words = np.array([*"abcdefghijklmnopqrstuvwxyABCDEFGH"])
    texts = np.array([" ".join(rng.choice(words, rng.integers(3, 9))) for _ in range(90)])
    y = np.array([int("a" in text.lower() or "b" in text) for text in texts])
    net = NeuralNetClassifier(
        Rnn, max_epochs=3, lr=0.01, optimizer=torch.optim.RMSprop, callbacks=[SEEDED]
    )
    steps = [("to_idx", WordIndices()), ("pad", Padded()), ("net", net)]
    pipe = Pipeline(steps).set_params(net__verbose=0, net__train_split=None)
    grid = {
        "to_idx__lowercase": [False, True],
        "net__module__rec_layer_type": ["gru", "lstm"],
        "net__max_epochs": [2, 3],
    }
    return pipe, texts, y, grid, "accuracy"


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 1000)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


class PretrainedModel(nn.Module):
    def __init__(self, output_features):
        super().__init__()
        model = Backbone()
        model.fc = nn.Linear(model.fc.in_features, output_features)
        self.model = model

    def forward(self, x):
        return self.model(x)


class Images(Dataset):
    """A data set that transforms an image when it is asked for."""

    def __init__(self, X, y):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return (torch.as_tensor(self.X[i]) - 0.5) / 0.25, int(self.y[i])


def is_frozen(name):
    return not name.startswith("model.fc")


def transfer(folder):
    X, y = digits(150)
    net = NeuralNetClassifier(
        PretrainedModel,
        criterion=nn.CrossEntropyLoss,
        lr=0.01,
        batch_size=4,
        max_epochs=3,
        module__output_features=10,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        iterator_train__shuffle=True,
        train_split=predefined_split(Images(X[90:], y[90:])),
        callbacks=[
            SEEDED,
            LRScheduler(policy="StepLR", step_size=2, gamma=0.1),
            Checkpoint(f_params="best.pt", monitor="valid_acc_best", dirname=folder),
            Freezer(is_frozen),
        ],
        verbose=0,
    )
    return net, X[:90], y[:90], {"lr": [0.01, 0.1]}, None


def block(n_in, n_out):
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(n_out, n_out, kernel_size=4, stride=2, padding=1),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.conv2 = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 8, 3, padding=1), nn.ReLU())
        self.center = nn.Sequential(nn.MaxPool2d(2), block(8, 4))
        self.dec2 = block(4 + 8, 4)
        self.final = nn.Conv2d(4 + 4, 1, kernel_size=1)

    def forward(self, x):
        conv1 = self.conv1(x)
        conv2 = self.conv2(conv1)
        dec2 = self.dec2(torch.cat([self.center(conv2), conv2], 1))
        return self.final(torch.cat([dec2, conv1], 1))


class PaddedLoss(nn.Module):
    def __init__(self, padding=1):
        super().__init__()
        self.padding = padding

    def forward(self, input, target):
        inside = slice(self.padding, -self.padding)
        input = input.squeeze_(dim=1)[:, inside, inside]
        target = target.squeeze_(dim=1)[:, inside, inside]
        return F.binary_cross_entropy_with_logits(input, target)


def iou(net, ds, y):
    true = np.asarray(y)
    predicted = 1 / (1 + np.exp(-net.predict(ds).reshape(true.shape)))
    both = np.minimum(predicted, true).sum((1, 2))
    return float(np.mean(both / np.maximum(predicted, true).sum((1, 2))))


def cells(folder):
    X, _ = digits(100)
    masks = (X[:, 0] > 0.4).astype("float32")
    torch.manual_seed(0)
    net = NeuralNet(
        UNet(),
        criterion=PaddedLoss,
        criterion__padding=2,
        batch_size=16,
        max_epochs=3,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        iterator_train__shuffle=True,
        iterator_valid__shuffle=False,
        train_split=predefined_split(CellsAndMasks(X[80:], masks[80:])),
        callbacks=[
            SEEDED,
            Freezer("conv*"),
            LRScheduler(policy=CyclicLR, base_lr=0.002, max_lr=0.2, step_size_up=5),
            EpochScoring(iou, name="iou", lower_is_better=False),
            Checkpoint(f_params="best.pt", dirname=folder),
        ],
        verbose=0,
    )
    return net, X[:80], masks[:80], {"optimizer__momentum": [0.5, 0.9]}, iou


class CellsAndMasks(Images):
    def __getitem__(self, i):
        return self.X[i], self.y[i]


@pytest.mark.filterwarnings("ignore:a fifth of every fold:UserWarning")
@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("example", [mnist, reviews, transfer, cells])
def test_the_last_epoch_is_gridsearchcv(example, n_jobs, tmp_path):
    net, X, y, grid, scoring = example(str(tmp_path))
    given = dict(cv=3, scoring=scoring, refit=False)
    theirs = GridSearchCV(net, grid, error_score="raise", **given).fit(X, y).cv_results_
    ours = HPOSearchCV(
        net, grid, sampler="grid", pruner="nop", n_trials=None, n_jobs=n_jobs, **given
    ).fit(X, y)
    assert ours.result_.n_complete == len(theirs["params"])
    for record in ours.result_.records:
        i = theirs["params"].index(dict(record.trial.params))
        expected = tuple(theirs[f"split{k}_test_score"][i] for k in range(3))
        assert record.reports[-1].fold_values == expected
    assert len({r.value for record in ours.result_.records for r in record.reports}) > 2


def test_the_examples_can_be_refitted(tmp_path):
    net, X, y, grid, _ = transfer(str(tmp_path))
    search = HPOSearchCV(net, grid, n_trials=2, cv=3, random_state=0).fit(X, y)
    assert 1 <= len(search.best_estimator_.history) == search.n_steps_ <= 3
    assert search.best_estimator_.predict(Images(X, y)).shape == (90,)
    assert (tmp_path / "best.pt").exists()
