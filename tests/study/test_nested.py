"""Nested cross-validation: a whole search for each outer fold, scored on rows it has not seen."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, TimeSeriesSplit, cross_val_score

from hpo import HPOSearchCV, Study, StudyData, load_result, run_study
from hpo.exceptions import DataError, StudyError
from hpo.storage.studies import study_names

X, Y = load_iris(return_X_y=True)
SPACE = {"C": {"type": "float", "low": 1e-3, "high": 10.0, "log": True}}


def study(estimator=None, data=None, **settings):
    known = {"n_trials": 3, "cv": 3, "nested": 4, "storage": None, "tracker": "null"}
    return Study(
        name="n",
        estimator=estimator or LogisticRegression(max_iter=300),
        data=data or StudyData(X=X, y=Y),
        search_space=SPACE,
        **{**known, **settings},
    )


def test_each_outer_fold_has_a_score_and_they_have_a_mean():
    result = run_study(study())
    assert len(result.nested) == 4
    assert result.nested_score == pytest.approx(np.mean(result.nested))
    assert 0.85 < result.nested_score < 1
    assert 0 < result.nested_score_se < 0.1


def test_it_is_what_scikit_learn_calls_nested():
    """The mean agrees with cross_val_score of a search within its error."""
    result = run_study(study())
    search = HPOSearchCV(LogisticRegression(max_iter=300), SPACE, n_trials=3, cv=3, random_state=0)
    scores = cross_val_score(search, X, Y, cv=4)
    assert abs(scores.mean() - result.nested_score) < 3 * result.nested_score_se


class Remembering(ClassifierMixin, BaseEstimator):
    """Right about the rows that it was fitted on, whose labels are their parities, alone."""

    def __init__(self, C=1.0):
        self.C = C

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.seen_ = set(np.asarray(X)[:, 0])
        return self

    def knows(self, x):
        return x in self.seen_

    def predict(self, X):
        return np.array([int(x % 2 == self.knows(x)) for x in np.asarray(X)[:, 0]])


def test_no_row_of_an_outer_fold_is_seen_by_its_search():
    rows = np.arange(64, dtype=float)[:, None]
    data = StudyData(X=rows, y=np.arange(64) % 2)
    assert Remembering().fit(data.X, data.y).score(data.X, data.y) == 1
    assert run_study(study(Remembering(), data, cv=2)).nested == (0.0,) * 4


def test_groups_stay_together():
    groups = np.repeat(np.random.default_rng(0).permutation(32), 2)
    names = np.random.default_rng(1).permutation(32)[groups]  # folds are made by their order
    data = StudyData(X=groups[:, None].astype(float), y=groups % 2, groups=names)
    assert run_study(study(Remembering(), data, cv=GroupKFold(2))).nested == (0.0,) * 4


def test_it_is_stored_and_goes_on(tmp_path):
    url = f"journal:///{tmp_path / 'h.journal'}"
    first = run_study(study(storage=url, nested=0))
    assert first.nested == ()
    result = run_study(study(storage=url, nested=2))
    assert result.records[0].value == first.records[0].value
    assert load_result("n", url).nested == result.nested
    assert study_names(url) == ["n", "n.outer-1-of-2", "n.outer-2-of-2"]
    n_trials = len(load_result("n.outer-1-of-2", url).records)
    assert run_study(study(storage=url, nested=2)).nested == result.nested
    assert len(load_result("n.outer-1-of-2", url).records) == n_trials == 3


def test_a_splitter_keeps_its_rule():
    """Of a series, only what came before an outer fold is searched on."""
    rows = np.arange(64, dtype=float)[:, None]

    class Later(Remembering):
        def knows(self, x):
            return x > max(self.seen_)  # right about what comes after all that it has seen

    data = StudyData(X=rows, y=np.arange(64) % 2)
    assert run_study(study(Later(), data, cv=TimeSeriesSplit(2), nested=3)).nested == (1.0,) * 3


def test_refused_before_anything_runs():
    groups = np.arange(150) % 5
    with pytest.raises(DataError, match="nested=4 makes outer folds"):
        run_study(study(cv=LeaveOneGroupOut(), data=StudyData(X=X, y=Y, groups=groups)))
    with pytest.raises(StudyError, match=r"nested.*at least 2"):
        study(nested=1)


def test_an_outer_fold_that_fails_costs_no_winner():
    class Fails(LogisticRegression):
        def fit(self, X, y):
            if 60 < len(y) < 80:  # the folds of an outer fold's search
                raise ValueError("no")
            return super().fit(X, y)

    result = run_study(study(Fails(max_iter=300), cv=3, nested=4))
    assert result.winner is not None
    assert result.nested == ()
    assert any("outer fold 1 failed" in note for note in result.notes)
