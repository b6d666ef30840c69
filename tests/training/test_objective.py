"""The cross-validated score over kinds of estimators, data, folds and scorers."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import make_scorer
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EpochScoring, LRScheduler
from torch import nn

from hpo.exceptions import DataError
from hpo.training.fold import configure
from hpo.training.objective import Objective, shuffled_folds
from hpo.training.refit import refit
from hpo.trial import Trial

IRIS = load_iris(return_X_y=True)


def net(**kwargs):
    defaults = dict(
        module=nn.Linear,
        module__in_features=4,
        module__out_features=3,
        criterion=nn.CrossEntropyLoss,
        max_epochs=2,
        lr=0.1,
        train_split=None,
        verbose=0,
    )
    return NeuralNetClassifier(**{**defaults, **kwargs})


def scores(objective, params=None):
    return list(objective.run(Trial(0, params or {}, 1)))


@pytest.mark.parametrize("scoring", [None, "accuracy", "neg_log_loss"])
@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(max_iter=500), make_pipeline(StandardScaler(), KNeighborsClassifier())],
    ids=["plain", "pipeline"],
)
def test_an_estimator_without_epochs_reports_cross_validate_once(estimator, scoring):
    X, y = IRIS
    (report,) = scores(Objective(estimator, X, y, cv=4, scoring=scoring))
    expected = cross_validate(estimator, X, y, cv=4, scoring=scoring)["test_score"]
    assert report.fold_values == tuple(expected)
    assert report.value == pytest.approx(expected.mean())
    assert (report.number, report.step) == (0, 1)
    assert all(t > 0 for t in (report.seconds, *report.fit_seconds, *report.score_seconds))


def test_partial_fit_steps_when_told_how_often():
    X, y = IRIS
    estimator = SGDClassifier(random_state=0)
    objective = Objective(estimator, X, y, cv=3, epochs=4)
    assert objective.max_steps({}) == 4
    reports = scores(objective)
    assert [r.step for r in reports] == [1, 2, 3, 4]
    train, valid = objective.splits[0]
    alone = SGDClassifier(random_state=0)
    for _ in range(4):
        alone.partial_fit(X[train], y[train], classes=[0, 1, 2])
    assert reports[-1].fold_values[0] == alone.score(X[valid], y[valid])
    assert len(scores(Objective(estimator, X, y, cv=3))) == 1


def test_epochs_override_a_nets_own_and_a_searched_max_epochs_counts():
    X, y = IRIS[0].astype("float32"), IRIS[1]
    assert len(scores(Objective(net(), X, y, cv=3, epochs=5))) == 5
    assert len(scores(Objective(net(), X, y, cv=3), {"max_epochs": 3})) == 3


def test_several_scorers_and_training_scores():
    X, y = IRIS
    scoring = {"acc": "accuracy", "loss": "neg_log_loss"}
    objective = Objective(
        LogisticRegression(max_iter=500),
        X,
        y,
        cv=3,
        scoring=scoring,
        metric="loss",
        return_train_score=True,
    )
    (report,) = scores(objective)
    expected = cross_validate(
        LogisticRegression(max_iter=500), X, y, cv=3, scoring=scoring, return_train_score=True
    )
    assert report.fold_values == tuple(expected["test_loss"])
    assert report.metrics["acc"] == tuple(expected["test_acc"])
    assert report.metrics["train_acc"] == tuple(expected["train_acc"])
    assert report.metrics["train_loss"] == tuple(expected["train_loss"])


class Recorder(Callback):
    """Writes into the history what nets' callbacks write."""

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        epoch = len(net.history)
        net.history.record("weight_norm", np.float32(epoch + 0.5))
        net.history.record("sparsity", math.nan)
        net.history.record("n_layers", 3)
        net.history.record("event_kept", True)
        net.history.record("note", "text")


def test_what_a_net_records_of_an_epoch_is_a_metric_of_its_report():
    X, y = IRIS
    trained = net(
        callbacks=[
            ("train", EpochScoring("accuracy", on_train=True, name="train_accuracy")),
            ("rate", LRScheduler("StepLR", step_size=1, gamma=0.5)),
            ("own", Recorder()),
        ]
    )
    X = X.astype("float32")
    reports = scores(Objective(trained, X, y, cv=3, scoring=["accuracy", "f1_macro"]))
    names = {"train_loss", "train_accuracy", "event_lr", "weight_norm", "sparsity", "n_layers"}
    for epoch, report in enumerate(reports, start=1):
        assert set(report.metrics) == names | {"f1_macro"}
        assert set(report.recorded) == names
        assert report.metrics["weight_norm"] == (epoch + 0.5,) * 3
        assert report.metrics["n_layers"] == (3.0,) * 3
        assert report.metrics["event_lr"] == (0.1 * 0.5 ** (epoch - 1),) * 3
        assert np.isnan(report.metrics["sparsity"]).all()
        assert all(type(value) is float for v in report.metrics.values() for value in v)
        assert min(report.metrics["train_accuracy"]) > 0


def test_a_score_stands_before_what_the_net_records_under_its_name():
    X, y = IRIS
    trained = net(callbacks=[("own", Recorder())])
    scoring = {"weight_norm": "accuracy", "other": "f1_macro"}
    objective = Objective(trained, X.astype("float32"), y, cv=3, scoring=scoring, metric="other")
    report = scores(objective)[-1]
    assert max(report.metrics["weight_norm"]) <= 1
    assert "weight_norm" not in report.recorded
    assert report.value != report.metrics["n_layers"][0]


def test_the_first_scorer_leads_unless_told():
    X, y = IRIS
    (report,) = scores(Objective(DummyClassifier(), X, y, cv=3, scoring=["accuracy", "f1_macro"]))
    assert report.value == pytest.approx(1 / 3, abs=0.02)
    assert set(report.metrics) == {"f1_macro"}


def test_groups_stay_together_and_splits_are_made_once():
    X, y = IRIS
    groups = np.arange(len(y)) % 10
    objective = Objective(DummyClassifier(), X, y, cv=GroupKFold(5), groups=groups)
    for train, valid in objective.splits:
        assert not set(groups[train]) & set(groups[valid])
    shuffling = StratifiedKFold(3, shuffle=True)  # without a seed: new folds at each split()
    objective = Objective(DummyClassifier(strategy="stratified"), X, y, cv=shuffling)
    assert scores(objective)[0].fold_values == scores(objective)[0].fold_values


def test_sample_weights_are_cut_to_the_fold():
    X, y = IRIS
    weight = np.where(y == 0, 100.0, 1.0)
    objective = Objective(Ridge(), X, y, cv=3, fit_params={"sample_weight": weight})
    (report,) = scores(objective)
    train, valid = objective.splits[1]
    alone = Ridge().fit(X[train], y[train], sample_weight=weight[train])
    assert report.fold_values[1] == alone.score(X[valid], y[valid])


def test_fit_params_of_a_pipeline_reach_their_step():
    X, y = IRIS
    weight = np.where(y == 0, 100.0, 1.0)
    pipeline = make_pipeline(StandardScaler(), Ridge())
    objective = Objective(pipeline, X, y, cv=3, fit_params={"ridge__sample_weight": weight})
    train, valid = objective.splits[0]
    alone = make_pipeline(StandardScaler(), Ridge())
    alone.fit(X[train], y[train], ridge__sample_weight=weight[train])
    assert scores(objective)[0].fold_values[0] == alone.score(X[valid], y[valid])


@pytest.mark.parametrize(
    "convert",
    [np.asarray, torch.as_tensor, pd.DataFrame, sparse.csr_matrix],
    ids=["numpy", "torch", "pandas", "sparse"],
)
def test_kinds_of_x(convert):
    X, y = IRIS[0].astype("float32"), IRIS[1]
    reference = scores(Objective(net(), X, y, cv=3))
    target = torch.as_tensor(y) if convert is torch.as_tensor else y
    if convert is pd.DataFrame:
        pipeline = make_pipeline(StandardScaler(with_mean=False, with_std=False), net())
        found = scores(Objective(pipeline, pd.DataFrame(X), pd.Series(y), cv=3))
    else:
        found = scores(Objective(net(), convert(X), target, cv=3))
    assert [r.fold_values for r in found] == [r.fold_values for r in reference]


def test_a_scorer_of_the_users_sees_the_whole_pipeline():
    X, y = IRIS

    def scorer(estimator, X, y):
        assert estimator.steps[0][0] == "standardscaler"
        assert np.abs(X).max() > 3  # raw, not scaled
        return estimator.score(X, y)

    pipeline = make_pipeline(StandardScaler(), net(max_epochs=1))
    own = scores(Objective(pipeline, X.astype("float32"), y, cv=3, scoring=scorer))
    plain = scores(Objective(pipeline, X.astype("float32"), y, cv=3))
    assert own[0].fold_values == plain[0].fold_values


def test_a_diverging_net_has_no_score():
    X, y = IRIS[0].astype("float32"), IRIS[1]
    report = scores(Objective(net(lr=float("inf")), X, y, cv=3))[-1]
    assert np.isnan(report.value)
    assert not np.isfinite(report.metrics["train_loss"]).any()


def test_a_net_takes_the_workers_device_unless_it_names_one():
    def devices(**params):
        final = configure(make_pipeline(StandardScaler(), net()), params, "cuda:1").steps[-1][1]
        return final.device

    assert devices() == "cuda:1"
    assert devices(neuralnetclassifier__device="cuda:0") == "cuda:0"
    assert configure(net(device="cuda"), {}, "cuda:1").device == "cuda:1"
    assert configure(net(device="cuda:3"), {}, "cuda:1").device == "cuda:3"
    assert configure(net(), {}, None).device == "cpu"


def test_folds_shuffled_by_the_seed():
    _, y = IRIS
    first, again, other = (shuffled_folds(3, seed, y, classifier=True) for seed in (1, 1, 2))
    rows = [next(iter(s.split(np.zeros((150, 1)), y)))[1] for s in (first, again, other)]
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])
    assert np.bincount(y[rows[0]]).tolist() in ([17, 17, 16], [17, 16, 17], [16, 17, 17])


def test_refit_is_a_fit_for_the_given_epochs():
    X, y = IRIS[0].astype("float32"), IRIS[1]
    pipeline = make_pipeline(StandardScaler(), net())
    fitted = refit(pipeline, {"neuralnetclassifier__lr": 0.2}, X, y, n_steps=5, seed=3)
    last = fitted.steps[-1][1]
    assert (len(last.history), last.lr) == (5, 0.2)
    again = refit(pipeline, {"neuralnetclassifier__lr": 0.2}, X, y, n_steps=5, seed=3)
    assert np.array_equal(fitted.predict_proba(X), again.predict_proba(X))


def test_refit_by_partial_fit():
    X, y = IRIS
    pipeline = make_pipeline(StandardScaler(), SGDClassifier(random_state=0))
    fitted = refit(pipeline, {}, X, y, n_steps=3, seed=0, epochs=9)
    scaled = StandardScaler().fit_transform(X)
    alone = SGDClassifier(random_state=0)
    for _ in range(3):
        alone.partial_fit(scaled, y, classes=[0, 1, 2])
    assert np.array_equal(fitted.predict(X), alone.predict(scaled))


# -- bad input ---------------------------------------------------------------------------------


class NotAnEstimator:
    pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda X, y: Objective(NotAnEstimator(), X, y), "has no fit, get_params, set_params"),
        (lambda X, y: Objective(LogisticRegression, X, y), "is a class, not an instance"),
        (lambda X, y: Objective(nn.Linear(4, 3), X, y), r"Wrap it: skorch.NeuralNetClassifier\("),
        (lambda X, y: Objective(net(), X, y[:-3]), "X has 150, y has 147 rows"),
        (lambda X, y: Objective(net(), {"a": X, "b": X[:9]}, y), r"X\['b'\] has 9"),
        (lambda X, y: Objective(net(), X[:0], y[:0]), "X is empty"),
        (lambda X, y: Objective(net(), X, y * 0), "y has only one class"),
        (lambda X, y: Objective(net(), X[:52], y[:52], cv=51), "number of members in each"),
        (lambda X, y: Objective(net(), X[:3], y[:3] * 0.1, cv=9), "greater than the number"),
        (lambda X, y: Objective(net(), X, y, cv="five"), "cv: "),
        (lambda X, y: Objective(net(), X, y, cv=GroupKFold(3)), "folds cannot be made .*groups"),
        (lambda X, y: Objective(net(), X, y, scoring="acuracy"), "scoring: .*acuracy"),
        (lambda X, y: Objective(net(), X, y, scoring=["f1"], metric="r2"), "not one of the scor"),
        (lambda X, y: Objective(net(), X, y, cv=[([0, 1], [60])]), "fold 0 trains on one class"),
        (lambda X, y: Objective(net(), X, y, cv=[([0, 60], [])]), "0 validation rows"),
    ],
)
def test_bad_input_is_named(make, message):
    X, y = IRIS[0].astype("float32"), IRIS[1]
    with pytest.raises(DataError, match=message):
        make(X, y)


def test_nan_in_x_where_the_net_cannot_take_it():
    X, y = IRIS[0].astype("float32"), IRIS[1]
    X = X.copy()
    X[7, 2] = np.nan
    with pytest.raises(DataError, match=r"NaN in 1 of 150 rows .*: 7.*SimpleImputer"):
        Objective(net(), X, y, cv=3)
    imputing = make_pipeline(SimpleImputer(), net())
    assert np.isfinite(scores(Objective(imputing, X, y, cv=3))[-1].value)


@pytest.mark.parametrize(
    ("scorer", "error", "message"),
    [
        (lambda e, X, y: 1 / 0, ZeroDivisionError, "division"),
        (lambda e, X, y: "good", TypeError, "must return a number, got 'good'"),
    ],
)
def test_a_scorer_that_fails_says_where(scorer, error, message):
    X, y = IRIS
    objective = Objective(LogisticRegression(max_iter=500), X, y, cv=3, scoring=scorer)
    with pytest.raises(error, match=message) as caught:
        scores(objective)
    assert caught.value.__notes__ == ["in fold 0"]


def test_a_scorer_that_returns_nan_gives_no_score():
    X, y = IRIS
    scorer = make_scorer(lambda a, b: float("nan"))
    (report,) = scores(Objective(LogisticRegression(max_iter=500), X, y, cv=3, scoring=scorer))
    assert np.isnan(report.value)
