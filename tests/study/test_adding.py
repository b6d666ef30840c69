"""Trials of other studies that count in one: taken in where they fit and were scored alike."""

import math
from pathlib import Path

import numpy as np
import optuna
import pytest
import scipy.stats as st
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge, SGDRegressor

from hpo import HPOSearchCV, Study, StudyData, load_result, run_study
from hpo.exceptions import SpaceError, StorageError, StudyError
from hpo.storage.open import open_storage
from hpo.testing.backends import Recorder

pytestmark = pytest.mark.slow

X, y = load_diabetes(return_X_y=True)
X, y = X[:120], y[:120]

SPACE = {
    "penalty": ["l2", "l1", "elasticnet"],
    "alpha": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "l1_ratio": {"type": "float", "low": 0.0, "high": 1.0, "when": {"penalty": "elasticnet"}},
}


@pytest.fixture
def study(tmp_path):
    return Study(
        name="first",
        estimator=SGDRegressor(random_state=0),
        data=StudyData(X=X, y=y),
        search_space=SPACE,
        cv=2,
        epochs=3,
        n_trials=8,
        sampler="random",
        pruner="median:n_startup_trials=2",
        storage=f"journal:///{tmp_path}/hpo.journal",
        tracker="null",
        refit=False,
    )


def told_of(result):
    return [
        (r.trial.params, str(r.state), r.value, [p.fold_values for p in r.reports])
        for r in result.records
    ]


def test_trials_of_another_study_count_where_they_fit(study):
    first = run_study(study)
    narrow = {**SPACE, "penalty": ["l1", "elasticnet", None]}
    narrow["alpha"] = {"type": "float", "low": 1e-4, "high": 0.1, "log": True}
    second = study.replace(name="second", search_space=narrow, add_trials="first", n_trials=10)
    recorder = Recorder()
    result = run_study(second, observers=[recorder])
    fitting = [
        r
        for r in first.records
        if r.trial.params["penalty"] != "l2" and 1e-4 <= r.trial.params["alpha"] <= 0.1
    ]
    assert 0 < len(fitting) < 8
    n = len(fitting)
    assert told_of(result)[:n] == told_of(first.__class__(name="x", records=tuple(fitting)))
    assert [r.trial.seed for r in result.records[:n]] == [r.trial.seed for r in fitting]
    assert [r.number for r in result.records] == list(range(10))  # they count
    assert f"{n} trials of 'first' were taken in, and count as trials" in result.notes[0]
    assert f"{8 - n} do not fit: " in result.notes[0]
    assert "penalty was l2, which is no choice of it now" in result.notes[0]
    assert recorder.heard.count(("started", 0)) == 1
    ended = [number for what, number in recorder.heard if what not in {"started", "reported"}]
    assert ended == list(range(10))
    read = load_result("second", study.storage)
    assert told_of(read) == told_of(result)
    again = run_study(second)
    assert told_of(again) == told_of(result)
    assert again.notes[0].startswith("0 trials of 'first'")
    more = run_study(second.replace(n_trials=11, add_trials=["first", "first"]))
    assert told_of(more)[:10] == told_of(result)


def test_the_winner_may_be_one_of_them(study):
    first = run_study(study.replace(storage=None))
    best = first.best_record
    space = {"penalty": [best.trial.params["penalty"]], "alpha": [best.trial.params["alpha"], 1e9]}
    if "l1_ratio" in best.trial.params:
        space["l1_ratio"] = [best.trial.params["l1_ratio"]]
    second = study.replace(
        name="second", search_space=space, add_trials=first, refit=True, n_trials=5
    )
    result = run_study(second)
    assert result.best_params == best.trial.params
    assert result.best_score == best.value
    assert result.estimator.alpha == best.trial.params["alpha"]
    tried = [r.trial.params["alpha"] for r in result.records]
    assert sorted(tried) == [best.trial.params["alpha"], 1e9]  # each once


def others(study):
    rows = np.arange(120)
    return {
        "data": study.replace(data=StudyData(X=X * 2, y=y)),
        "folds": study.replace(cv=3),
        "scoring": study.replace(scoring="neg_mean_absolute_error"),
        "estimator": study.replace(estimator=SGDRegressor(random_state=0, eta0=0.1)),
        "epochs": study.replace(epochs=2),
        "folds ": study.replace(cv=[(rows[:60], rows[60:])]),
    }


@pytest.mark.parametrize("what", ["data", "folds", "scoring", "estimator", "epochs", "folds "])
def test_trials_that_were_scored_otherwise_are_refused_before_anything_is_made(what, study):
    run_study(study)
    other = others(study)[what].replace(name="second", add_trials="first")
    with pytest.raises(StudyError) as caught:
        run_study(other)
    assert "trials of the study 'first' were scored in another way" in str(caught.value)
    assert f"\n  {what.strip()}: " in str(caught.value)
    assert "enqueue=[record.best_params for record in result.top(5)]" in str(caught.value)
    assert optuna.get_all_study_names(open_storage(study.storage)) == ["first"]
    result = load_result("first", study.storage)
    tried = other.replace(add_trials=(), enqueue=[r.best_params for r in result.top(2)], n_trials=2)
    assert [r.trial.params for r in run_study(tried).records] == [
        r.trial.params for r in result.top(2)
    ]


def test_another_seed_makes_no_difference_where_the_folds_are_the_same(study):
    rows = np.arange(120)
    fixed = study.replace(cv=[(rows[:60], rows[60:]), (rows[60:], rows[:60])])
    run_study(fixed)
    result = run_study(fixed.replace(name="second", seed=7, add_trials="first", n_trials=9))
    assert result.n_trials == 9
    assert "8 trials of 'first'" in result.notes[0]


def test_what_cannot_be_taken_in_is_told(study, tmp_path):
    run_study(study)
    for wrong, error, told in (
        ("frist", StorageError, "There is no study 'frist'"),
        (["first", 3], StudyError, "Got 3 instead"),
        ([{"alpha": 1}], StudyError, "takes names of studies in the storage, or a StudyResult"),
    ):
        with pytest.raises(error, match=told):
            run_study(study.replace(name="second", add_trials=wrong))
    with pytest.raises(StudyError, match="names the study 'first' itself"):
        run_study(study.replace(add_trials="first"))
    with pytest.raises(StudyError, match="this one has no storage"):
        run_study(study.replace(name="second", storage=None, add_trials="first"))
    optuna.create_study(
        study_name="foreign", storage=open_storage(study.storage), direction="maximize"
    )
    with pytest.raises(StudyError, match="'foreign' does not tell how its trials were scored"):
        run_study(study.replace(name="second", add_trials="foreign"))
    assert set(optuna.get_all_study_names(open_storage(study.storage))) == {"first", "foreign"}
    assert list(Path(tmp_path).glob("*.journal"))


def test_failed_and_interrupted_trials_are_left(study):
    failing = {**SPACE, "alpha": [-1.0, 0.1], "penalty": ["l2"]}
    del failing["l1_ratio"]
    first = run_study(study.replace(search_space=failing, storage=None, n_trials=2))
    assert first.n_failed == 1
    result = run_study(
        study.replace(name="second", search_space=failing, add_trials=[first], n_trials=1)
    )
    assert [r.trial.params["alpha"] for r in result.records] == [0.1]


def test_what_is_no_longer_searched_fits_where_the_estimator_has_it_by_itself(study):
    space = {"alpha": SPACE["alpha"], "fit_intercept": [True, False]}
    first = run_study(study.replace(search_space=space))
    narrow = study.replace(name="second", search_space={"alpha": SPACE["alpha"]}, n_trials=8)
    result = run_study(narrow.replace(add_trials="first"))
    fitting = [r for r in first.records if r.trial.params["fit_intercept"]]
    n = len(fitting)
    assert [r.trial.params for r in result.records[:n]] == [
        {"alpha": r.trial.params["alpha"]} for r in fitting
    ]
    assert "fit_intercept is no longer searched" in result.notes[0]


@pytest.mark.parametrize(
    "wider",
    [
        {"alpha": st.expon(scale=0.5)},
        {"alpha": st.loguniform(1e-6, 1)},
        [{"alpha": st.expon(scale=0.1)}, {"alpha": [1e-9], "penalty": ["l1"]}],
    ],
)
def test_a_study_is_extended_from_and_to_distributions_and_lists(wider, study):
    first = run_study(study.replace(search_space={"alpha": st.expon(scale=0.1)}, pruner=None))
    more = study.replace(search_space=wider, n_trials=10, pruner=None)
    with pytest.raises(StudyError, match="search space: alpha"):
        run_study(more)
    result = run_study(more, extend=True)
    kept = [r.trial.params["alpha"] for r in result.records[: len(result.records) - 2]]
    assert {r.trial.params["alpha"] for r in first.records} >= set(kept)
    assert len(kept) >= 5
    assert len(result.records) == 10
    read = load_result("first", study.storage)
    assert told_of(read) == told_of(result)


def test_costs_come_with_them(study):
    first = run_study(study.replace(costs=["seconds"], pruner=None))
    result = run_study(
        study.replace(name="second", costs=["seconds"], pruner=None, add_trials="first", n_trials=9)
    )
    assert [r.cost("seconds") for r in result.records[:8]] == [
        r.cost("seconds") for r in first.records
    ]
    trials = optuna.load_study(study_name="second", storage=open_storage(study.storage)).trials
    assert all(len(t.values) == 2 for t in trials)


@pytest.mark.parametrize("sampler", ["tpe:n_startup_trials=4", "gp"])
def test_a_sampler_learns_from_them(sampler, study):
    first = run_study(study.replace(pruner=None))
    second = study.replace(name="second", add_trials="first", sampler=sampler, n_trials=10)
    result = run_study(second.replace(pruner=None))
    assert told_of(result)[:8] == told_of(first)
    assert all(math.isfinite(r.value) for r in result.top(10))


# -- the search as an estimator --------------------------------------------------------------------


def search(space, **settings):
    return HPOSearchCV(Ridge(), space, **{"cv": 3, "pruner": None, "random_state": 0, **settings})


def test_a_search_takes_in_the_result_of_another_one():
    first = search({"alpha": [0.01, 0.1, 1.0]}, sampler="grid", n_trials=None).fit(X, y)
    wider = {"alpha": {"type": "float", "low": 0.05, "high": 10.0, "log": True}}
    second = search(wider, n_trials=5, add_trials=first.result_)
    with pytest.warns(UserWarning, match="2 trials of 'HPOSearchCV' were taken in"):
        second.fit(X, y)
    table = second.cv_results_
    assert [p["alpha"] for p in table["params"]][:2] == [0.1, 1.0]
    np.testing.assert_array_equal(
        table["mean_test_score"][:2], first.cv_results_["mean_test_score"][1:]
    )
    assert len(table["params"]) == 5
    with pytest.raises(StudyError, match="data: X: another 120 x 10 float64 array"):
        search(wider, n_trials=5, add_trials=first.result_).fit(X * 2, y)


def test_trials_of_distributions_and_of_lists_of_grids_are_taken_in():
    first = search({"alpha": st.expon(scale=1.0)}, n_trials=6, sampler="random").fit(X, y)
    spaces = [
        {"alpha": st.expon(scale=2.0), "fit_intercept": [False]},
        {"alpha": st.expon(scale=5.0)},
    ]
    second = search(spaces, n_trials=8, add_trials=[first.result_])
    with pytest.warns(UserWarning, match="trials of 'HPOSearchCV' were taken in"):
        second.fit(X, y)
    low, high = st.expon(scale=5.0).ppf([0.001, 0.999])
    fitting = [p for p in first.cv_results_["params"] if low <= p["alpha"] <= high]
    assert second.cv_results_["params"][: len(fitting)] == fitting


def test_enqueue_takes_what_a_search_found(tmp_path):
    space = {"alpha": np.logspace(-2, 2, 5), "solver": ["svd", "cholesky"], "positive": [False]}
    first = search(space, n_trials=3, sampler="random").fit(X, y)
    found = first.best_params_
    for storage in (None, f"sqlite:///{tmp_path}/s.db"):
        second = search(space, n_trials=3, enqueue=[found, {"alpha": np.float64(100.0)}])
        second.set_params(storage=storage).fit(X, y)
        assert second.cv_results_["params"][0] == found
        assert second.cv_results_["params"][1]["alpha"] == 100.0
    with pytest.raises(SpaceError) as caught:
        search(space, n_trials=3, enqueue=[{"alfa": 1}, {"alpha": 3.0, "solver": "svdd"}]).fit(X, y)
    assert len(caught.value.problems) == 3
    assert "enqueue[1]: solver: 'svdd' is none of its choices, did you mean 'svd'?" in str(
        caught.value
    )
