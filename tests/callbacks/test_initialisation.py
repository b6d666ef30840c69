import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from hpo.callbacks import WeightInit
from hpo.training.objective import Objective
from hpo.trial import Trial

X = np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype("float32")
Y = np.arange(40) % 2


class Net(nn.Sequential):
    """A module of the user's own: a convolution, a normalization and linear layers."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 8, 3),
            nn.BatchNorm2d(8),
            nn.Tanh(),
            nn.Flatten(),
            weight_norm(nn.Linear(128, 256)),
            nn.Linear(256, 2),
        )


def net(module=Net, lr=0.0, **kwargs):
    return NeuralNetClassifier(
        module,
        criterion=nn.CrossEntropyLoss,
        lr=lr,
        max_epochs=1,
        train_split=None,
        verbose=0,
        callbacks=[("init", WeightInit(**kwargs))],
    )


def begun(seed=0, **kwargs):
    torch.manual_seed(seed)
    return net(**kwargs).fit(X, Y).module_


@pytest.mark.parametrize(
    ("scheme", "std"),
    [
        ("xavier_uniform", (2 / (128 + 256)) ** 0.5),
        ("xavier_normal", (2 / (128 + 256)) ** 0.5),
        ("kaiming_uniform", (2 / 128) ** 0.5),
        ("kaiming_normal", (2 / 128) ** 0.5),
        ("orthogonal", (1 / 256) ** 0.5),
    ],
)
def test_weights_have_the_spread_of_their_scheme(scheme, std):
    module = begun(scheme=scheme)
    weight = module[4].weight.detach()
    assert weight.std().item() == pytest.approx(std, rel=0.03)
    limit = weight.abs().max() / weight.std()
    assert (limit < 3**0.5 * 1.02) == scheme.endswith("uniform")
    assert not torch.equal(module[0].weight, begun()[0].weight)
    assert torch.equal(module[1].weight, torch.ones(8))  # a normalization's scale


def test_orthogonal_columns():
    weight = begun(scheme="orthogonal")[4].weight
    torch.testing.assert_close(weight.T @ weight, torch.eye(128), atol=1e-5, rtol=0)


def test_one_spread_one_value_or_none_in_all_layers():
    normal = begun(scheme="normal", std=0.3)
    for layer in (normal[4], normal[5]):
        assert layer.weight.std().item() == pytest.approx(0.3, rel=0.1)
    assert (begun(scheme="constant", constant=-2.0)[5].weight == -2).all()
    zeros = begun(module=Plain, scheme="zeros", bias="zero")
    assert not any(parameter.any() for parameter in zeros.parameters())


def test_a_normalized_weight_cannot_be_zero():
    with pytest.raises(ValueError, match="of ParametrizedLinear, which are reparametrized"):
        begun(scheme="zeros")


class Plain(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(36, 2))


def test_units_that_begin_alike_stay_alike():
    module = begun(scheme="constant", bias="zero", lr=0.1)
    assert torch.equal(module[5].weight, module[5].weight[:, :1].expand_as(module[5].weight))
    assert not torch.equal(module[5].weight, begun(scheme="constant")[5].weight)


def test_a_gain_multiplies():
    plain, tanh = begun(scheme="xavier_normal"), begun(scheme="xavier_normal", activation="tanh")
    torch.testing.assert_close(tanh[5].weight, plain[5].weight * 5 / 3)


def test_default_changes_nothing_and_draws_nothing():
    torch.manual_seed(0)
    untouched = net().set_params(callbacks=None).fit(X, Y)
    state = torch.get_rng_state()
    module = begun()
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(module.parameters(), untouched.module_.parameters(), strict=True):
        assert torch.equal(a, b)


def test_biases_become_zero():
    module = begun(bias="zero")
    assert not module[0].bias.any()
    assert not module[5].bias.any()
    assert torch.equal(module[5].weight, begun()[5].weight)


def test_frozen_layers_stay():
    class Half(Net):
        def __init__(self):
            super().__init__()
            self[0].requires_grad_(False)
            self[0].weight.fill_(0.5)

    module = begun(module=Half, scheme="orthogonal", bias="zero")
    assert (module[0].weight == 0.5).all()
    assert module[0].bias.any()


def test_a_training_that_goes_on_keeps_its_weights():
    fitted = net(scheme="orthogonal", lr=0.1).fit(X, Y)
    before = fitted.module_[5].weight.clone()
    fitted.set_params(lr=0.0).partial_fit(X, Y)
    assert torch.equal(fitted.module_[5].weight, before)
    assert not torch.equal(fitted.fit(X, Y).module_[5].weight, before)


def test_each_fold_draws_from_its_own_stream():
    objective = Objective(net(lr=0.1), X, Y, cv=2, epochs=2)
    trial = Trial(0, {"callbacks__init__scheme": "kaiming_normal"}, seed=1)

    def values():
        return [report.fold_values for report in objective.run(trial)]

    first = values()
    torch.manual_seed(123)
    assert values() == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "xavier"}, "scheme of WeightInit must be one of: default, xavier_uniform"),
        ({"bias": "one"}, "bias of WeightInit must be one of: default, zero. Got 'one' instead"),
        ({"activation": "rellu"}, "rellu"),
        ({"std": 0.0}, "The std of WeightInit must be greater than 0. Got 0.0."),
        ({"constant": float("nan")}, "constant of WeightInit must be a finite number. Got nan."),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        net(**options).initialize()
