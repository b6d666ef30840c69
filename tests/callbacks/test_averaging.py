import pickle

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping
from skorch.dataset import ValidSplit
from torch import nn

from hpo.callbacks import WeightAveraging
from hpo.training.objective import Objective
from hpo.training.refit import refit
from hpo.trial import Trial

N = 5
STOP = dict(patience=1, threshold_mode="abs")  # after two epochs, whatever they bring
RNG = np.random.default_rng(0)
X = RNG.normal(size=(65, 5)).astype("float32")  # 5 batches of 16, the last of one
Y = (X[:, 0] + 0.5 * RNG.normal(size=65) > 0).astype("int64")


class Net(nn.Sequential):
    """A module of the user's own, with batch normalization where asked for."""

    def __init__(self, norm=False, dropout=0.0):
        between = [nn.BatchNorm1d(8)] if norm else []
        super().__init__(nn.Linear(5, 8), *between, nn.Dropout(dropout), nn.Linear(8, 2))


def net(callbacks=(), norm=False, max_epochs=N, **averaging):
    return NeuralNetClassifier(
        Net,
        module__norm=norm,
        criterion=nn.CrossEntropyLoss,
        lr=0.5,
        max_epochs=max_epochs,
        batch_size=16,
        train_split=None,
        verbose=0,
        iterator_train__drop_last=norm,
        callbacks=[("averaging", WeightAveraging(**averaging)), *callbacks],
    )


def fit(estimator):
    torch.manual_seed(0)
    return estimator.fit(X, Y)


def weights(estimator):
    return {name: value.clone() for name, value in estimator.module_.state_dict().items()}


def mean(states):
    return {name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], msg=name)


def test_swa_is_the_mean_over_the_ends_of_epochs():
    raw = [weights(fit(net(max_epochs=n))) for n in range(1, N + 1)]
    assert_same(weights(fit(net(kind="swa"))), mean(raw))
    assert_same(weights(fit(net(kind="swa", start_epoch=4))), mean(raw[3:]))
    assert_same(weights(fit(net(kind="swa", start_epoch=N + 1))), raw[-1])


def test_ema_follows_each_batch():
    estimator, seen = net(max_epochs=2), []
    train_step = estimator.train_step

    def watched(batch, **params):
        step = train_step(batch, **params)
        seen.append(weights(estimator))
        return step

    estimator.train_step = watched
    fit(estimator)
    expected = seen[0]
    for n, state in enumerate(seen[1:], start=1):
        decay = min(0.5, (1 + n) / (10 + n))
        expected = {k: decay * v + (1 - decay) * state[k] for k, v in expected.items()}
    assert_same(weights(fit(net(kind="ema", decay=0.5, max_epochs=2))), expected)


@pytest.mark.parametrize("kind", ["swa", "ema"])
def test_training_goes_on_with_the_raw_weights(kind):
    plain, averaged = fit(net()), fit(net(kind=kind))
    assert averaged.history[:, "train_loss"] == plain.history[:, "train_loss"]
    assert not torch.equal(averaged.module_[0].weight, plain.module_[0].weight)


def test_scores_and_validation_losses_are_the_averages():
    estimator = net(kind="swa").set_params(train_split=ValidSplit(3))
    fit(estimator)
    _, valid = estimator.get_split_datasets(X, Y)
    outputs = estimator.forward(valid)
    loss = nn.functional.cross_entropy(outputs, torch.tensor([y for _, y in valid]))
    assert estimator.history[-1, "valid_loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_swa_makes_the_statistics_of_batch_normalization_anew():
    fitted = fit(net(kind="swa", norm=True))
    first = fitted.module_[0](torch.tensor(X)).detach()
    torch.testing.assert_close(fitted.module_[1].running_mean, first.mean(0), atol=0.1, rtol=0.1)
    # The mean over batches of 16 and less than that of the whole.
    ratio = fitted.module_[1].running_var / first.var(0)
    assert ((ratio > 0.7) & (ratio < 1.3)).all()
    assert fitted.module_[1].momentum == 0.1


def test_ema_averages_the_statistics_of_batch_normalization():
    estimator = fit(net(kind="ema", norm=True))
    average = dict(estimator.callbacks_)["averaging"].average_.module
    assert torch.equal(estimator.module_[1].running_var, average[1].running_var)
    plain = fit(net(norm=True)).module_
    assert not torch.equal(estimator.module_[1].running_var, plain[1].running_var)


def test_early_stopping_behind_it_restores_an_average():
    stop = EarlyStopping("train_loss", threshold=10, **STOP, load_best=True)
    stopped = fit(net([("stop", stop)], kind="swa"))
    assert len(stopped.history) == 2
    assert_same(weights(stopped), weights(fit(net(kind="swa", max_epochs=1))))


def test_one_that_stops_the_training_before_it_does_not_leave_raw_weights():
    stop = EarlyStopping("train_loss", threshold=10, **STOP)
    estimator = net(kind="swa")
    estimator.set_params(callbacks=[("stop", stop), *estimator.callbacks])
    assert_same(weights(fit(estimator)), weights(fit(net(kind="swa", max_epochs=2))))


@pytest.mark.parametrize("kind", ["swa", "ema"])
def test_a_training_that_is_put_aside_goes_on(kind):
    estimator = net(kind=kind, norm=True, start_epoch=2).set_params(
        module__dropout=0.2, iterator_train__shuffle=True
    )
    objective = Objective(estimator, X, Y, cv=2, scoring="neg_log_loss", epochs=N)
    trial = Trial(0, {}, seed=1)
    whole = [r.fold_values for r in objective.run(trial)]
    for at in (1, 3):
        run = objective.run(trial)
        before = [next(run).fold_values for _ in range(at)]
        state = run.state()
        run.close()
        assert before + [r.fold_values for r in objective.resume(trial, state)] == whole
    raw = {"callbacks__averaging__kind": "none"}
    plain = [r.fold_values for r in objective.run(Trial(0, raw, seed=1))]
    assert plain[0] == whole[0]
    assert plain[-1] != whole[-1]


@pytest.mark.parametrize("kind", ["swa", "ema"])
def test_a_fitted_net_pickles_and_can_go_on(kind):
    fitted = refit(net(norm=True), {"callbacks__averaging__kind": kind}, X, Y, n_steps=3, seed=0)
    copy = pickle.loads(pickle.dumps(fitted))
    assert (copy.predict_proba(X) == fitted.predict_proba(X)).all()
    for one in (fitted, copy):
        torch.manual_seed(1)
        one.partial_fit(X, Y)
    assert (copy.predict_proba(X) == fitted.predict_proba(X)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "swe"}, "must be one of: none, swa, ema. Got 'swe' instead, did you mean"),
        ({"start_epoch": 0}, "start_epoch must be at least 1. Got 0."),
        ({"decay": 1.0}, "decay must be from above 0 to below 1. Got 1.0."),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        net(**options).initialize()
