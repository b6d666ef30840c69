"""Values that a search space gives as defaults are tried first."""

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from hpo import HPOSearchCV, Study, StudyData, run_study
from hpo.exceptions import SpaceError
from hpo.space import SearchSpace

TEXT = """
C: {type: float, low: 0.01, high: 100, log: true, default: 1.0}
kernel: {type: categorical, choices: [rbf, poly], default: poly}
degree: {type: int, low: 2, high: 5, default: 3, when: {kernel: [poly]}}
coef0: {type: float, low: 0, high: 1, default: 0.5, when: {kernel: [rbf]}}
gamma: {type: float, low: 0.001, high: 1, log: true}
"""
X, Y = load_iris(return_X_y=True)


def test_the_point_has_those_that_exist():
    space = SearchSpace.loads(TEXT)
    assert space.defaults == ({"C": 1.0, "kernel": "poly", "degree": 3},)
    assert space.describe("C") == "float 0.01 .. 100.0, log, default 1.0"


def test_they_are_written_and_change_no_space():
    space = SearchSpace.loads(TEXT)
    again = SearchSpace.loads(space.to_yaml())
    assert again.defaults == space.defaults
    plain = SearchSpace.loads(TEXT.replace(", default: 1.0", "").replace(", default: poly", ""))
    assert plain == space
    assert plain.defaults == ()  # degree's parent has none


def test_each_part_of_a_list_has_its_own():
    parts = [{"kernel": ["rbf"], "C": {"type": "float", "low": 1, "high": 9, "default": 2}}]
    space = SearchSpace.load([*parts, {"kernel": ["linear"]}])
    assert space.defaults == ({"C": 2.0},)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{type: float, low: 0, high: 1, default: 2}", "x: `default`: .*2"),
        ("{type: int, low: 0, high: 5, default: 0.5}", "x: `default`: "),
        ("{type: categorical, choices: [a, b], default: c}", "none of its choices"),
        ("{type: float, low: 0, high: 1, default: much}", "must be a number, got 'much'"),
    ],
)
def test_a_value_outside_is_told_with_its_line(spec, message):
    with pytest.raises(SpaceError, match=rf"{message}.*\(line 2\)"):
        SearchSpace.loads(f"# one\nx: {spec}\n")


def test_null_is_a_default_where_it_is_a_choice():
    space = SearchSpace.loads("x: {type: categorical, choices: [null, 1], default: null}")
    assert space.defaults == ({"x": None},)


def test_the_first_trial_of_a_study_has_them():
    study = Study(
        name="s",
        estimator=SVC(),
        data=StudyData(X=X, y=Y),
        search_space=SearchSpace.loads(TEXT),
        n_trials=3,
        cv=2,
        storage=None,
        tracker="null",
        enqueue=[{"C": 5.0}],
    )
    first, second, _ = run_study(study).records
    params = first.trial.params
    assert {name: params[name] for name in ("C", "kernel", "degree")} == {
        "C": 1.0,
        "kernel": "poly",
        "degree": 3,
    }
    assert second.trial.params["C"] == 5.0


def test_of_a_search_too():
    space = {"C": {"type": "float", "low": 0.01, "high": 100.0, "log": True, "default": 1.0}}
    search = HPOSearchCV(LogisticRegression(max_iter=500), space, n_trials=2, random_state=0)
    assert search.fit(X, Y).cv_results_["param_C"][0] == 1.0
