"""What `load_result` returns is what `run_study` has returned."""

import dataclasses

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import SGDClassifier

from hpo import Study, StudyData, StudyResult, load_result, run_study

# A limit of a millisecond may end what has a file open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

X, y = load_iris(return_X_y=True)
NOT_STORED = {
    "refitted",
    "refit_trial",
    "resolved_params",
    "fingerprint",
    "space",
    "out_of_fold",
    "records",
}
"""Fields that are compared below, or stay with the process that ran the study."""


@pytest.fixture
def ran(tmp_path):
    study = Study(
        name="linear",
        estimator=SGDClassifier(random_state=0),
        data=StudyData(X=X[::2], y=y[::2], X_test=X[1::2], y_test=y[1::2]),
        search_space={"alpha": [1e-4, 1e-2, 1.0]},
        cv=3,
        epochs=2,
        n_trials=3,
        scoring="accuracy",
        storage=f"journal:///{tmp_path}/hpo.journal",
        tracker="null",
        costs=["seconds"],
        timeout=1e-3,
        pruner="nop",
    )
    cut = run_study(study)
    return study, cut, run_study(study.replace(timeout=None))


def test_every_stored_field(ran):
    study, _, result = ran
    loaded = load_result("linear", study.storage)
    assert type(loaded) is StudyResult
    for field in dataclasses.fields(StudyResult):
        if field.name not in NOT_STORED:
            assert getattr(loaded, field.name) == getattr(result, field.name), field.name
    assert loaded.records == result.records
    assert loaded.space == result.space
    assert np.array_equal(loaded.oof().predictions, result.oof().predictions)
    assert loaded.best_params == result.best_params
    assert loaded.space.resolve(loaded.best_params) == result.resolved_params
    assert repr(loaded) == repr(result)


def test_why_it_stopped_and_its_notes(ran, tmp_path):
    study, cut, _ = ran
    assert cut.stopped
    study = study.replace(storage=f"journal:///{tmp_path}/other.journal")
    cut = run_study(study)
    loaded = load_result("linear", study.storage)
    assert cut.stopped
    assert loaded.stopped == cut.stopped
    assert loaded.notes == cut.notes
