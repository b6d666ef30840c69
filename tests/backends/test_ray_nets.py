"""Nets trained by the backend on Ray Tune are the nets that the other backend trains."""

import sys
import textwrap

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris

from hpo import HPOSearchCV, Study, run_study
from hpo._stop_signal import StopSignal
from hpo.cli._study_file import load_study_file
from hpo.data import load_digits
from hpo.modules import MLP
from hpo.nets import RegularizedClassifier
from hpo.observer import BaseObserver
from hpo.testing.backends import timeless

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]


def net(**settings):
    """Return a net whose training draws random numbers wherever one can."""
    return RegularizedClassifier(
        MLP,
        module__dropout=0.3,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        iterator_train__shuffle=True,
        batch_size=64,
        train_split=None,
        verbose=0,
        **settings,
    )


class StopAfter(BaseObserver):
    """Ends a study after a number of reports, as Ctrl-C does."""

    def __init__(self, n):
        self.signal, self.left = StopSignal(), n

    def on_report(self, record, report):
        self.left -= 1
        if not self.left:
            self.signal.request("enough")


def test_a_study_that_was_interrupted_goes_on_from_the_states_that_the_driver_has(tmp_path):
    study = Study(
        name="bits",
        estimator=net(module__n_features=64, module__n_classes=10),
        data=load_digits(),
        search_space={"lr": [0.01, 0.1]},
        sampler="grid",
        scoring="accuracy",
        cv=2,
        epochs=6,
        pruner="nop",
        backend="ray:max_concurrent=1",
        storage=f"journal:///{tmp_path}/whole.journal",
        tracker="null",
        refit=False,
        checkpoint_every=1e-9,
    )
    whole = run_study(study).records
    cut = study.replace(storage=f"journal:///{tmp_path}/cut.journal")
    stop = StopAfter(10)
    run_study(cut, observers=[stop], interrupt=stop.signal)
    again = [record for record in run_study(cut).records if not record.interrupted]
    assert [record.trial.resumed_step > 0 for record in again] == [False, True]
    assert [[(p.step, p.fold_values, dict(p.metrics)) for p in r.reports] for r in again] == [
        [(p.step, p.fold_values, dict(p.metrics)) for p in r.reports] for r in whole
    ]
    assert not list(tmp_path.glob("*.files/*/checkpoints/*"))


def test_every_score_and_loss_of_a_net_is_the_same_bit_for_bit():
    study = Study(
        name="bits",
        estimator=net(module__n_features=64, module__n_classes=10),
        data=load_digits(),
        search_space={
            "lr": {"type": "float", "low": 1e-2, "high": 0.3, "log": True},
            "module__hidden_units": [32, 64],
            "l1_lambda": {"type": "float", "low": 1e-6, "high": 1e-3, "log": True},
        },
        scoring="accuracy",
        cv=3,
        epochs=3,
        n_trials=3,
        sampler="random",
        pruner="nop",
        device="cpu",
        storage=None,
        tracker="null",
        refit=False,
    )
    reference = run_study(study).records
    ours = run_study(study.replace(backend="ray:max_concurrent=2")).records
    assert [timeless(record) for record in ours] == [timeless(record) for record in reference]
    losses = {
        loss
        for record in reference
        for report in record.reports
        for loss in report.metrics["train_loss"]
    }
    assert len(losses) == 3 * 3 * 3  # of each trial, epoch and fold its own


def test_a_search_of_scikit_learn_finds_the_same():
    X, y = load_iris(return_X_y=True)
    X, y = X.astype("float32"), y.astype("int64")

    def search(backend):
        return HPOSearchCV(
            net(module__n_features=4, module__n_classes=3, max_epochs=4),
            {"lr": {"type": "float", "low": 1e-2, "high": 0.3, "log": True}},
            n_trials=4,
            backend=backend,
            executor="serial:device=cpu",
            cv=2,
            return_train_score=True,
            random_state=0,
        ).fit(X, y)

    reference, ours = search("optuna"), search("ray:max_concurrent=1")
    assert ours.best_params_ == reference.best_params_
    assert ours.best_score_ == reference.best_score_
    assert ours.n_steps_ == reference.n_steps_
    np.testing.assert_array_equal(
        ours.best_estimator_.predict_proba(X), reference.best_estimator_.predict_proba(X)
    )
    assert ours.cv_results_.keys() == reference.cv_results_.keys()
    compared = [column for column in ours.cv_results_ if not column.endswith("_time")]
    assert {"params", "param_lr", "split1_test_score", "mean_train_score"} <= {*compared}
    for column in compared:
        np.testing.assert_array_equal(ours.cv_results_[column], reference.cv_results_[column])


HELPER = """
    def scaled(X):
        return X / 8.0
"""

STUDY = """
    import torch
    from skorch import NeuralNetClassifier
    from sklearn.datasets import load_iris

    from helper_of_a_study import scaled
    from hpo import Study
    from hpo.data import StudyData


    class Linear(torch.nn.Module):
        def __init__(self, bias=True):
            super().__init__()
            self.linear = torch.nn.Linear(4, 3, bias)

        def forward(self, X):
            return self.linear(scaled(X))


    class Net(NeuralNetClassifier):
        pass


    def data():
        X, y = load_iris(return_X_y=True)
        return StudyData(X=X.astype("float32"), y=y.astype("int64"))


    study = Study(
        name="by_path",
        estimator=Net(
            Linear, criterion=torch.nn.CrossEntropyLoss, max_epochs=2, train_split=None, verbose=0
        ),
        data=data,
        search_space={"lr": {"type": "float", "low": 0.01, "high": 0.1}, "module__bias": [True]},
        cv=2,
        n_trials=2,
        sampler="random",
        device="cpu",
        storage=None,
        tracker="null",
        refit=False,
    )
"""


def test_classes_of_a_study_file_and_its_helpers_reach_the_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "helper_of_a_study.py").write_text(textwrap.dedent(HELPER))
    (tmp_path / "by_path.py").write_text(textwrap.dedent(STUDY))
    study = load_study_file(tmp_path / "by_path.py").study
    ours = run_study(study.replace(backend="ray:max_concurrent=1")).records
    assert [str(record.state) for record in ours] == ["complete"] * 2
    reference = run_study(study).records
    assert [timeless(record) for record in ours] == [timeless(record) for record in reference]
