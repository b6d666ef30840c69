"""The law of stepping, as fixtures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_validate
from torch import nn

from hpo.training.adapters import last_step
from hpo.training.objective import Objective
from hpo.training.random_stream import RandomStream
from hpo.trial import Trial, derive_seed

TRIAL = Trial(7, {}, seed=11)
FOLDS = 3


class Spied(Objective):
    """Keeps the folds of its last trial, to look at their nets."""

    def _fold(self, *args):
        fold = super()._fold(*args)
        self.folds.append(fold)
        return fold

    def run(self, trial, device=None):
        self.folds = []
        return super().run(trial, device)


def learned(net):
    """Return everything that a net has learned, as arrays by name."""
    modules = {name: m for name, m in vars(net).items() if isinstance(m, nn.Module)}
    return {
        f"{name}.{key}": value.numpy().copy()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }


def history(net):
    return [
        {key: value for key, value in epoch.items() if key not in {"dur", "epoch_time"}}
        for epoch in net.history.to_list()
    ]


def assert_same(net, other):
    mine, its = learned(net), learned(other)
    assert mine.keys() == its.keys()
    for name, value in mine.items():
        assert np.array_equal(value, its[name]), name
    assert history(net) == history(other)


def stepped(estimator, X, y, **settings):
    """Return the reports of a trial and its folds' last steps."""
    objective = Spied(estimator, X, y, **{"cv": FOLDS, **settings})
    reports = list(objective.run(TRIAL))
    return reports, [fold.stepper.estimator for fold in objective.folds], objective


def assert_law(estimator, X, y, **settings):
    """Assert that a trial's steps are scikit-learn's fits, and its last scores their scores.

    The estimator must begin with random numbers of its own: scikit-learn gives it none.
    """
    reports, nets, objective = stepped(estimator, X, y, **settings)
    fit_params = settings.get("fit_params", {})
    for i, (train, _) in enumerate(objective.splits):
        alone = clone(estimator)
        cut = {key: np.asarray(value)[train] for key, value in fit_params.items()}
        with RandomStream(derive_seed(TRIAL.seed, "fold", i)).active():
            alone.fit(X[train], y[train], **cut)
        assert_same(nets[i], last_step(alone))
    state = torch.get_rng_state()
    scores = cross_validate(estimator, X, y, cv=FOLDS, error_score="raise", params=fit_params)
    torch.set_rng_state(state)
    assert reports[-1].fold_values == tuple(scores["test_score"])
    return reports, nets


@pytest.fixture(name="stepped")
def _stepped():
    return stepped


@pytest.fixture
def weights_by_step():
    """Return what the net of a trial's only fold has learned after each step, by that step."""

    def watch(estimator, X, y, **settings):
        objective = Spied(estimator, X, y, **settings)
        run = objective.run(TRIAL)
        return {r.step: learned(objective.folds[0].stepper.estimator) for r in run}

    return watch


@pytest.fixture
def put_aside():
    """Return the reports of a trial that runs through, and of one put aside on its way."""

    def timeless(reports):
        return [replace(r, seconds=0.0, fit_seconds=(), score_seconds=()) for r in reports]

    def cut(estimator, X, y, at):
        objective = Objective(estimator, X, y, cv=FOLDS)
        whole = timeless(objective.run(TRIAL))
        run = objective.run(TRIAL)
        before = [next(run) for _ in range(at)]
        state = run.state()
        run.close()
        return whole, timeless([*before, *objective.resume(TRIAL, state)])

    return cut


@pytest.fixture(name="learned")
def _learned():
    return learned


@pytest.fixture(name="assert_law")
def _assert_law():
    return assert_law


@pytest.fixture(name="assert_same")
def _assert_same():
    return assert_same


@pytest.fixture
def three_classes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 5)).astype("float32")
    return X, (X[:, 0] + X[:, 1] > 0).astype("int64") + (X[:, 2] > 1)
