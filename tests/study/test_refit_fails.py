"""A refit that fails throws nothing away: the search's result is kept and the way on is told."""

import os
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from hpo import HPOSearchCV, Study, StudyData, load_result, run_study
from hpo._stop_signal import SecondCtrlC
from hpo.exceptions import HpoError, RefitError
from hpo.observer import BaseObserver
from hpo.testing.user_errors import USER_ERRORS

pytestmark = pytest.mark.slow

rng = np.random.default_rng(0)
X, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
TEST = np.full((10, 3), 7.0)


class Moody(ClassifierMixin, BaseEstimator):
    """Fits parts of the data alone, and all of it where there is no file ``mended``."""

    def __init__(self, size=0, mood="ValueError", where="fit"):
        self.size = size
        self.mood = mood
        self.where = where

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        if len(X) == 60:
            self.lose("fit")
        return self

    def predict(self, X):
        if len(X) == len(TEST):
            self.lose("predict")
        return np.full(len(X), self.classes_[self.size])

    def recommendation(self):
        self.lose("recommendation")
        return "buy"

    def lose(self, where):
        if where == self.where and not Path("mended").exists():
            raise ERRORS[self.mood]()


ERRORS = {**USER_ERRORS, "ValueError": lambda: ValueError("a batch of one row")}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def search(**settings):
    space = {"size": [0, 1]}
    return HPOSearchCV(
        Moody(**settings.pop("moody", {})), space, sampler="grid", n_trials=None, cv=2, **settings
    )


def test_a_search_is_kept_whose_refit_fails():
    found = search()
    with pytest.raises(
        RefitError, match=r"The refit of trial \d on all the data failed: Val"
    ) as told:
        found.fit(X, y)
    assert isinstance(told.value, HpoError)
    assert isinstance(told.value.__cause__, ValueError)
    for way_on in ("`cv_results_`", "fit again", "refit=False"):
        assert way_on in str(told.value)
    assert found.result_.n_complete == len(found.cv_results_["params"]) == 2
    assert "a batch of one row" in found.result_.refit_error
    fine = search(refit=False).fit(X, y)
    for name in ("best_params_", "best_score_", "best_index_", "n_splits_", "multimetric_"):
        assert getattr(found, name) == getattr(fine, name)
    assert not hasattr(found, "best_estimator_")
    with pytest.raises((NotFittedError, AttributeError)):
        found.predict(X)


def test_no_model_of_an_earlier_fit_stands_beside_a_new_search():
    found = search()
    Path("mended").touch()
    found.fit(X, y)
    assert hasattr(found, "best_estimator_")
    Path("mended").unlink()
    with pytest.raises(RefitError):
        found.fit(X, y)
    assert not hasattr(found, "best_estimator_")


@pytest.mark.parametrize("mood", ["StopIteration", "SystemExit", "_Stop", "_Untold", "_Notes"])
def test_whatever_the_refit_raises_is_its_failure(mood):
    with pytest.raises(RefitError, match=f"failed: {mood}") as told:
        search(moody={"mood": mood}).fit(X, y)
    assert type(told.value.__cause__) is type(ERRORS[mood]())


def test_ctrl_c_pressed_twice_ends_a_refit_and_keeps_the_search(monkeypatch):
    monkeypatch.setitem(ERRORS, "hand", SecondCtrlC)
    found = search(moody={"mood": "hand"})
    with pytest.raises(KeyboardInterrupt):
        found.fit(X, y)
    assert found.result_.n_complete == 2


def test_a_stored_search_is_gone_on_with_by_its_refit_alone(tmp_path):
    found = search(storage=f"sqlite:///{tmp_path}/s.db")
    with pytest.raises(RefitError, match="trains no trial anew"):
        found.fit(X, y)
    before = found.result_.records
    Path("mended").touch()
    assert found.fit(X, y).result_.records == before
    assert hasattr(found, "best_estimator_")


class Ends(BaseObserver):
    """Hears how studies end."""

    def __init__(self):
        self.heard = []

    def on_study_end(self, metrics, params, artifacts, *, state="complete"):
        self.heard.append(state)


def make_study(folder, where="fit", **changes):
    fields = {
        "name": "moody",
        "estimator": Moody(where=where),
        "data": StudyData(X=X, y=y, X_test=TEST, y_test=np.zeros(10, int)),
        "search_space": {"size": [0, 1]},
        "sampler": "grid",
        "cv": 2,
        "storage": f"sqlite:///{folder}/s.db",
        "tracker": "null",
    }
    return Study(**{**fields, **changes})


@pytest.mark.parametrize(
    ("where", "told", "fitted"),
    [
        ("fit", "The refit of trial . on all the data failed", False),
        ("predict", "The scoring of the refitted trial . on the held-out test part failed", True),
        ("recommendation", "The recommendation of the refitted trial . failed", True),
    ],
)
def test_a_study_keeps_its_trials_and_goes_on_with_the_refit(where, told, fitted, tmp_path):
    study, ends = make_study(tmp_path, where), Ends()
    with pytest.raises(RefitError, match=f"{told}: ValueError: a batch of one row") as caught:
        run_study(study, observers=[ends])
    result = caught.value.result
    assert f"kept in {study.storage}" in str(caught.value)
    assert (result.n_complete, result.estimator is not None) == (2, fitted)
    assert ends.heard == ["failed"]
    stored = load_result("moody", study.storage)
    assert "a batch of one row" in stored.refit_error
    Path("mended").touch()
    again = run_study(study)
    assert again.records == result.records
    assert again.estimator is not None
    assert load_result("moody", study.storage).refit_error == ""


def test_without_a_storage_the_error_has_the_trials(tmp_path):
    with pytest.raises(RefitError, match="in this error's `result`") as told:
        run_study(make_study(tmp_path, storage=None))
    assert told.value.result.n_complete == 2


def test_the_error_can_be_carried_to_another_process(tmp_path):
    with pytest.raises(RefitError) as told:
        run_study(make_study(tmp_path, storage=None))
    carried = pickle.loads(pickle.dumps(told.value))
    assert str(carried) == str(told.value)
    assert carried.result.n_complete == 2


# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
def test_in_mlflow_the_study_has_failed_and_keeps_what_the_search_found(tmp_path, monkeypatch):
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(RefitError):
        run_study(make_study(tmp_path, tracker="mlflow", tracking_uri=uri))
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("moody").experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED", "FINISHED"]
    assert parent.info.status == "FAILED"
    assert parent.data.metrics["n_complete"] == 2
    assert "best_score" in parent.data.metrics
    artifacts = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"refit_error.txt", "report.html"} <= artifacts


class Impatient(Callback):
    """Presses Ctrl-C twice while a net is trained on all rows."""

    def on_epoch_end(self, net, dataset_train=None, **kwargs):
        if len(dataset_train) == 60:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_pressed_twice_leaves_no_half_trained_net(tmp_path):
    net = NeuralNetClassifier(
        nn.Linear,
        module__in_features=3,
        module__out_features=2,
        criterion=nn.CrossEntropyLoss,
        train_split=None,
        max_epochs=2,
        verbose=0,
        callbacks=[Impatient()],
    )
    study = make_study(
        tmp_path,
        estimator=net,
        data=StudyData(X=X.astype("float32"), y=y.astype("int64")),
        search_space={"lr": [0.1]},
    )
    with pytest.raises(KeyboardInterrupt):  # skorch takes it for the end of the training
        run_study(study)
    stored = load_result("moody", study.storage)
    assert (stored.n_complete, stored.refit_seconds) == (1, None)
