"""n lock-step epochs are skorch's own fit(max_epochs=n), bit for bit."""

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import EarlyStopping, GradientNormClipping, LRScheduler
from skorch.dataset import ValidSplit
from skorch.helper import SliceDict
from torch import nn

from hpo.training.objective import Objective
from hpo.training.random_stream import RandomStream
from hpo.trial import Trial, derive_seed

N_EPOCHS = 4


class Net(nn.Module):
    def __init__(self, n_out=3, dropout=0.3):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, n_out)
        )

    def forward(self, X):
        return self.layers(X)


class TwoInputs(Net):
    def forward(self, a, b):
        return self.layers(torch.cat([a, b], dim=1))


def data(n=90, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)).astype("float32")
    return X, (X[:, 0] + X[:, 1] > 0).astype("int64") + (X[:, 2] > 1)


def net(**kwargs):
    defaults = dict(
        module=Net,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        lr=0.05,
        batch_size=16,
        max_epochs=N_EPOCHS,
        iterator_train__shuffle=True,
        verbose=0,
        train_split=ValidSplit(0.25, stratified=True),
        callbacks=[
            ("schedule", LRScheduler("StepLR", step_size=2, gamma=0.5)),
            ("clip", GradientNormClipping(0.5)),
            ("stop", EarlyStopping(patience=2, load_best=True)),
        ],
    )
    return NeuralNetClassifier(**{**defaults, **kwargs})


class Spy(Objective):
    """Keeps the folds of its last trial, to look at their weights."""

    def _fold(self, *args):
        fold = super()._fold(*args)
        self.folds.append(fold)
        return fold

    def run(self, trial, device=None):
        self.folds = []
        return super().run(trial, device)


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.state_dict().values()])


def assert_equal_to_fit(estimator, X, y, transform=lambda X: X):
    objective = Spy(estimator, X, y, cv=3)
    trial = Trial(7, {"lr": 0.1}, seed=11)
    reports = list(objective.run(trial))
    for i, (train, valid) in enumerate(objective.splits):
        alone = net_alone = objective.estimator.__class__(**objective.estimator.get_params(False))
        alone.set_params(lr=0.1)
        take = {k: v[train] for k, v in X.items()} if isinstance(X, dict) else X[train]
        with RandomStream(derive_seed(trial.seed, "fold", i)).active():
            net_alone.fit(take, y[train])
        stepped = objective.folds[i].stepper.estimator
        assert torch.equal(weights(stepped.module_), weights(net_alone.module_))
        assert stepped.history[:, "train_loss"] == net_alone.history[:, "train_loss"]
        held_out = {k: v[valid] for k, v in X.items()} if isinstance(X, dict) else X[valid]
        scored = SliceDict(**held_out) if isinstance(held_out, dict) else held_out
        assert reports[-1].fold_values[i] == pytest.approx(net_alone.score(scored, y[valid]))
    return reports


def test_n_steps_equal_one_fit():
    X, y = data()
    reports = assert_equal_to_fit(net(), X, y)
    assert [r.step for r in reports] == list(range(1, len(reports) + 1))


def test_one_cycle_schedule_by_batch():
    X, y = data()
    schedule = LRScheduler(
        torch.optim.lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=40, step_every="batch"
    )
    assert_equal_to_fit(net(train_split=None, callbacks=[schedule]), X, y)


def test_early_stopping_keeps_the_last_value():
    X, y = data()
    eager = net(max_epochs=30, lr=1e-9, callbacks=[EarlyStopping(patience=2, threshold=0.5)])
    reports = assert_equal_to_fit(eager, X, y)
    assert len(reports) < 30


def test_folds_that_stop_early_stay_in_the_mean():
    X, y = data()
    objective = Spy(net(max_epochs=12, callbacks=[EarlyStopping(patience=1)]), X, y, cv=3)
    reports = list(objective.run(Trial(0, {}, 3)))
    lengths = [len(f.stepper.estimator.history) for f in objective.folds]
    assert len(reports) == max(lengths)
    for i, n in enumerate(lengths):
        assert {r.fold_values[i] for r in reports[n - 1 :]} == {reports[n - 1].fold_values[i]}


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_arrays_and_tensors(convert):
    X, y = data()
    assert_equal_to_fit(net(), convert(X), y)


def test_dict_input():
    X, y = data()
    X = {"a": X[:, :2], "b": X[:, 2:]}
    assert_equal_to_fit(net(module=TwoInputs, train_split=None, callbacks=None), X, y)


def test_regression_column_targets():
    X, _ = data()
    y = X[:, :1] * 2
    estimator = NeuralNetRegressor(
        Net, module__n_out=1, lr=0.01, max_epochs=3, verbose=0, train_split=None
    )
    objective = Spy(estimator, X, y, cv=3)
    reports = list(objective.run(Trial(0, {}, 5)))
    train, _ = objective.splits[0]
    alone = NeuralNetRegressor(**estimator.get_params(False))
    with RandomStream(derive_seed(5, "fold", 0)).active():
        alone.fit(X[train], y[train])
    stepped = objective.folds[0].stepper.estimator
    assert torch.equal(weights(stepped.module_), weights(alone.module_))
    assert len(reports) == 3


def test_pipeline_fits_its_scaler_on_the_training_part_only():
    X, y = data()
    pipeline = make_pipeline(StandardScaler(), net(train_split=None, callbacks=None))
    objective = Spy(pipeline, X, y, cv=3)
    reports = list(objective.run(Trial(0, {"neuralnetclassifier__lr": 0.1}, 5)))
    train, valid = objective.splits[1]
    alone = make_pipeline(StandardScaler(), net(train_split=None, callbacks=None, lr=0.1))
    with RandomStream(derive_seed(5, "fold", 1)).active():
        alone.fit(X[train], y[train])
    assert reports[-1].fold_values[1] == alone.score(X[valid], y[valid])
    assert len(reports) == N_EPOCHS


def test_closing_the_generator_ends_the_training():
    X, y = data()
    objective = Spy(net(), X, y, cv=3)
    run = objective.run(Trial(0, {}, 5))
    next(run)
    run.close()
    assert all(f.finished for f in objective.folds)
    assert all(len(f.stepper.estimator.history) == 1 for f in objective.folds)


def test_the_same_trial_gives_the_same_reports_whatever_ran_before():
    X, y = data()
    objective = Objective(net(), X, y, cv=3)
    first = [r.fold_values for r in objective.run(Trial(3, {}, 5))]
    list(objective.run(Trial(4, {"lr": 0.2}, 6)))
    torch.rand(17)
    before = torch.get_rng_state()
    assert [r.fold_values for r in objective.run(Trial(3, {}, 5))] == first
    assert torch.equal(torch.get_rng_state(), before)
    assert [r.fold_values for r in objective.run(Trial(3, {}, 6))] != first
