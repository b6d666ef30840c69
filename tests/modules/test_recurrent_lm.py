import math
import warnings

import pytest
import torch
from torch import nn

from hpo.modules import RecurrentLM

CELLS = ("gru", "lstm", "rnn_relu", "rnn_tanh")


@pytest.mark.parametrize("cell", CELLS)
def test_each_place_has_a_logit_for_each_symbol_and_sees_none_after_it(cell):
    torch.manual_seed(0)
    model = RecurrentLM(7, cell, hidden_units=5, n_layers=2)
    X = torch.randint(7, (3, 11))
    changed = X.clone()
    changed[:, 6] = (X[:, 6] + 1) % 7
    before, after = model(X), model(changed)
    assert before.shape == (3, 11, 7)
    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_relu_units_have_no_upper_bound_and_tanh_units_do():
    for cell, bounded in (("rnn_relu", False), ("rnn_tanh", True)):
        model = RecurrentLM(2, cell, hidden_units=4)
        with torch.no_grad():
            model.recurrent.weight_hh_l0.copy_(3 * torch.eye(4))
            model.recurrent.bias_hh_l0.fill_(1.0)
            states, _ = model.recurrent(model.embedding(torch.zeros(1, 100, dtype=torch.int64)))
        assert bool(states.max() <= 1) is bounded
        assert bool(states.isfinite().all()) is bounded


def test_dropout_acts_in_training_only_and_on_one_layer_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = RecurrentLM(7, dropout=0.5)
    X = torch.randint(7, (2, 5))
    assert not torch.equal(model(X), model(X))
    model.eval()
    assert torch.equal(model(X), model(X))


def test_it_learns_a_sequence_by_heart():
    torch.manual_seed(0)
    text = torch.randint(5, (1, 21))
    model = RecurrentLM(5, "gru", hidden_units=32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(80):
        loss = nn.functional.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 < math.log(5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cell": "lstn"}, "must be one of: gru, lstm, rnn_relu, rnn_tanh. Got 'lstn'"),
        ({"hidden_units": 0}, "hidden_units of RecurrentLM must be at least 1. Got 0"),
        ({"dropout": 1.0}, "must be from 0 to below 1. Got 1.0"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RecurrentLM(7, **arguments)
