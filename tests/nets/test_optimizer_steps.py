import math

import numpy as np
import pytest
import torch
from skorch import NeuralNetRegressor
from skorch.callbacks import Callback, GradientNormClipping
from torch import nn

from hpo.nets._optimizer_steps import OptimizerStepsMixin, schedule_factor


class Net(OptimizerStepsMixin, NeuralNetRegressor):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class Watch(Callback):
    """Takes down the learning rates, and the norm of the gradients, of each optimizer step."""

    def on_train_begin(self, net, **kwargs):
        self.rates, self.norms = [], []

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.norms.append(math.hypot(*(p.grad.norm().item() for _, p in named_parameters)))

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self.rates.append([group["lr"] for group in net.optimizer_.param_groups])


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3)).astype("float32")
    return X, X.sum(axis=1, keepdims=True)


def fitted(data, cls=Net, **kwargs):
    torch.manual_seed(0)
    defaults = dict(
        module__in_features=3,
        module__out_features=1,
        lr=0.05,
        max_epochs=3,
        batch_size=4,
        train_split=None,
        verbose=0,
        callbacks=[("watch", Watch())],
    )
    return cls(nn.Linear, **{**defaults, **kwargs}).fit(*data)


def weights(net):
    return torch.cat([p.detach().ravel() for p in net.module_.parameters()])


def watch(net):
    return dict(net.callbacks_)["watch"]


def test_without_its_parameters_it_trains_as_skorch_does(data):
    assert torch.equal(weights(fitted(data)), weights(fitted(data, NeuralNetRegressor)))


@pytest.mark.parametrize("rows", [20, 18, 13], ids=["whole", "short batch", "few batches"])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_gradients_of_batches_make_the_step_of_one_batch(data, rows, optimizer):
    X, y = (part[:rows] for part in data)
    whole = fitted((X, y), batch_size=8, optimizer=optimizer)
    parts = fitted((X, y), batch_size=4, gradient_accumulation_steps=2, optimizer=optimizer)
    torch.testing.assert_close(weights(parts), weights(whole))
    np.testing.assert_allclose(watch(parts).norms, watch(whole).norms, rtol=1e-5)


def test_the_reported_loss_is_that_of_the_batches(data):
    parts = fitted(data, gradient_accumulation_steps=5, lr=0.0001)
    plain = fitted(data, lr=0.0)
    assert parts.history[0, "train_loss"] == pytest.approx(plain.history[0, "train_loss"])


def test_clipping_acts_on_the_whole_gradient(data):
    clip = ("clip", GradientNormClipping(0.1))
    whole = fitted(data, batch_size=8, callbacks=[clip])
    parts = fitted(data, gradient_accumulation_steps=2, callbacks=[clip])
    torch.testing.assert_close(weights(parts), weights(whole))


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("warmup_ratio", [0.0, 0.1, 0.25])
def test_the_schedule_is_that_of_transformers(schedule, warmup_ratio):
    from transformers import get_scheduler

    n_steps = 40
    n_warmup = math.ceil(warmup_ratio * n_steps)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_scheduler(
        name, optimizer, num_warmup_steps=n_warmup, num_training_steps=n_steps
    ).lr_lambdas[0]
    for step in range(n_steps):
        expected = theirs(step + 1 if step < n_warmup else step)
        assert schedule_factor(schedule, step, n_steps, warmup_ratio) == pytest.approx(expected)


def test_the_rate_rises_and_falls_by_optimizer_steps(data):
    net = fitted(
        data,
        max_epochs=4,
        batch_size=2,
        gradient_accumulation_steps=5,
        lr_schedule="linear",
        warmup_ratio=0.25,
        schedule_epochs=4,
    )
    rates = np.array(watch(net).rates)[4::5, 0] / 0.05
    np.testing.assert_allclose(rates, [1 / 2, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])


def test_fewer_epochs_follow_the_same_schedule(data):
    schedule = {"lr_schedule": "cosine", "warmup_ratio": 0.1, "schedule_epochs": 4}
    long, short = (fitted(data, max_epochs=n, **schedule) for n in (4, 2))
    assert watch(long).rates[:10] == watch(short).rates


def test_beyond_the_schedule_nothing_is_learned(data):
    ended, longer = (
        fitted(data, max_epochs=n, lr_schedule="linear", schedule_epochs=2) for n in (2, 4)
    )
    assert torch.equal(weights(ended), weights(longer))


def test_groups_keep_their_ratio(data):
    net = fitted(
        data,
        optimizer__param_groups=[("bias", {"lr": 0.2})],
        lr_schedule="linear",
        schedule_epochs=3,
    )
    bias, weight = np.array(watch(net).rates).T
    np.testing.assert_allclose(bias, 4 * weight)
    assert weight[0] == 0.05
    net.set_params(lr=0.1).partial_fit(*data)
    assert watch(net).rates[0] == pytest.approx([0.4, 0.1])


@pytest.mark.parametrize("name", ["lr", "optimizer__lr"])
def test_a_rate_that_is_changed_on_the_way_holds(data, name):
    net = fitted(data, **{name: 0.02})
    net.set_params(**{name: 0.01}).partial_fit(*data)
    assert watch(net).rates[-1] == [0.01]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps must be at least 1. Got"),
        ({"lr_schedule": "cosin"}, "lr_schedule must be one of: constant, linear, cosine. Got"),
        ({"warmup_ratio": 1.0}, "warmup_ratio must be from 0 to below 1. Got 1.0"),
        ({"schedule_epochs": 0}, "schedule_epochs must be at least 1. Got 0"),
        ({"lr_schedule": "linear"}, "lr_schedule='linear' with warmup_ratio=0.0 needs schedule_"),
        ({"warmup_ratio": 0.1}, "lr_schedule='constant' with warmup_ratio=0.1 needs schedule_ep"),
    ],
)
def test_what_is_out_of_range_is_refused(data, params, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        fitted(data, **params)
