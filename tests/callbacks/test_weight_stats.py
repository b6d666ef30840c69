import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn

from hpo.callbacks import WeightStats


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(np.int64)


class Net(nn.Module):
    """A frozen layer, and weights of which two are zero and one is tiny."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.head = nn.Linear(4, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[0.0, 0.0, 5e-4, -3.0], [1.0, 2.0, -1.0, 1.0]]))

    def forward(self, X):
        return self.head(self.frozen(X))


def fitted(data, **params):
    net = NeuralNetClassifier(
        Net,
        criterion=nn.CrossEntropyLoss,
        lr=0.0,
        max_epochs=2,
        train_split=None,
        verbose=0,
        callbacks=[("stats", WeightStats(**params))],
    )
    return net.fit(*data)


@pytest.mark.parametrize(("threshold", "share"), [(1e-3, 3 / 8), (0.0, 2 / 8)])
def test_it_records_norm_sparsity_and_the_largest_weight_of_each_epoch(data, threshold, share):
    net = fitted(data, threshold=threshold)
    weight = net.module_.head.weight
    assert net.history[:, "weight_norm"] == pytest.approx([weight.norm().item()] * 2)
    assert net.history[:, "sparsity"] == [share] * 2
    assert net.history[:, "max_abs_weight"] == [3.0] * 2


@pytest.mark.parametrize("threshold", [-1e-3, float("nan")])
def test_a_threshold_out_of_range_is_refused(data, threshold):
    with pytest.raises(ValueError, match=r"^The threshold of WeightStats must be a number of 0"):
        fitted(data, threshold=threshold)
