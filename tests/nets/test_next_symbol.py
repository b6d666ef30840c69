import math

import numpy as np
import pytest
import torch

from hpo import Study, run_study
from hpo.callbacks import GradientClipping
from hpo.data import StudyData
from hpo.modules import RecurrentLM
from hpo.nets import NextSymbolLoss, NextSymbolNet
from hpo.trial import TrialState

N_SYMBOLS = 6


@pytest.fixture
def blocks():
    """Blocks in which each symbol says which one follows, four times in five."""
    rng = np.random.default_rng(0)
    steps = rng.choice([1, 2], p=[0.8, 0.2], size=(60, 21))
    symbols = np.cumsum(steps, axis=1) % N_SYMBOLS
    return symbols[:, :-1].copy(), symbols[:, 1:].copy()


def make(cell="lstm", *, lr=0.5, epochs=3, kind="none", **parameters):
    return NextSymbolNet(
        RecurrentLM,
        module__n_symbols=N_SYMBOLS,
        module__cell=cell,
        module__hidden_units=16,
        callbacks=[("clipping", GradientClipping(kind))],
        lr=lr,
        max_epochs=epochs,
        batch_size=16,
        train_split=None,
        verbose=0,
        **parameters,
    )


def test_the_loss_is_that_of_each_place_in_nats():
    torch.manual_seed(0)
    logits, symbols = torch.randn(2, 3, 5), torch.randint(5, (2, 3))
    by_hand = -torch.stack(
        [logits[i, j].log_softmax(0)[symbols[i, j]] for i in range(2) for j in range(3)]
    )
    assert torch.allclose(NextSymbolLoss()(logits, symbols), by_hand.mean())
    guessing = NextSymbolLoss()(torch.zeros(2, 3, 5), symbols).item()
    assert math.isclose(guessing, math.log(5), rel_tol=1e-6)


def test_the_score_is_minus_the_loss_of_all_blocks_whatever_the_batches(blocks):
    net = make(lr=0.0, epochs=1).fit(*blocks)
    X, y = map(torch.as_tensor, blocks)
    loss = NextSymbolLoss()(net.module_(X), y).item()
    for batch_size in (7, 60):
        net.set_params(batch_size=batch_size)
        assert math.isclose(net.score(*blocks), -loss, rel_tol=1e-6)


def test_it_learns_what_follows_what(blocks):
    torch.manual_seed(0)
    net = make("gru", lr=0.02, epochs=40, optimizer=torch.optim.Adam).fit(*blocks)
    entropy = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    assert -math.log(N_SYMBOLS) < -1.0 < net.score(*blocks)
    assert net.score(*blocks) < -0.8 * entropy  # no more can be known


def test_a_trial_that_diverges_is_recorded_as_such_and_ends_nothing(blocks):
    """A plain RNN of ReLUs under a high learning rate, with and without clipping."""
    X, y = blocks
    study = Study(
        name="diverging",
        estimator=make("rnn_relu", epochs=4),
        data=StudyData(X=X, y=y),
        search_space={"callbacks__clipping__kind": ["none", "norm"], "lr": [0.1, 30.0]},
        cv=2,
        sampler="grid",
        pruner="nop",
        n_trials=None,
        storage=None,
        tracker="null",
        refit=False,
    )
    result = run_study(study)
    states = {
        (r.trial.params["callbacks__clipping__kind"], r.trial.params["lr"]): r
        for r in result.records
    }
    assert len(states) == 4
    diverged = states.pop(("none", 30.0))
    assert diverged.state is TrialState.PRUNED
    assert "diverged, the training loss of fold 0 is" in diverged.reason
    assert {r.state for r in states.values()} == {TrialState.COMPLETE}
    assert math.isfinite(result.best_score)
