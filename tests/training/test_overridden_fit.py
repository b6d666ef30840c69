"""A net's own fit is what runs, once a fold, with whatever loops of epochs it makes."""

import contextlib
import io
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler, TargetEncoder
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from torch import nn

from hpo import HPOSearchCV
from hpo.training.refit import refit

N_EPOCHS = 4


class Net(nn.Sequential):
    def __init__(self, n_in=5, n_out=3):
        super().__init__(nn.Linear(n_in, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, n_out))


class Seeded:
    def initialize(self):
        torch.manual_seed(3)
        return super().initialize()


class Classifier(Seeded, NeuralNetClassifier):
    pass


class Regressor(Seeded, NeuralNetRegressor):
    pass


class LooksAtTheData(Classifier):
    def fit(self, X, y, **fit_params):
        counts = torch.bincount(torch.as_tensor(y))
        self.set_params(
            module__n_in=X.shape[1],
            module__n_out=len(counts),
            criterion__weight=len(y) / counts.float(),
        )
        return super().fit(X, y, **fit_params)


class Centred(Classifier):
    def partial_fit(self, X, y=None, classes=None, **fit_params):
        self.centre_ = X.mean(axis=0)
        return super().partial_fit(X - self.centre_, y, classes, **fit_params)

    def predict_proba(self, X):
        return super().predict_proba(X - self.centre_)


class Weighted(Classifier):
    """Takes a parameter of its fit for itself."""

    def fit(self, X, y, weight=None, **fit_params):
        self.weight_ = 1.0 if weight is None else float(np.mean(weight))
        return super().fit(X, y, **fit_params)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        return self.weight_ * super().get_loss(y_pred, y_true, X, training)


class Reshaped(Regressor):
    """Takes flat targets, as regressors of scikit-learn's do."""

    def fit(self, X, y, **fit_params):
        return super().fit(X, np.asarray(y, dtype="float32").reshape(-1, 1), **fit_params)

    def predict(self, X):
        return super().predict(X)[:, 0]


class Kernel(nn.Module):
    """Kernel regression, whose width is learned; it needs the training data."""

    def __init__(self):
        super().__init__()
        self.width = nn.Parameter(torch.zeros(()))

    def forward(self, X):
        known, y = self.known
        return torch.softmax(-(torch.cdist(X, known) ** 2) * self.width.exp(), dim=1) @ y


class WholeData(Regressor):
    """Does as skorch's ExactGPRegressor does."""

    def fit(self, X, y=None, **fit_params):
        if not self.warm_start or not self.initialized_:
            self.initialize()
        self.module_.known = torch.as_tensor(X), torch.as_tensor(y)
        self.partial_fit(X, y, **fit_params)
        return self


class WarmUp(Classifier):
    """Trains its last layer first, then all of them."""

    def fit(self, X, y, **fit_params):
        self.initialize()
        self.module_[0].requires_grad_(False)
        self.partial_fit(X, y, **fit_params)
        self.module_[0].requires_grad_(True)
        return self.partial_fit(X, y, **fit_params)


class ByOnes(Classifier):
    """Calls partial_fit once an epoch, with smaller and smaller steps."""

    def fit(self, X, y, **fit_params):
        self.initialize()
        for i in range(self.max_epochs):
            self.set_params(optimizer__lr=self.lr / (1 + i))
            self.partial_fit(X, y, epochs=1, **fit_params)
        return self


class Fewer(Classifier):
    """Makes fewer epochs than it is told to."""

    def partial_fit(self, X, y=None, classes=None, **fit_params):
        return super().partial_fit(X, y, epochs=2, **fit_params)


class NoLoop(Classifier):
    """Trains in a loop that skorch does not know of."""

    def fit(self, X, y, **fit_params):
        self.initialize()
        self.module_.train()
        for _ in range(self.max_epochs):
            self.optimizer_.zero_grad()
            self.criterion_(self.module_(torch.as_tensor(X)), torch.as_tensor(y)).backward()
            self.optimizer_.step()
        return self


class Calibrated(Classifier):
    """Cannot predict before its fit has ended."""

    def fit(self, X, y, **fit_params):
        super().fit(X, y, **fit_params)
        self.shares_ = np.bincount(y) / len(y)
        return self

    def predict(self, X):
        return (self.predict_proba(X) / self.shares_).argmax(axis=1)


class AsFloats(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def transform(self, X):
        return X[:, :5].astype("float32")


class HoldsOpen(Classifier):
    """Trains in settings that it holds open all the while."""

    def fit(self, X, y, **fit_params):
        with (
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
            config_context(assume_finite=True),
            np.errstate(all="ignore"),
            contextlib.ExitStack() as stack,
        ):
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float64)
            warnings.simplefilter("ignore")
            return super().fit(X, y, **fit_params)

    def infer(self, x, **fit_params):
        return super().infer(x.to(self.module_[0].weight.dtype), **fit_params)

    def on_epoch_end(self, net, **kwargs):
        super().on_epoch_end(net, **kwargs)
        warnings.warn("nobody hears this", stacklevel=1)
        assert get_config()["assume_finite"]
        assert np.geterr()["over"] == "ignore"
        assert isinstance(sys.stdout, io.StringIO)
        assert torch.get_default_dtype() is torch.float64


def make(cls=Classifier, **params):
    known = dict(
        module=Net,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        lr=0.1,
        batch_size=16,
        max_epochs=N_EPOCHS,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    return cls(**{**known, **params})


def regressor(cls, **params):
    return make(cls, **{"criterion": nn.MSELoss, "lr": 0.02, "module__n_out": 1, **params})


LOOKING = make(LooksAtTheData, module__n_in=2, module__n_out=2)
KNOWING = WholeData(
    Kernel, criterion=nn.MSELoss, batch_size=-1, max_epochs=N_EPOCHS, train_split=None, verbose=0
)
WAYS = {
    "data": LOOKING,
    "partial_fit": make(Centred),
    "calibrated": make(Calibrated),
    "no loop": make(NoLoop),
    "fewer": make(Fewer),
    "by ones": make(ByOnes),
    "two loops": make(WarmUp),
    "held open": make(HoldsOpen, verbose=1),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_fit_of_the_nets_own_is_what_runs(name, three_classes, assert_law):
    assert_law(WAYS[name], *three_classes)


@pytest.mark.parametrize("name", ["data", "partial_fit", "calibrated"])
def test_at_the_end_of_a_pipeline_too(name, three_classes, assert_law):
    X, y = three_classes
    assert_law(make_pipeline(StandardScaler(), WAYS[name]), X * 5 + 3, y)


def test_a_pipeline_in_a_pipeline_scales_as_well(three_classes, assert_law):
    X, y = three_classes
    inner = Pipeline([("scale", StandardScaler()), ("net", make())])
    assert_law(Pipeline([("same", "passthrough"), ("inner", inner)]), X * 50 + 30, y)
    assert_law(Pipeline([("inner", inner)]), X * 50 + 30, y)


def test_its_parameters_are_those_of_fit(three_classes, assert_law):
    X, y = three_classes
    _, nets = assert_law(make(Weighted), X, y, fit_params={"weight": np.linspace(0, 1, len(X))})
    assert len({net.weight_ for net in nets}) == 3


def test_regressors_that_reshape_or_keep_their_data(three_classes, assert_law):
    X, _ = three_classes
    y = X[:, 0] * 2 + 1
    assert_law(regressor(Reshaped), X, y)
    reports, nets = assert_law(KNOWING, X, y)
    assert [len(net.module_.known[0]) for net in nets] == [60] * 3
    assert len(reports) == N_EPOCHS


def rebuilt(net, X, y=None):
    return -float(((net.predict(X) - X) ** 2).mean())


def test_a_net_without_targets(three_classes, stepped):
    class Rebuilding(Seeded, NeuralNet):
        def fit(self, X):
            return super().fit(X, X)

    X, _ = three_classes
    net = make(Rebuilding, criterion=nn.MSELoss, module__n_out=5)
    reports, *_ = stepped(net, X, None, scoring=rebuilt)
    expected = cross_val_score(net, X, cv=3, scoring=rebuilt, error_score="raise")
    assert reports[-1].fold_values == tuple(expected)


def test_training_scores_are_those_of_the_pipeline(three_classes, stepped):
    X, y = three_classes
    pipeline = make_pipeline(
        KBinsDiscretizer(4, encode="ordinal"),
        TargetEncoder(cv=StratifiedKFold(3)),
        AsFloats(),
        make(),
    )
    reports, *_ = stepped(pipeline, X, y, return_train_score=True, scoring="accuracy")
    expected = cross_validate(pipeline, X, y, cv=3, scoring="accuracy", return_train_score=True)
    assert reports[-1].fold_values == tuple(expected["test_score"])
    assert reports[-1].metrics["train_score"] == tuple(expected["train_score"])


@pytest.mark.parametrize(
    ("name", "steps", "note"),
    [
        ("fewer", [1, 2], None),
        ("by ones", [1, 2, 3, 4], None),
        ("two loops", [1, 2, 3, 4], "WarmUp.fit makes more epochs than max_epochs"),
        ("no loop", [4], "NoLoop.fit makes no loop of epochs"),
        ("calibrated", [4], "Calibrated can be scored no sooner than its fit has ended"),
    ],
)
def test_what_counts_as_a_step(name, steps, note, three_classes, stepped):
    reports, *_ = stepped(WAYS[name], *three_classes)
    assert [report.step for report in reports] == steps
    assert not any(report.notes for report in reports[:-1])
    assert [told[: len(note)] for told in reports[-1].notes] == ([note] if note else [])


def test_a_wrong_scorer_is_an_error_at_once(three_classes, stepped):
    def scorer(net, X, y):
        raise ZeroDivisionError(len(net.history))

    for net, n_epochs in [(make(), 1), (LOOKING, 4)]:  # it might be for want of the fit's end
        with pytest.raises(ZeroDivisionError) as caught:
            stepped(net, *three_classes, scoring=scorer)
        assert caught.value.args == (n_epochs,)


@pytest.mark.parametrize("name", WAYS)
def test_the_refit_is_the_fit_up_to_the_step_that_did_best(
    name, three_classes, weights_by_step, learned
):
    X, y = three_classes
    rows = np.arange(len(X))
    for step, weights in weights_by_step(WAYS[name], X, y, cv=[(rows, rows)]).items():
        fitted = refit(WAYS[name], {}, X, y, n_steps=step, seed=0)
        mine = learned(fitted)
        assert all(np.array_equal(mine[name], value) for name, value in weights.items())
        fitted.predict(X)


@pytest.mark.parametrize("name", ["data", "partial_fit", "by ones", "two loops", "held open"])
def test_a_training_put_aside_goes_on_as_it_was(name, three_classes, put_aside):
    whole, parts = put_aside(WAYS[name], *three_classes, at=2)
    assert parts == whole


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("data", ""),
        ("partial_fit", ""),
        ("no loop", "NoLoop.fit makes no loop of epochs"),
        ("two loops", "WarmUp.fit makes more epochs than max_epochs"),
    ],
)
def test_a_search_over_a_grid_is_gridsearchcv(name, note, n_jobs, three_classes):
    grid = {"lr": [0.01, 0.1]}
    theirs = GridSearchCV(WAYS[name], grid, cv=3).fit(*three_classes).cv_results_
    ours = HPOSearchCV(
        WAYS[name], grid, cv=3, sampler="grid", pruner="nop", n_trials=None, n_jobs=n_jobs
    )
    with pytest.warns(UserWarning, match=note) if note else contextlib.nullcontext():
        ours.fit(*three_classes)
    for record in ours.result_.records:
        i = theirs["params"].index(dict(record.trial.params))
        expected = tuple(theirs[f"split{k}_test_score"][i] for k in range(3))
        assert record.reports[-1].fold_values == expected
    assert not note or sum(note in told for told in ours.result_.notes) == 1
