"""What the analyses of data, weights and sizes find, on winners whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn

from hpo.analyses.data import Data
from hpo.analyses.learning_curve import LearningCurve
from hpo.analyses.weights import Weights
from hpo.testing.analyses import trained_winner


@pytest.fixture(scope="module")
def winner():
    return trained_winner()


def test_data_counts_samples_classes_and_channels(winner):
    y = np.repeat([0, 1, 2], [60, 30, 10])
    known = replace(winner, X=np.zeros((100, 3, 8, 8)), y=y)
    data = Data().compute(known)
    assert (data["n_samples"], data["n_classes"], data["n_channels"]) == (100, 3, 3)
    assert data["counts"] == [60, 30, 10]
    assert data["majority_share"] == pytest.approx(0.6)
    told = dict(Data().summarize(data))
    assert told["one sample"] == "3 x 8 x 8 (3 channels)"
    assert "3, the largest with 60.0% of the samples" in told["classes"]
    assert told["classes"].endswith("the smallest with 10")
    Data().plot(data)


def test_data_of_a_numeric_target_are_spread(winner):
    y = np.arange(100.0)
    data = Data().compute(replace(winner, X=np.zeros((100, 4)), y=y, classes=None))
    assert sum(data["counts"]) == 100
    assert "49.5 ± 28.9" in dict(Data().summarize(data))["target"]
    Data().plot(data)


def test_weights_are_counted_by_layer():
    net = NeuralNetClassifier(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    net.initialize()
    with torch.no_grad():
        net.module_[0].weight.zero_().view(-1)[:3] = 0.5
        net.module_[2].weight.fill_(-1.0)
    data = Weights().compute(replace(trained_winner(), estimator=net))
    assert data["n_weights"] == 18  # without biases
    assert data["near_zero"] == pytest.approx(9 / 18)
    assert data["layers"]["0.weight"]["near_zero"] == pytest.approx(9 / 12)
    assert sum(data["layers"]["2.weight"]["counts"]) == 6
    assert data["norm"] == pytest.approx((3 * 0.25 + 6) ** 0.5)
    Weights().plot(data)


def test_weights_of_what_is_no_net_are_refused(winner):
    with pytest.raises(ValueError, match="object is no skorch net"):
        Weights().compute(replace(winner, estimator=object()))


class Counted:
    """As right as it has samples to learn from."""

    def __init__(self, y, n, of):
        self._predicted = np.where(np.arange(len(y)) < len(y) * n / of, y, -1)

    def predict(self, X):
        return self._predicted


def test_a_learning_curve_grows_with_the_samples(winner):
    y, y_test = np.arange(160) % 3, np.arange(80) % 3
    asked = []

    def refit(record, rows):
        asked.append(rows)
        return Counted(y_test, len(rows), 160)

    known = replace(
        winner, X=np.zeros((160, 2)), y=y, X_test=np.zeros((80, 2)), y_test=y_test, refitter=refit
    )
    data = LearningCurve(n_sizes=3, repeats=2).compute(known)
    assert data["sizes"] == [40, 80, 160]
    assert np.mean(data["accuracy"], axis=1) == pytest.approx([0.25, 0.5, 1.0])
    assert data["gain_of_last_doubling"] == pytest.approx(0.5)
    assert all(len(np.unique(rows)) == len(rows) and set(y[rows]) == {0, 1, 2} for rows in asked)
    assert not np.array_equal(asked[0], asked[1])
    assert "more samples help" in LearningCurve().summarize(data)[1][1]
    LearningCurve().plot(data)
    with pytest.raises(ValueError, match="ask for fewer sizes"):
        LearningCurve(n_sizes=7).compute(known)
