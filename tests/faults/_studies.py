"""The studies that faults are tried on: a second long, and every trial reports some epochs."""

import os
from pathlib import Path

HERE = Path(__file__).parent

ROUNDS = int(os.environ.get("HPO_FAULT_ROUNDS", "1"))
"""How often each fault is tried: 1 is the short form, in the suite; more is the long form."""

N_TRIALS = 10

SGD = """
import time
from sklearn.datasets import make_classification
from sklearn.linear_model import SGDClassifier
from hpo import Study, StudyData

X, y = make_classification(150, random_state=0)


class Patient(SGDClassifier):
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        time.sleep(0.01)
        return super().partial_fit(X, y, classes=classes, sample_weight=sample_weight)


study = Study(
    name="faults",
    estimator=Patient(random_state=0),
    data=StudyData(X=X[:100], y=y[:100], X_test=X[100:], y_test=y[100:]),
    search_space={"alpha": {"type": "float", "low": 1e-5, "high": 1.0, "log": True}},
    scoring="accuracy",
    cv=2,
    epochs=5,
    n_trials=10,
    pruner="median:n_startup_trials=3",
    storage="journal:///hpo.journal",
    tracking_uri="sqlite:///mlflow.db",
)
"""
"""Of scikit-learn, which sleeps a hundredth of a second for each epoch of a fold."""

NET = """
import torch
from sklearn.datasets import make_classification
from skorch import NeuralNetClassifier
from hpo import Study, StudyData

X, y = make_classification(150, random_state=0)
X, y = X.astype("float32"), y.astype("int64")


study = Study(
    name="faults",
    estimator=NeuralNetClassifier(
        torch.nn.Linear, module__in_features=20, module__out_features=2,
        criterion=torch.nn.CrossEntropyLoss, batch_size=10, train_split=None, verbose=0,
    ),
    data=StudyData(X=X[:100], y=y[:100], X_test=X[100:], y_test=y[100:]),
    search_space={"lr": {"type": "float", "low": 1e-3, "high": 1.0, "log": True}},
    scoring="accuracy",
    cv=2,
    epochs=30,
    n_trials=10,
    pruner="median:n_startup_trials=3",
    executor="fused:n_slots=2,compile=false",
    storage="journal:///hpo.journal",
    tracking_uri="sqlite:///mlflow.db",
)
"""
"""Of a net, for the executor that trains nets in batches."""
