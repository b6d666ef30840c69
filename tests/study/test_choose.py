"""The rules by which the winner is chosen."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.tree import DecisionTreeClassifier

from hpo import HPOSearchCV, Study, StudyData, load_result, run_study
from hpo._winner import winner_of
from hpo.exceptions import DataError
from hpo.trial import Report, Trial, TrialRecord, TrialState

X, Y = make_classification(200, 8, flip_y=0.2, random_state=0)
SPACE = {"max_depth": {"type": "int", "low": 1, "high": 8}}


def record(number, value, steps, seconds=1.0, spread=0.01):
    reports = tuple(
        Report(
            number,
            step,
            value - 0.1 * (steps - step),
            tuple(value - 0.1 * (steps - step) + spread * d for d in (-1, 0, 1)),
            seconds=seconds,
        )
        for step in range(1, steps + 1)
    )
    return TrialRecord(Trial(number, {}, 0), TrialState.COMPLETE, reports)


RANKED = [record(4, 0.9, 9), record(2, 0.897, 3), record(7, 0.896, 3, 0.5), record(1, 0.8, 1)]


def test_the_best_wins_unless_told_otherwise():
    assert winner_of(RANKED) is RANKED[0]
    assert winner_of([]) is None


def test_of_those_within_a_standard_error_the_cheapest_wins():
    assert winner_of(RANKED, "one_se") is RANKED[2]  # as few epochs as another one, in less time
    narrow = [record(4, 0.9, 9, spread=0.0), *RANKED[1:]]
    assert winner_of(narrow, "one_se") is narrow[0]


def test_fresh_folds_count_as_much_as_those_of_the_search():
    again = {4: (0.80, 0.80), 2: (0.85, 0.87), 7: (0.85, 0.85)}
    assert winner_of(RANKED, "finalists", again) is RANKED[1]
    assert winner_of(RANKED, "finalists", {}) is RANKED[0]


def study(**settings):
    fields = {
        "name": "chosen",
        "estimator": DecisionTreeClassifier(random_state=0),
        "data": StudyData(X=X, y=Y),
        "search_space": SPACE,
        "cv": 4,
        "n_trials": 8,
        "storage": None,
        "tracker": "null",
    }
    return Study(**{**fields, **settings})


def test_finalists_are_trained_on_fresh_folds_once(tmp_path):
    url = f"journal:///{tmp_path}/hpo.journal"
    result = run_study(study(choose="finalists", storage=url))
    assert set(result.finalists) == {record.number for record in result.top(5)}
    means = {
        n: (np.mean(values) + next(r.value for r in result.records if r.number == n)) / 2
        for n, values in result.finalists.items()
    }
    assert result.winner.number == max(means, key=means.get)
    assert "fresh folds" in result.uncorrected
    of_search = {r.number: r.best_report.fold_values for r in result.top(8)}
    assert all(result.finalists[n] != of_search[n] for n in result.finalists)
    loaded = load_result("chosen", url)
    assert loaded.finalists == result.finalists
    assert loaded.winner == result.winner
    assert run_study(study(choose="finalists", storage=url)).finalists == result.finalists


def test_finalists_need_folds_that_can_be_reshuffled():
    with pytest.raises(DataError, match="give a number of folds"):
        run_study(study(choose="finalists", cv=KFold(3)))


@pytest.mark.parametrize("choose", ["one_se", "finalists"])
def test_a_search_sets_the_row_of_its_winner(choose):
    search = HPOSearchCV(
        LogisticRegression(), {"C": [1e-3, 0.1, 1.0]}, choose=choose, n_trials=3, random_state=0
    ).fit(X, Y)
    assert search.result_.candidates[search.best_index_] is search.result_.best_record
    assert search.best_params_ == search.result_.best_params
    assert hasattr(search, "corrected_score_") == (choose == "one_se")
