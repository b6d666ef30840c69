import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch import NeuralNetClassifier
from torch import nn

from hpo.modules import MLP
from hpo.nets import RegularizedClassifier, RegularizedRegressor


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)).astype(np.float32)
    return X, (X[:, 0] + X[:, 1] > 0).astype(np.int64)


def classifier(module=MLP, **params):
    given = {"module__n_features": 4, "module__n_classes": 2} if module is MLP else {}
    return RegularizedClassifier(
        module,
        **{**given, "max_epochs": 3, "lr": 0.1, "train_split": None, "verbose": 0, **params},
    )


def fitted(net, X, y, seed=0):
    torch.manual_seed(seed)
    return net.fit(X, y)


def weights(net):
    return torch.cat([p.detach().ravel() for p in net.module_.parameters()])


class Normalized(nn.Module):
    """Weights of every kind: a convolution, a normalization, a frozen layer and a head."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 3, 2)
        self.norm = nn.BatchNorm1d(3)
        self.frozen = nn.Linear(9, 9).requires_grad_(False)
        self.head = nn.Linear(9, 2)

    def forward(self, X):
        return self.head(self.frozen(self.norm(self.conv(X[:, None])).flatten(1)))


@pytest.mark.parametrize(("l1", "l2"), [(0.01, 0.0), (0.0, 0.02), (0.01, 0.02)])
def test_the_penalty_is_over_learnable_weights_without_biases_and_scales(data, l1, l2):
    X, y = data
    net = classifier(Normalized, l1_lambda=l1, l2_lambda=l2).initialize()
    y_pred = net.infer(torch.from_numpy(X))
    bare = net.get_loss(y_pred, y, training=False)
    loss = net.get_loss(y_pred, y, training=True)
    module = net.module_
    expected = sum(
        l1 * w.abs().sum() + l2 * w.pow(2).sum() for w in (module.conv.weight, module.head.weight)
    )
    torch.testing.assert_close(loss - bare, expected)


def test_without_penalties_it_trains_as_skorch_does(data):
    X, y = data
    plain = NeuralNetClassifier(
        MLP,
        module__n_features=4,
        module__n_classes=2,
        criterion=nn.CrossEntropyLoss,
        max_epochs=3,
        lr=0.1,
        train_split=None,
        verbose=0,
    )
    assert torch.equal(weights(fitted(classifier(), X, y)), weights(fitted(plain, X, y)))


def test_without_penalties_nothing_is_computed_for_them(data):
    X, y = data
    net = classifier().initialize()
    y_pred = net.infer(torch.from_numpy(X))
    of_training = net.get_loss(y_pred, y, training=True)
    of_validation = net.get_loss(y_pred, y, training=False)
    assert of_training.grad_fn.name() == of_validation.grad_fn.name()


def test_l2_is_half_the_weight_decay_of_sgd(data):
    X, y = data
    penalized = fitted(classifier(l2_lambda=0.05, module__n_layers=0), X, y)
    decayed = fitted(
        classifier(
            module__n_layers=0,
            optimizer__param_groups=[("*.weight", {"weight_decay": 0.1})],
        ),
        X,
        y,
    )
    torch.testing.assert_close(weights(penalized), weights(decayed))


def test_l1_drives_weights_to_zero(data):
    X, y = data
    small = [
        (weights(fitted(classifier(l1_lambda=value, max_epochs=50), X, y)).abs() < 0.02).sum()
        for value in (0.0, 0.01)
    ]
    assert small[1] > 3 * small[0]


def test_probabilities_are_the_softmax_of_the_logits(data):
    X, y = data
    net = fitted(classifier(), X, y)
    logits = net.forward(X)
    np.testing.assert_allclose(net.predict_proba(X), logits.softmax(-1).numpy(), rtol=1e-6)


@pytest.mark.parametrize("net", [classifier(), RegularizedRegressor(MLP, verbose=0)])
def test_parameters_follow_the_contract_of_scikit_learn(net):
    net.set_params(l1_lambda=0.3, module__dropout=0.1)
    copy = clone(net).set_params(l2_lambda=0.4)
    params = copy.get_params()
    assert (params["l1_lambda"], params["l2_lambda"]) == (0.3, 0.4)
    assert (params["module__dropout"], net.l2_lambda) == (0.1, 0.0)
    assert pickle.loads(pickle.dumps(copy)).get_params()["l2_lambda"] == 0.4


def test_typing_errors_are_told_by_skorch(data):
    with pytest.raises(ValueError, match=r"unexpected argument.*l1_lamda"):
        classifier(l1_lamda=0.1).fit(*data)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["l1_lambda", "l2_lambda"])
def test_a_coefficient_out_of_range_is_refused_in_fit(data, name, value):
    net = classifier(**{name: value})
    with pytest.raises(ValueError, match=f"^{name} must be a number of 0 or greater. Got"):
        net.fit(*data)


def test_the_regressor_learns(data):
    X, _ = data
    y = X[:, :1] * 2
    net = RegularizedRegressor(
        MLP,
        module__n_features=4,
        module__n_classes=1,
        l2_lambda=1e-4,
        max_epochs=100,
        lr=0.1,
        train_split=None,
        verbose=0,
    )
    assert fitted(net, X, y).score(X, y) > 0.9
