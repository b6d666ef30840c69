"""What `load_result` returns is what `run_study` has returned."""

import dataclasses

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import SGDClassifier

from hpo import HPOSearchCV, Study, StudyData, StudyResult, load_result, run_study
from hpo.cli._export import export_model
from hpo.exceptions import StorageError

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


def test_the_winner_is_loaded_and_exported_without_a_tracker(ran, tmp_path):
    study, _, result = ran
    loaded = load_result("linear", study.storage)
    assert (loaded.estimator.predict(X) == result.estimator.predict(X)).all()
    (folder,) = tmp_path.glob("hpo.journal.files/*")
    assert {path.name for path in folder.iterdir()} == {"model.pkl", "model.json", "out_of_fold"}
    export_model("linear", tmp_path / "model", study.storage)
    assert (tmp_path / "model" / "MLmodel").is_file()


def test_a_search_keeps_its_winner_with_its_storage(tmp_path):
    storage = f"journal:///{tmp_path}/hpo.journal"
    alphas = {"alpha": [1e-4, 1.0]}
    estimator = SGDClassifier(random_state=0)
    search = HPOSearchCV(estimator, alphas, n_trials=2, storage=storage, study_name="search")
    search.fit(X, y)
    loaded = load_result("search", storage)
    assert (loaded.estimator.predict(X) == search.predict(X)).all()


def test_why_there_is_no_winner_to_load(ran, tmp_path):
    study, _, _ = ran
    storage = f"journal:///{tmp_path}/other.journal"
    study = study.replace(storage=storage)

    def why():
        with pytest.raises(StorageError) as told:
            _ = load_result("linear", storage).estimator
        with pytest.raises(StorageError) as told_again:
            export_model("linear", tmp_path / "model", storage)
        assert str(told.value) == str(told_again.value)
        return str(told.value)

    run_study(study.replace(timeout=None, refit=False))
    assert "refit=False left it out" in why()
    study = study.replace(timeout=None, tracker="null:keep_model=false")
    run_study(study)
    assert "null:keep_model=false" in why()
    # The refit is stored, and is made again all the same, for its model.
    again = run_study(study.replace(tracker="null"), reuse_refit=True)
    assert again.refit_trial is not None
    assert load_result("linear", storage).estimator.predict(X).shape == y.shape
    reused = run_study(study.replace(tracker="null"), reuse_refit=True)
    assert reused.refit_trial is None
    assert load_result("linear", storage).estimator is not None


def test_a_winner_that_cannot_be_pickled_is_refitted_once(tmp_path):
    class Unpicklable(SGDClassifier):
        def __getstate__(self):
            raise TypeError("cannot pickle this")

    study = Study(
        name="linear",
        estimator=Unpicklable(random_state=0),
        data=StudyData(X=X, y=y),
        search_space={"alpha": [1e-4, 1.0]},
        cv=2,
        n_trials=2,
        storage=f"journal:///{tmp_path}/hpo.journal",
        tracker="null",
    )
    run_study(study)
    for _ in range(2):
        assert run_study(study, reuse_refit=True).refit_trial is None
        with pytest.raises(StorageError, match="could not be pickled, see"):
            _ = load_result("linear", study.storage).estimator
