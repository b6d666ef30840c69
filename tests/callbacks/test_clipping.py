import numpy as np
import pytest
import torch
from skorch import NeuralNetRegressor
from torch import nn, optim

from hpo.callbacks import GradientClipping
from hpo.training.objective import Objective
from hpo.trial import Trial

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = 100 * X[:, :1]


class Net(nn.Linear):
    """A module of the user's own."""

    def __init__(self):
        super().__init__(4, 1)
        with torch.no_grad():
            self.weight.fill_(0.1)
            self.bias.fill_(0.0)


def net(lr=1.0, max_epochs=1, **clipping):
    return NeuralNetRegressor(
        Net,
        optimizer=optim.SGD,
        lr=lr,
        batch_size=-1,
        max_epochs=max_epochs,
        train_split=None,
        verbose=0,
        callbacks=[("clipping", GradientClipping(**clipping))],
    )


def step_of(**clipping):
    """Return how far one step of plain SGD with a rate of 1 moved each weight, and the net."""
    before = Net()
    fitted = net(**clipping).fit(X, Y)
    pairs = zip(before.parameters(), fitted.module_.parameters(), strict=True)
    return torch.cat([(b - a).flatten() for b, a in pairs]).detach(), fitted


def test_none_leaves_the_gradient_and_tells_its_norm():
    step, fitted = step_of()
    assert step.norm() > 10
    assert fitted.history[0, "grad_norm"] == pytest.approx(step.norm().item())


def test_a_norm_shortens_and_keeps_the_direction():
    whole, _ = step_of()
    step, fitted = step_of(kind="norm", max_norm=0.5)
    assert step.norm().item() == pytest.approx(0.5, rel=1e-4)
    torch.testing.assert_close(step / step.norm(), whole / whole.norm(), rtol=1e-4, atol=1e-6)
    assert fitted.history[0, "grad_norm"] == pytest.approx(whole.norm().item())
    untouched, _ = step_of(kind="norm", max_norm=1e6)
    assert torch.equal(untouched, whole)


def test_a_value_cuts_each_number():
    whole, _ = step_of()
    step, _ = step_of(kind="value", max_value=2.0)
    torch.testing.assert_close(step, whole.clamp(-2, 2))


def test_the_mean_and_the_greatest_of_an_epochs_norms():
    fitted = net(lr=0.0).set_params(batch_size=8).fit(X, Y)
    module, norms = Net(), []
    for rows in range(0, 32, 8):
        module.zero_grad()
        nn.functional.mse_loss(
            module(torch.tensor(X[rows : rows + 8])), torch.tensor(Y[rows : rows + 8])
        ).backward()
        norms.append(torch.cat([p.grad.flatten() for p in module.parameters()]).norm().item())
    assert fitted.history[0, "grad_norm"] == pytest.approx(np.mean(norms))
    assert fitted.history[0, "grad_norm_max"] == pytest.approx(max(norms))


def test_what_diverges_without_it_converges_with_it():
    def loss(**params):
        named = {f"callbacks__clipping__{name}": value for name, value in params.items()}
        objective = Objective(net(lr=2.0), X, Y, cv=2, scoring="r2", epochs=10)
        return next(reversed(list(objective.run(Trial(0, named, seed=1))))).metrics["train_loss"]

    assert min(loss(kind="none")) > 1e6
    assert max(loss(kind="norm", max_norm=1.0)) < 1e4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "nrom"}, "must be one of: none, norm, value. Got 'nrom' instead, did you mean"),
        ({"max_norm": 0}, "max_norm must be greater than 0. Got 0 instead."),
        ({"max_value": float("nan")}, "max_value must be greater than 0. Got nan instead."),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        net(**options).initialize()
