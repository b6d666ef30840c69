import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedKFold
from skorch.callbacks import EpochScoring
from skorch.dataset import ValidSplit
from torch import nn
from torch.utils.data import TensorDataset

from hpo.nets import ImageClassifier
from hpo.training.objective import Objective
from hpo.trial import Trial


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5)).astype(np.float32)
    X[:, 0] = np.arange(60)
    return X, np.arange(60) // 20


def classifier(**params):
    given = {"max_epochs": 2, "lr": 0.001, "batch_size": 16, "train_split": None, "verbose": 0}
    shape = {"module__in_features": 5, "module__out_features": 3}
    return ImageClassifier(nn.Linear, **{**given, **shape, **params})


def fitted(net, X, y, seed=0):
    torch.manual_seed(seed)
    return net.fit(X, y)


class Labels(EpochScoring):
    """Remembers the labels of each epoch, by the first feature of their samples."""

    def __init__(self):
        super().__init__("accuracy", on_train=True, name="train_accuracy", lower_is_better=False)

    def initialize(self):
        self.seen_ = {True: [], False: []}
        return super().initialize()

    def on_batch_end(self, net, batch, y_pred, training, **kwargs):
        X, y = batch
        self.seen_[training].append(dict(zip(X[:, 0].tolist(), y.tolist(), strict=True)))
        super().on_batch_end(net, batch=batch, y_pred=y_pred, training=training, **kwargs)


def labels(net, training=True, epoch=0):
    """Return the label that each sample had in an epoch."""
    batches = dict(net.callbacks_)["labels"].seen_[training]
    n = len(batches) // net.max_epochs
    return {x: y for batch in batches[epoch * n : (epoch + 1) * n] for x, y in batch.items()}


@pytest.mark.parametrize("repeats", [1, 2])
def test_a_share_is_shuffled_once_and_the_classes_keep_their_shares(data, repeats):
    net = classifier(
        label_noise=0.5,
        callbacks=[("labels", Labels())],
        iterator_train__shuffle=True,
        repeats=repeats,
    )
    fitted(net, *data)
    first, second = labels(net), labels(net, epoch=1)
    assert first == second
    assert sorted(first.values()) == sorted(data[1])
    wrong = sum(first[i] != data[1][i] for i in range(60))
    assert 10 <= wrong <= 30  # two thirds of the 30 shuffled get another's label, by chance


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_none_and_all(data, share):
    net = fitted(classifier(label_noise=share, callbacks=[("labels", Labels())]), *data)
    wrong = sum(label != data[1][int(x)] for x, label in labels(net).items())
    assert (wrong == 0) if share == 0 else (wrong > 25)


def test_the_nets_own_validation_part_keeps_its_labels(data):
    net = classifier(label_noise=1.0, callbacks=[("labels", Labels())], train_split=ValidSplit(3))
    fitted(net, *data)
    valid = labels(net, training=False)
    assert len(valid) == 20
    assert all(label == data[1][int(x)] for x, label in valid.items())
    assert len(labels(net)) == 40


def test_a_net_learns_random_labels_by_heart_and_validation_stays_at_chance(data):
    X, y = np.random.default_rng(1).normal(size=(90, 60)).astype(np.float32), np.arange(90) % 3
    X[:, :3] += 6 * np.eye(3, dtype=np.float32)[y]
    train_accuracy = EpochScoring(
        "accuracy", on_train=True, name="train_accuracy", lower_is_better=False
    )
    objective = Objective(
        classifier(
            module__in_features=60,
            max_epochs=25,
            lr=0.1,
            optimizer=torch.optim.Adam,
            callbacks=[("train", train_accuracy)],
        ),
        X,
        y,
        cv=StratifiedKFold(3),
        scoring="accuracy",
    )
    clean, noisy = (
        list(objective.run(Trial(0, {"label_noise": share}, 3)))[-1] for share in (0.0, 1.0)
    )
    assert min(noisy.metrics["train_accuracy"]) == 1.0
    assert clean.value > 0.85
    assert noisy.value < 0.55


def test_put_aside_it_goes_on_with_the_same_labels(data):
    objective = Objective(
        classifier(max_epochs=4, iterator_train__shuffle=True, train_split=ValidSplit(2)),
        *data,
        cv=StratifiedKFold(2, shuffle=True, random_state=0),
        scoring="neg_log_loss",
    )
    trial = Trial(0, {"label_noise": 0.4}, 5)
    straight = [report.fold_values for report in objective.run(trial)]
    first = objective.run(trial)
    values = [next(first).fold_values for _ in range(2)]
    state = first.state()
    first.close()
    values += [report.fold_values for report in objective.resume(trial, state)]
    assert values == straight


def test_more_data_get_labels_of_their_own(data):
    X, y = data
    net = fitted(classifier(label_noise=0.2, callbacks=[("labels", Labels())]), X, y)
    net.partial_fit(X[::-1].copy(), 2 - y)
    seen = dict(net.callbacks_)["labels"].seen_[True]
    last = {x: label for batch in seen[-4:] for x, label in batch.items()}
    assert sum(last[59 - i] == 2 - y[i] for i in range(60)) >= 48


def test_another_fit_shuffles_anew(data):
    net = classifier(label_noise=1.0)
    first = fitted(net, *data).noisy_labels_
    assert not np.array_equal(first, fitted(net, *data, seed=1).noisy_labels_)
    assert np.array_equal(first, fitted(net, *data).noisy_labels_)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(data, share):
    with pytest.raises(ValueError, match=r"^label_noise must be from 0 to 1\. Got"):
        fitted(classifier(label_noise=share), *data)


def test_a_dataset_that_hides_its_labels_is_refused(data):
    class Opaque(TensorDataset):
        def __init__(self, X, y, length=None):
            super().__init__(torch.as_tensor(X), torch.as_tensor(y), torch.zeros(len(X)))

    net = classifier(label_noise=0.5, dataset=Opaque)
    with pytest.raises(ValueError, match=r"^label_noise needs a dataset made of X and y"):
        fitted(net, *data)
