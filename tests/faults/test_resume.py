"""A study that goes on with one of its settings changed: refused or allowed, nothing lost."""

import warnings

import pytest
from _compare import complaints, lost, snapshot
from _studies import ROUNDS
from sklearn.datasets import load_iris
from sklearn.linear_model import SGDClassifier

from hpo import Study, StudyData, run_study
from hpo.exceptions import HpoError

X, y = load_iris(return_X_y=True)
ALPHA = {"type": "float", "low": 1e-4, "high": 1.0, "log": True}

REFUSED, GOES_ON, ANOTHER = "refused", "goes on", "another study"

CHANGES = {
    "name": (ANOTHER, {"name": "other"}),
    "storage": (ANOTHER, {"storage": "journal:///other.journal"}),
    "estimator": (REFUSED, {"estimator": SGDClassifier(penalty="l1", random_state=0)}),
    "data": (REFUSED, {"data": StudyData(X=X + 1, y=y)}),
    "search_space": (REFUSED, {"search_space": {"alpha": {**ALPHA, "high": 0.5}}}),
    "scoring": (REFUSED, {"scoring": "f1_macro"}),
    "metric": (REFUSED, {"scoring": ["accuracy", "f1_macro"], "metric": "f1_macro"}),
    "costs": (REFUSED, {"costs": ["seconds"]}),
    "cv": (REFUSED, {"cv": 4}),
    "epochs": (REFUSED, {"epochs": 4}),
    "eval_every": (REFUSED, None),  # of nets
    "select": (REFUSED, {"select": "last"}),
    "seed": (REFUSED, {"seed": 1}),
    "n_trials": (GOES_ON, {"n_trials": 5}),
    "timeout": (GOES_ON, {"timeout": 600.0}),
    "max_total_epochs": (GOES_ON, {"max_total_epochs": 600}),
    "pruner": (GOES_ON, {"pruner": "halving"}),
    "sampler": (GOES_ON, {"sampler": "random"}),
    "backend": (GOES_ON, {"backend": "optuna"}),
    "executor": (GOES_ON, {"executor": "serial"}),
    "n_jobs": (GOES_ON, {"n_jobs": 1}),
    "n_threads": (GOES_ON, {"n_threads": 2}),
    "device": (GOES_ON, {"device": "cpu"}),
    "tracker": (GOES_ON, {"tracker": "tensorboard:folder=runs"}),
    "tracking_uri": (GOES_ON, {"tracking_uri": "sqlite:///other.db"}),
    "fail_fast": (GOES_ON, {"fail_fast": 1}),
    "refit": (GOES_ON, {"refit": True}),
    "add_trials": (GOES_ON, {"add_trials": ()}),
    "keep": (GOES_ON, {"keep": "all"}),
    "repeats": (REFUSED, {"repeats": 2}),
    "nested": (GOES_ON, {"nested": 2}),
    "choose": (GOES_ON, {"choose": "one_se"}),
    "folds": (GOES_ON, {"folds": "race"}),
    "baseline": (GOES_ON, {"baseline": False}),
    "out_of_fold_mb": (GOES_ON, {"out_of_fold_mb": 0}),
    "checkpoint_every": (GOES_ON, {"checkpoint_every": None}),
    "trial_timeout": (GOES_ON, {"trial_timeout": 600}),
    "enqueue": (GOES_ON, {"enqueue": [{"alpha": 0.25}]}),
    "compare": (GOES_ON, {"compare": []}),
    "watch": (GOES_ON, {"watch": ["seconds"]}),
    "analyses": (GOES_ON, {"analyses": []}),
}
"""What becomes of a study of which this setting has changed (docs/storage_and_tracking.md)."""


def test_each_setting_is_there():
    """A new one must be added, and with it what becomes of a study that goes on."""
    assert set(CHANGES) == set(Study.model_fields)


SHORT = ["costs", "select", "storage", "pruner", "sampler", "n_threads", "enqueue", "keep"]
ALL = [name for name, (_, changes) in CHANGES.items() if changes]


@pytest.mark.parametrize("name", SHORT if ROUNDS == 1 else ALL)
def test_a_study_that_goes_on_with_a_setting_changed(name, tmp_path, monkeypatch, tally):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    storage = "journal:///hpo.journal"
    study = Study(
        name="iris",
        estimator=SGDClassifier(random_state=0),
        data=StudyData(X=X, y=y),
        search_space={"alpha": ALPHA},
        cv=3,
        epochs=2,
        n_trials=2,
        storage=storage,
        tracker="null",
        refit=False,
    )
    run_study(study)
    before = snapshot("iris", storage)
    fate, changes = CHANGES[name]
    changed = study.replace(**changes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if fate == REFUSED:
            with pytest.raises(HpoError, match=r"Start anew|another name"):
                run_study(changed)
        else:
            if fate == GOES_ON:
                changed = changed.replace(n_trials=5)
            result = run_study(changed)
            assert result.n_trials == (5 if fate == GOES_ON else 2)
    assert len(before) == 2
    run_study(study.replace(n_trials=6))
    gone, wrong = lost(before, "iris", storage), complaints("iris", storage, n_trials=6)
    tally("goes on with a setting changed", "serial, journal", 1, len(gone), len(wrong))
    assert (gone, wrong) == ([], [])
