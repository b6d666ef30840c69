"""The fields that say what a study compares: checked, noted, and no part of what it is."""

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import KFold

from hpo import Study, StudyData, load_result, run_study
from hpo.exceptions import DataError, StudyError
from hpo.study.prepared import PreparedStudy

SPACE = {
    "loss": ["hinge", "log_loss"],
    "penalty": ["l2"],
    "alpha": {"type": "float", "low": 0.0, "high": 1e-2, "step": 5e-3},
}


def study(**changes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3))
    fields = dict(
        name="compared",
        estimator=SGDClassifier(random_state=0),
        data=StudyData(X=X, y=(X[:, 0] > 0).astype(int)),
        search_space=SPACE,
        cv=3,
        n_trials=3,
        storage=None,
        tracker="null",
    )
    return Study(**{**fields, **changes})


def test_a_grid_compares_all_parameters_that_have_several_values():
    assert PreparedStudy(study(sampler="grid")).search.compare == ("loss", "alpha")
    assert PreparedStudy(study()).search.compare == ()
    assert PreparedStudy(study(sampler="grid", compare=[])).search.compare == ()
    assert PreparedStudy(study(compare=["alpha", "loss"])).search.compare == ("alpha", "loss")


def test_unknown_and_continuous_parameters_are_refused_by_name():
    continuous = {**SPACE, "eta0": {"type": "float", "low": 0.1, "high": 1.0}}
    with pytest.raises(StudyError) as error:
        PreparedStudy(study(search_space=continuous, compare=["alfa", "eta0"]))
    assert "'compare' names 'alfa', which is not in the search space, did you mean 'alpha'?" in str(
        error.value
    )
    assert "'eta0', which has a continuous range" in str(error.value)


@pytest.mark.parametrize("field", ["compare", "watch"])
def test_text_is_no_list_of_names(field):
    with pytest.raises(StudyError, match=f"Study's '{field}'"):
        study(**{field: "loss"})


def test_they_are_noted_and_can_change_without_making_another_study(tmp_path):
    storage = f"journal:///{tmp_path}/hpo.journal"
    kept = study(storage=storage, compare=["loss"], watch=["seconds"])
    result = run_study(kept)
    assert (result.compare, result.watch) == (("loss",), ("seconds",))
    assert result.fold_sizes == ((60, 30),) * 3
    run_study(kept.replace(compare=["loss", "alpha"], watch=[]))  # not refused
    loaded = load_result("compared", storage)
    assert (loaded.compare, loaded.watch) == (("loss", "alpha"), ())
    assert loaded.fold_sizes == result.fold_sizes
    assert loaded.scoring == result.scoring


def test_repeats_train_every_trial_on_reshuffled_folds():
    result = run_study(study(cv=3, repeats=2))
    assert len(result.best_record.best_report.fold_values) == 6
    assert len(result.fold_sizes) == 6
    rows = result.out_of_fold.rows
    first, second = (rows.rows[np.isin(rows.folds, folds)] for folds in ((0, 1, 2), (3, 4, 5)))
    assert sorted(first) == sorted(second)
    assert list(first) != list(second)
    with pytest.raises(DataError, match="repeats=2 reshuffles folds"):
        run_study(study(cv=KFold(3), repeats=2))
