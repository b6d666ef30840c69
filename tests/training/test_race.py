"""A training whose first fold goes before the others is the one of all folds in lock-step."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn

from hpo.training.objective import Objective
from hpo.trial import Trial

TRIAL = Trial(3, {}, seed=5)
N_EPOCHS = 6


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def net(**kwargs):
    settings = {
        "criterion": nn.CrossEntropyLoss,
        "optimizer__momentum": 0.9,
        "batch_size": 16,
        "iterator_train__shuffle": True,
        "callbacks": [("rate", LRScheduler("StepLR", step_size=2, gamma=0.5))],
        "train_split": None,
        "max_epochs": N_EPOCHS,
        "verbose": 0,
    }
    return NeuralNetClassifier(Net, **{**settings, **kwargs})


ENDS_EARLY = {
    "train_split": ValidSplit(0.3, random_state=0),
    "callbacks": [("stop", EarlyStopping(patience=1, threshold=0.05))],
    "lr": 0.3,
}
ESTIMATORS = {
    "net": (net(), None),
    "net that ends early": (net(**ENDS_EARLY), None),
    "pipeline": (make_pipeline(StandardScaler(), net()), None),
    "partial_fit": (SGDClassifier(), 4),
    "fit": (LogisticRegression(), None),
    "whole fit": (LogisticRegression(), 3),
}


def objective(name, seed=0):
    estimator, epochs = ESTIMATORS[name]
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(90, 5)).astype("float32")
    y = (X[:, 0] + X[:, 1] + rng.normal(size=90) > 0).astype("int64") + (X[:, 2] > 1)
    made = Objective(estimator, X, y, cv=KFold(4), epochs=epochs, scoring="accuracy")
    made.keeps_rows = True
    return made


def untimed(report):
    metrics = {name: values for name, values in report.metrics.items() if name != "dur"}
    return replace(
        report, seconds=0.0, fit_seconds=(), score_seconds=(), metrics=metrics, n_screened=0
    )


def rows(report):
    return (
        None if report.rows.scores is None else report.rows.scores.tolist(),
        None if report.rows.predictions is None else report.rows.predictions.tolist(),
    )


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_reports_of_all_folds_are_those_in_lock_step(name):
    made = objective(name)
    expected = list(made.run(TRIAL))
    made.races = True
    reports = list(made.run(TRIAL))
    first, full = [[r for r in reports if r.screening is s] for s in (True, False)]
    assert [untimed(report) for report in full] == [untimed(report) for report in expected]
    assert [rows(report) for report in full] == [rows(report) for report in expected]
    assert [report.last for report in first] == [*[False] * (len(first) - 1), True]
    for report in first:
        assert report.value == report.fold_values[0]
        assert np.isnan(report.fold_values[1:]).all()
        assert len(report.fold_values) == made.n_folds
    positions = [report.position for report in reports]
    assert positions == sorted(set(positions))


def test_some_fold_ends_early():
    lengths = set()
    for seed in range(4):
        made = objective("net that ends early", seed)
        expected = [untimed(r) for r in made.run(TRIAL)]
        made.races = True
        reports = list(made.run(TRIAL))
        first = [r for r in reports if r.screening]
        full = [untimed(r) for r in reports if not r.screening]
        assert full == expected
        lengths.add(len(first) - len(full))
    assert min(lengths) < 0  # the first fold ends before the others


@pytest.mark.parametrize("name", ["net", "net that ends early", "partial_fit"])
def test_it_goes_on_from_any_of_its_states(name):
    made = objective(name)
    made.races = True
    expected = [untimed(report) for report in made.run(TRIAL)]
    for at in range(1, len(expected)):
        run = made.run(TRIAL)
        for _ in range(at):
            next(run)
        state = run.state()
        run.close()
        assert [untimed(report) for report in made.resume(TRIAL, state)] == expected[at:]
