"""Studies whose trials fail: stopped early where all do, and tried again once mended."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris

from hpo import HPOSearchCV, Study, StudyData, load_result, run_study
from hpo._stop_signal import StopSignal
from hpo.exceptions import NoCompletedTrialError, StudyError
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.study._first_failures import FirstFailures
from hpo.trial import Report, Trial, TrialRecord, TrialState

X, Y = load_iris(return_X_y=True)
# A worker may import this module anew: its environment leads it to the same file.
BUG = Path(os.environ.setdefault("HPO_TEST_BUG", tempfile.mkdtemp())) / "bug"
"""Whether fits fail: no part of the code, or of what a study is."""


class Fragile(ClassifierMixin, BaseEstimator):
    """Fails for as long as the bug says so."""

    def __init__(self, size=1, kind="a"):
        self.size = size
        self.kind = kind

    def fit(self, X, y):
        if eval(BUG.read_text(), {"size": self.size, "kind": self.kind}):
            raise ArithmeticError(f"no size {self.size}, really")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[self.size % len(self.classes_)])


@pytest.fixture(autouse=True)
def bug():
    BUG.write_text("True")
    return BUG.write_text


SIZES = {"size": {"type": "int", "low": 1, "high": 1000}}


@pytest.fixture
def study(tmp_path):
    return Study(
        name="fragile",
        estimator=Fragile(),
        data=StudyData(X=X, y=Y),
        search_space=SIZES,
        cv=3,
        folds="all",  # all trials score alike
        n_trials=8,
        storage=f"journal:///{tmp_path}/hpo.journal",
        tracker="null",
    )


def states(study):
    result = load_result(study.name, study.storage)
    return [str(r.state) for r in result.records]


# -- fail_fast --


def test_a_study_whose_first_trials_fail_with_one_error_is_stopped_after_three(study):
    with pytest.raises(NoCompletedTrialError, match=r"All the 3 trials failed.*no size.*fail_fast"):
        run_study(study)
    assert states(study) == ["failed"] * 3


def test_how_many_is_told_by_fail_fast(study):
    with pytest.raises(NoCompletedTrialError, match="All the 5 trials failed"):
        run_study(study.replace(fail_fast=5))
    other = study.replace(name="other", fail_fast=None)
    with pytest.raises(NoCompletedTrialError, match="All the 8 trials failed"):
        run_study(other)
    with pytest.raises(StudyError, match="fail_fast"):
        study.replace(fail_fast=0)


def test_a_later_trial_that_works_is_reached_where_a_value_may_be_to_blame(study, bug):
    bug("kind == 'a'")
    grid = study.replace(
        search_space={"kind": ["a", "b"], "size": [1, 2, 3, 4]}, sampler="grid", n_trials=None
    )
    result = run_study(grid)
    assert (result.n_failed, result.n_complete) == (4, 4)


def test_with_every_value_tried_it_stops(study):
    grid = study.replace(search_space={"kind": ["a", "b"], "size": [1, 2, 3, 4]}, sampler="grid")
    with pytest.raises(NoCompletedTrialError, match="All the 5 trials failed"):
        run_study(grid)


def test_a_search_is_stopped_too_and_raise_is_the_first(bug):
    settings = {"n_trials": 8, "cv": 3, "random_state": 0}
    with pytest.raises(NoCompletedTrialError, match="All the 3 trials failed"):
        HPOSearchCV(Fragile(), SIZES, **settings).fit(X, Y)
    with pytest.raises(NoCompletedTrialError, match="All the 8 trials failed"):
        HPOSearchCV(Fragile(), SIZES, fail_fast=None, **settings).fit(X, Y)
    with pytest.raises(ArithmeticError, match="no size"):
        HPOSearchCV(Fragile(), SIZES, error_score="raise", **settings).fit(X, Y)


def test_processes_are_stopped_too(study):
    with pytest.raises(NoCompletedTrialError, match="failed with one error"):
        run_study(study.replace(executor="process:n_jobs=2"))
    found = states(study)
    assert 3 <= found.count("failed") <= 4
    assert set(found) <= {"failed", "interrupted"}


def record(number, state=TrialState.FAILED, reason="E: no 1", error="trace", **params):
    reports = (Report(number, 1, 0.5),) if state is not TrialState.FAILED else ()
    return TrialRecord(Trial(number, params, 0), state, reports, reason, error)


def heard(*records, n=3, space=None, earlier=()):
    interrupt = StopSignal()
    space = SearchSpace.load(space or {"x": {"type": "float", "low": 0, "high": 1}})
    failures = FirstFailures(interrupt, n, space, earlier)
    for one in records:
        failures.on_trial_end(one)
    assert failures.stopped == bool(interrupt.reason)
    return failures.stopped


def test_what_is_counted():
    fails = [record(i, reason=f"E: no {i} at 0x7f{i}a", x=i / 10) for i in range(4)]
    assert heard(*fails[:3])
    assert not heard(*fails[:2])
    assert not heard(*fails, n=None)
    other = record(9, reason="F: other", x=0.9)
    done = record(9, TrialState.COMPLETE, x=0.9)
    pruned = record(9, TrialState.PRUNED, x=0.9)
    for one in (other, done, pruned, record(9, error=None, x=0.9)):
        assert not heard(fails[0], one, *fails[1:])
    cut_off = record(9, TrialState.INTERRUPTED, x=0.9)
    assert heard(fails[0], cut_off, *fails[1:3])
    assert heard(*fails[:3], earlier=[record(5, x=0.5)])
    assert not heard(*fails, earlier=[done])


def test_a_value_that_all_of_them_share_may_be_to_blame():
    space = {"kind": ["a", "b"], "only": ["z"], "x": {"type": "float", "low": 0, "high": 1}}
    alike = [record(i, x=i / 10, kind="a", only="z") for i in range(5)]
    assert not heard(*alike, space=space)
    assert heard(*alike, record(5, x=0.9, kind="b", only="z"), space=space)
    absent = [record(i, x=i / 10) for i in range(2)]  # a parameter of one kind alone
    assert heard(*alike[:2], *absent, space=space)


# -- retry_failed --


def test_failed_trials_are_tried_again_once_mended(study, bug):
    with pytest.raises(NoCompletedTrialError, match="--retry-failed"):
        run_study(study.replace(fail_fast=None))
    failed = load_result(study.name, study.storage)
    with pytest.raises(NoCompletedTrialError, match="retry_failed=True"):
        run_study(study)  # nothing is left to do, and it says what is
    bug("False")
    result = run_study(study, retry_failed=True)
    assert (result.n_complete, result.n_failed, result.n_interrupted) == (8, 0, 8)
    again = [r.trial.params for r in result.records if not r.interrupted]
    assert again == [r.trial.params for r in failed.records]
    assert states(study) == ["interrupted"] * 8 + ["complete"] * 8
    assert "tried again after ArithmeticError: no size" in result.records[0].reason
    assert result.records[0].error  # is kept
    assert run_study(study, retry_failed=True).n_trials == 8  # none is left
    assert run_study(study.replace(n_trials=9)).n_complete == 9


def test_only_the_failed_ones_are(study, bug):
    bug("size % 2")
    first = run_study(study)
    assert first.n_failed
    bug("size % 4 == 3")  # half of it
    second = run_study(study, retry_failed=True)
    assert second.n_complete + second.n_failed == 8
    assert (second.n_trials, second.n_interrupted) == (8, first.n_failed)
    bug("False")
    third = run_study(study, retry_failed=True)
    assert (third.n_complete, third.n_failed) == (8, 0)
    assert (third.n_trials, third.n_interrupted) == (8, first.n_failed + second.n_failed)


def test_a_grid_is_made_complete(study, bug):
    bug("size == 2")
    grid = study.replace(search_space={"size": [1, 2, 3]}, sampler="grid", n_trials=None)
    assert run_study(grid).n_failed == 1
    bug("False")
    result = run_study(grid, retry_failed=True)
    assert (result.n_complete, result.n_failed, result.n_trials) == (3, 0, 3)
    assert run_study(grid).n_trials == 3


class Mended(Fragile):
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self


Mended.__name__ = Mended.__qualname__ = "Fragile"


def test_code_that_was_mended_is_accepted_where_nothing_has_a_score(study, bug):
    with pytest.raises(NoCompletedTrialError):
        run_study(study)
    mended = study.replace(estimator=Mended(), folds="all")
    with pytest.raises(StudyError, match="--accept-code"):
        run_study(mended)
    assert run_study(mended, retry_failed=True).n_complete == 8
    bug("size % 2")
    with pytest.raises(StudyError, match="--accept-code"):
        run_study(study, retry_failed=True)  # these scores may not hold for it


@pytest.mark.parametrize("kind", ["memory", "sqlite", "journal"])
def test_a_driver_that_dies_before_a_retry_leaves_it_to_the_next(tmp_path, kind):
    url = {
        "memory": None,
        "sqlite": f"sqlite:///{tmp_path}/s.db",
        "journal": f"journal:///{tmp_path}/s",
    }
    space = SearchSpace.load(SIZES)
    store = TrialStore("s", space, url[kind])
    trial = store.ask()
    store.tell(TrialRecord(trial, TrialState.FAILED, (), "E: no", "trace"))
    assert store.retry_failed() == 1
    assert store.retry_failed() == 0
    again = store.ask()
    assert again.params == trial.params
    store.tell(TrialRecord(again, TrialState.INTERRUPTED, (), "killed", None))
    if kind != "memory":
        store = TrialStore("s", space, url[kind])
    assert [record.interrupted for record in store.records()] == [True, True]
    store.fail_stale_trials()
    assert store.ask().params == trial.params
