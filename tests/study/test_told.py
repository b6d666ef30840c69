"""What a study tells trackers of itself: what was asked for, its data, where it runs."""

import sys
from types import ModuleType
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from hpo import SearchSpace, Study, StudyData, run_study
from hpo.modules import MLP
from hpo.nets import RegularizedClassifier
from hpo.study._environment import environment
from hpo.study._settings import asked_for, facts_of_data

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
y = np.arange(40) % 2


def make_study(**changes):
    net = RegularizedClassifier(
        MLP, module__n_features=3, module__n_classes=2, max_epochs=7, verbose=0, train_split=None
    )
    fields = {
        "name": "told",
        "estimator": Pipeline([("scale", StandardScaler()), ("net", net)]),
        "data": StudyData(X=X, y=y),
        "search_space": {"net__lr": [0.1, 0.01]},
        "storage": None,
        "tracker": "null",
    }
    return Study(**{**fields, **changes})


def asked(**changes):
    study = make_study(**changes)
    return asked_for(study, SearchSpace.load(study.search_space))


def test_limits_and_fixed_parameters_are_told():
    found = asked(n_trials=12, timeout=60.0)
    assert (found["n_trials"], found["timeout"], found["max_epochs"]) == (12, 60.0, 7)
    assert (found["net__module__n_features"], found["net__module__n_classes"]) == (3, 2)
    assert "net__lr" not in found  # it is searched
    assert "net__batch_size" not in found  # it is the default
    assert not {name for name in found if "callbacks" in name or "verbose" in name}
    assert "epochs" not in found


def test_the_epochs_of_the_study_are_those_of_the_net():
    assert asked(epochs=3)["max_epochs"] == 3
    searched = asked(search_space={"net__max_epochs": [1, 2]})
    assert "max_epochs" not in searched
    assert asked(estimator=SGDClassifier(), search_space={"alpha": [1.0]}).get("max_epochs") is None


def load_flowers():
    return StudyData(X=pd.DataFrame(X, columns=list("abc")), y=y, X_test=X[:5], y_test=y[:5])


def test_data_are_told_by_name_digest_and_shape():
    study = make_study(data=load_flowers)
    facts = facts_of_data(study, load_flowers(), {"parts": {"data": ["", "f" * 64]}})
    assert facts == {
        "name": "flowers",
        "digest": "f" * 36,
        "n_samples": 40,
        "shape": [40, 3],
        "columns": ["a", "b", "c"],
        "source": "",
        "n_test": 5,
    }
    facts = facts_of_data(study, StudyData(X=["a", "b"], y=[0, 1], source="a part"), {})
    assert (facts["digest"], facts["shape"], facts["source"]) == ("", [2], "a part")
    assert facts_of_data(make_study(), StudyData(X=X, y=y), {})["name"] == "told"


def test_packages_that_are_not_loaded_are_not_told(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    assert {"version.torch", "version.hpo", "python"} <= set(environment(tmp_path))
    assert not {"version.ray", "version.mlflow"} & set(environment(tmp_path))
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    assert "version.ray" in environment(tmp_path)


class Watching(ClassifierMixin, BaseEstimator):
    """A classifier that notes whether MLflow's autologging is switched off."""

    seen: ClassVar = []

    def __init__(self, alpha=0.0):
        self.alpha = alpha

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.seen.append(
            sys.modules["mlflow.utils.autologging_utils"]._AUTOLOGGING_GLOBALLY_DISABLED
        )
        return self

    def predict(self, X):
        return np.zeros(len(X), int)


def test_autologging_is_off_in_trials_and_in_the_refit():
    utils = pytest.importorskip("mlflow.utils.autologging_utils")
    Watching.seen.clear()
    run_study(make_study(estimator=Watching(), search_space={"alpha": [0.0]}, cv=2, n_trials=1))
    assert len(Watching.seen) >= 3
    assert Watching.seen[-3:] == [True] * 3  # two folds and the refit; the rehearsal came before
    assert utils._AUTOLOGGING_GLOBALLY_DISABLED is False
