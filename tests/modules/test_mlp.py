import pickle

import pytest
import torch
from torch import nn

from hpo.modules import MLP, ResidualMLP


def names_and_shapes(model):
    return {name: tuple(p.shape) for name, p in model.named_parameters()}


def test_layers_have_the_widths_and_depth_asked_for():
    assert names_and_shapes(MLP(5, 3, hidden_units=7, n_layers=2)) == {
        "layers.0.weight": (7, 5),
        "layers.0.bias": (7,),
        "layers.3.weight": (7, 7),
        "layers.3.bias": (7,),
        "layers.6.weight": (3, 7),
        "layers.6.bias": (3,),
    }


def test_without_hidden_layers_it_is_linear():
    model = MLP(5, 3, n_layers=0)
    X = torch.randn(4, 5)
    linear = model.layers[0]
    assert torch.equal(model(X), X @ linear.weight.T + linear.bias)


def test_outputs_are_logits():
    torch.manual_seed(0)
    outputs = MLP(5, 3)(100 * torch.randn(50, 5))
    assert outputs.shape == (50, 3)
    assert outputs.min() < 0
    assert outputs.max() > 1


def test_dropout_changes_nothing_but_its_probability():
    with_, without = MLP(5, 3, dropout=0.5), MLP(5, 3)
    assert names_and_shapes(with_) == names_and_shapes(without)
    assert [m.p for m in with_.layers if isinstance(m, nn.Dropout)] == [0.5, 0.5]


def test_each_hidden_layer_may_have_its_own_dropout():
    def rates(**kwargs):
        model = MLP(5, 3, n_layers=3, **kwargs)
        return [m.p for m in model.modules() if isinstance(m, nn.Dropout)]

    assert rates(dropout=[0.1, 0.2, 0.3]) == [0, 0.1, 0.2, 0.3]
    assert rates(dropout=0.4, dropout_layers="first", dropout_input=0.2) == [0.2, 0.4, 0, 0]
    assert rates(dropout=0.4, dropout_layers="last") == [0, 0, 0, 0.4]


def test_single_layers_have_rates_of_their_own():
    model = MLP(5, 3, n_layers=3, dropout=0.4, dropout_1=0.1, dropout_3=0.0)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0, 0.1, 0.4, 0.0]
    with pytest.raises(ValueError, match="MLP has 2 hidden layers, and dropout_3 is of another"):
        MLP(5, 3, n_layers=2, dropout_3=0.1)


@pytest.mark.parametrize(("groups", "made"), [(1, 1), (4, 4), (24, 8), (32, 32)])
def test_groups_divide_the_width(groups, made):
    for module in (MLP, ResidualMLP):
        model = module(5, 3, hidden_units=32 if groups != 24 else 16, norm="group", groups=groups)
        of = [m.num_groups for m in model.modules() if isinstance(m, nn.GroupNorm)]
        assert set(of) == {made}


def test_inputs_are_dropped_in_training_only():
    torch.manual_seed(0)
    model = MLP(1000, 1, n_layers=0, dropout_input=0.25)
    X = torch.ones(1, 1000)
    dropped = model.input_dropout(X)
    assert ((dropped == 0).float().mean() - 0.25).abs() < 0.05
    model.eval()
    assert torch.equal(model(X), model.layers(X))


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "instance", "rms"])
def test_a_norm_makes_units_of_one_size(norm):
    torch.manual_seed(0)
    model = MLP(5, 3, hidden_units=32, norm=norm)
    first, normed = model.layers[0], model.layers[1]
    outputs = normed(first(100 * torch.randn(64, 5)))
    assert outputs.shape == (64, 32)
    over = {"batch": (0,), "group": (2,)}.get(norm, (1,))
    grouped = outputs.unflatten(1, (8, 4)) if norm == "group" else outputs
    size = grouped.square().mean(over)
    torch.testing.assert_close(size, torch.ones_like(size), atol=1e-2, rtol=0)
    assert isinstance(model.layers[2], nn.ReLU)
    assert isinstance(model.layers[-1], nn.Linear)


def test_weight_norm_divides_length_and_direction():
    model = MLP(5, 3, hidden_units=4, norm="weight")
    shapes = names_and_shapes(model)
    assert shapes["layers.0.parametrizations.weight.original0"] == (4, 1)
    assert shapes["layers.6.weight"] == (3, 4)
    with torch.no_grad():
        model.layers[0].parametrizations.weight.original1.mul_(7)
    lengths = model.layers[0].parametrizations.weight.original0
    torch.testing.assert_close(model.layers[0].weight.norm(dim=1, keepdim=True), lengths)


def test_images_are_flattened():
    model, X = MLP(12, 2), torch.randn(4, 3, 2, 2)
    assert torch.equal(model(X), model(X.flatten(1)))


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    model, X = MLP(5, 3, dropout=0.5), torch.randn(4, 5)
    assert not torch.equal(model(X), model(X))
    model.eval()
    assert torch.equal(model(X), model(X))


def test_without_dropout_no_random_number_is_drawn():
    model, before = MLP(5, 3), torch.get_rng_state()
    model(torch.randn(4, 5, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("activation", ["elu", "gelu", "leaky_relu", "relu", "silu", "tanh"])
def test_many_models_run_as_one_under_vmap(activation):
    models = [MLP(5, 3, hidden_units=8, activation=activation) for _ in range(4)]
    params, buffers = torch.func.stack_module_state(models)
    X = torch.randn(4, 6, 5)

    def call(params, buffers, X):
        return torch.func.functional_call(models[0], (params, buffers), (X,))

    together = torch.vmap(call)(params, buffers, X)
    apart = torch.stack([model(x) for model, x in zip(models, X, strict=True)])
    torch.testing.assert_close(together, apart)


def test_pickles():
    model = MLP(5, 3)
    X = torch.randn(2, 5)
    assert torch.equal(pickle.loads(pickle.dumps(model))(X), model(X))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden_units": 0}, "The hidden_units of MLP must be at least 1. Got 0 instead."),
        ({"groups": 0}, "The groups of MLP must be at least 1. Got 0 instead."),
        ({"dropout_1": 1.0}, "The dropout_1 of MLP must be from 0 to below 1. Got 1.0 instead."),
        ({"n_layers": -1}, "The n_layers of MLP must be at least 0. Got -1 instead."),
        ({"dropout": 1.0}, "The dropout of MLP must be from 0 to below 1. Got 1.0 instead."),
        (
            {"dropout_input": -1},
            "The dropout_input of MLP must be from 0 to below 1. Got -1 instead.",
        ),
        (
            {"norm": "batchnorm"},
            "The norm of MLP must be one of: none, batch, layer, group, instance, rms, weight. "
            "Got 'batchnorm' instead, did you mean 'batch'?",
        ),
        (
            {"dropout": [0.1], "n_layers": 2},
            "The dropout of MLP must be a number, or one for each of 2 hidden layers with "
            "dropout_layers='all'. Got [0.1] and 'all' instead.",
        ),
        (
            {"activation": "rellu"},
            "The activation of MLP must be one of: elu, gelu, leaky_relu, relu, silu, tanh. "
            "Got 'rellu' instead, did you mean 'relu'?",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        MLP(5, 3, **arguments)
    assert str(caught.value) == message


def test_an_unknown_module_is_an_attribute_error():
    import hpo.modules

    assert "MLP" in dir(hpo.modules)
    with pytest.raises(AttributeError, match="no attribute 'CNM'"):
        _ = hpo.modules.CNM
