import pickle

import pytest
import torch
from torch import nn

from hpo.modules import ResidualMLP

NORMS = ["none", "batch", "layer", "group", "instance", "rms", "weight"]


@pytest.mark.parametrize("norm", NORMS)
def test_every_block_adds_to_what_comes_in(norm):
    torch.manual_seed(0)
    model, X = ResidualMLP(12, 3, 16, 2, norm=norm), torch.randn(8, 3, 2, 2)
    assert model(X).shape == (8, 3)
    hidden = model.first(X.flatten(1))
    for block in model.blocks:
        hidden = hidden + block(hidden)
    torch.testing.assert_close(model.last(hidden), model(X))
    with torch.no_grad():  # blocks that answer zero are as good as none
        for block in model.blocks:
            block[-1].register_forward_hook(lambda module, inputs, output: 0 * output)
    torch.testing.assert_close(model(X), model.last(model.first(X.flatten(1))))


def test_gradients_reach_the_first_layer_of_a_deep_net():
    torch.manual_seed(0)
    model = ResidualMLP(5, 2, 16, 40)
    model(torch.randn(32, 5)).square().mean().backward()
    assert model.first.weight.grad.norm() > 1e-3


def test_depth_width_and_dropout_are_those_asked_for():
    model = ResidualMLP(5, 2, 16, 3, dropout=0.2)
    linear = [m for m in model.blocks.modules() if isinstance(m, nn.Linear)]
    assert [tuple(m.weight.shape) for m in linear] == [(16, 16)] * 6
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.2] * 3
    assert len(ResidualMLP(5, 2, n_blocks=0).blocks) == 0


def test_pickles():
    model, X = ResidualMLP(5, 2).eval(), torch.randn(4, 5)
    assert torch.equal(pickle.loads(pickle.dumps(model))(X), model(X))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden_units": 0}, "The hidden_units of ResidualMLP must be at least 1. Got 0"),
        ({"n_blocks": -1}, "The n_blocks of ResidualMLP must be at least 0. Got -1"),
        ({"dropout": 1}, "The dropout of ResidualMLP must be from 0 to below 1. Got 1"),
        ({"norm": "bach"}, "The norm of ResidualMLP .* Got 'bach' instead, did you mean 'batch'"),
        ({"activation": "rel"}, "The activation of ResidualMLP must be one of"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResidualMLP(5, 3, **arguments)
