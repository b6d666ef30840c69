import math
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ParameterGrid, cross_validate
from sklearn.svm import SVC

from hpo.exceptions import NoCompletedTrialError
from hpo.result import StudyResult
from hpo.trial import Report, Trial, TrialRecord, TrialState

COMPLETE, PRUNED, FAILED, RUNNING = (
    TrialState.COMPLETE,
    TrialState.PRUNED,
    TrialState.FAILED,
    TrialState.RUNNING,
)


def record(number, values=(), state=COMPLETE, *, reason="", params=None, max_steps=None, folds=2):
    reports = [
        Report(
            number,
            step,
            value,
            tuple(value + offset for offset in (np.arange(folds) - (folds - 1) / 2) * 0.1),
            {},
            seconds=0.5,
            fit_seconds=(0.1 * step,) * folds,
            score_seconds=(0.01 * step,) * folds,
        )
        for step, value in enumerate(values, start=1)
    ]
    return TrialRecord(
        Trial(number, params or {"lr": 0.1 * number}, 0),
        state,
        tuple(reports),
        reason,
        max_steps=max_steps,
    )


def result(*records, **fields):
    return StudyResult(name="study", records=records, **fields)


def test_the_best_is_the_greatest_among_complete_ones_and_the_earliest_of_equals():
    outcome = result(
        record(0, [0.5, 0.6]),
        record(1, [0.9, 0.8]),
        record(2, [0.8, 0.9]),
        record(3, [0.99], PRUNED),
        record(4, [0.99], FAILED),
        record(5, [0.99], RUNNING),
        record(6, [math.nan]),
    )
    assert outcome.best_record.number == 1
    assert (outcome.best_score, outcome.best_step) == (0.9, 1)
    assert outcome.best_params == {"lr": 0.1}
    assert [r.number for r in outcome.top(10)] == [1, 2, 0]
    assert [r.number for r in outcome.top(2)] == [1, 2]


def test_the_standard_error_is_over_folds_at_the_best_step():
    values = [0.85, 0.95, 1.05]
    expected = np.std(values, ddof=1) / math.sqrt(3)
    assert result(record(0, [0.5, 0.95, 0.6], folds=3)).best_score_se == pytest.approx(expected)
    assert math.isnan(result(record(0, [0.5], folds=1)).best_score_se)


def test_states_are_counted_apart():
    outcome = result(
        record(0, [1.0]),
        record(1, [1.0], PRUNED),
        record(2, [], FAILED, reason="ValueError: no"),
        record(3, [1.0], TrialState.INTERRUPTED, reason="Ctrl-C"),
        record(4, [1.0], RUNNING),
    )
    counts = (
        outcome.n_trials,
        outcome.n_complete,
        outcome.n_pruned,
        outcome.n_failed,
        outcome.n_interrupted,
    )
    assert counts == (4, 1, 1, 1, 1)


def test_epochs_saved_are_those_of_pruned_trials_alone():
    outcome = result(
        record(0, [1.0] * 6, max_steps=10),  # its net stopped early by itself
        record(1, [1.0] * 4, PRUNED, max_steps=10),
        record(2, [1.0] * 5, FAILED, max_steps=10),
        record(3, [1.0], PRUNED),
    )
    assert outcome.epochs_saved_fraction == pytest.approx(6 / 20)
    assert outcome.epochs_run == 16
    assert result().epochs_saved_fraction == 0.0


def test_failures_are_grouped():
    records = [record(i, [], FAILED, reason="ValueError: too many.") for i in range(48)]
    records += [record(i, [], FAILED, reason="OutOfMemoryError: none left") for i in (48, 49)]
    text = (
        "All the 50 trials failed. 48 failed with: ValueError: too many; "
        "2 failed with: OutOfMemoryError: none left."
    )
    assert result(*records).failure_summary() == text
    with pytest.raises(NoCompletedTrialError) as caught:
        _ = result(*records).best_record
    assert str(caught.value) == text
    mixed = result(records[0], record(50, [1.0]))
    assert mixed.failure_summary() == "1 of 2 trials failed. 1 failed with: ValueError: too many."
    assert result(record(0, [1.0])).failure_summary() == ""


def test_many_different_failures_are_cut():
    records = [record(i, [], FAILED, reason=f"ValueError: {i}") for i in range(7)]
    assert (
        result(*records)
        .failure_summary()
        .endswith("1 failed with: ValueError: 4; 2 failed otherwise.")
    )


def test_without_a_complete_trial_the_message_says_how_they_ended():
    outcome = result(
        record(0, [0.1], PRUNED, reason="epoch 1: nan"),
        record(1, [], FAILED, reason="ValueError: no"),
        record(2, [math.nan]),
        record(3, [], TrialState.INTERRUPTED, reason="Ctrl-C"),
    )
    with pytest.raises(NoCompletedTrialError) as caught:
        _ = outcome.best_score
    assert str(caught.value) == (
        "None of the 3 trials of study 'study' is complete with a finite score (1 pruned, "
        "1 failed, 1 complete, not counting 1 interrupted), so there is no best one. 1 of 3 trials "
        "failed. 1 failed with: ValueError: no. 1 pruned at: epoch 1: nan."
    )
    with pytest.raises(NoCompletedTrialError, match="'study' has no trials yet"):
        _ = result().best_params


def test_data_frame():
    outcome = result(
        record(0, [0.5, 0.7, 0.6], params={"lr": 0.1, "optimizer": "SGD"}),
        record(1, [], FAILED, reason="ValueError: no", params={"lr": 0.2, "batch_size": 8}),
    )
    frame = outcome.to_frame()
    assert list(frame.columns) == [
        *("number", "state", "value", "step", "last_step", "reason", "seconds"),
        *("trained_by", "trained_by_reason"),
        *("params_lr", "params_optimizer", "params_batch_size"),
    ]
    assert frame.loc[0, ["value", "step", "last_step", "seconds"]].tolist() == [0.7, 2, 3, 1.5]
    assert frame.loc[1, "state"] == "failed"
    assert frame.loc[1, ["value", "step", "params_optimizer"]].isna().all()
    assert list(result().to_frame().columns)[:2] == ["number", "state"]


def test_pickles():
    outcome = result(record(0, [0.5]), test_score=0.4)
    assert pickle.loads(pickle.dumps(outcome)).test_score == 0.4


def searched(estimator, grid, scoring=None, primary="score"):
    """Return the outcome of a search that does on iris what GridSearchCV does."""
    X, y = load_iris(return_X_y=True)
    records = []
    for number, params in enumerate(ParameterGrid(grid)):
        trial = Trial(number, params, 0)
        configured = clone(estimator).set_params(**params)
        try:
            out = cross_validate(
                configured,
                X,
                y,
                cv=3,
                scoring=scoring,
                return_train_score=True,
                error_score="raise",
            )
        except ValueError as error:
            records.append(TrialRecord(trial, FAILED, reason=str(error)))
            continue
        scores = {k.removeprefix("test_"): tuple(v) for k, v in out.items() if "time" not in k}
        values = scores.pop(primary)
        times = tuple(out["fit_time"]), tuple(out["score_time"])
        report = Report(number, 1, float(np.mean(values)), values, scores, 0.0, *times)
        records.append(TrialRecord(trial, COMPLETE, (report,)))
    return result(*records)


GRIDS = {
    "numbers": (
        LogisticRegression(max_iter=500),
        {"C": [0.01, 1.0, 100.0], "max_iter": [400, 500]},
    ),
    "conditional": (SVC(), [{"kernel": ["linear"], "C": [1, 2]}, {"gamma": [0.1, 10.0]}]),
    "objects": (
        SVC(),
        {"class_weight": [None, "balanced", {0: 1, 1: 2, 2: 1}], "shrinking": [True]},
    ),
    "a failing one": (SVC(), {"C": [1.0, -1.0, 2.0]}),
}


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore:One or more of the (test|train) scores:UserWarning")
def test_cv_results_are_those_of_grid_search(grid, multi):
    estimator, space = GRIDS[grid]
    X, y = load_iris(return_X_y=True)
    scoring = ["f1_macro", "accuracy"] if multi else None
    reference = GridSearchCV(
        estimator, space, cv=3, scoring=scoring, refit=False, return_train_score=True
    ).fit(X, y)
    expected = reference.cv_results_
    names = tuple(scoring or ["score"])
    outcome = searched(estimator, space, scoring, primary=names[-1])
    got = outcome.cv_results(scorers=names, primary=names[-1], return_train_score=True)
    assert list(got) == list(expected)
    for key in expected:
        if key == "params":
            assert got[key] == expected[key]
            continue
        assert got[key].dtype == expected[key].dtype, key
        assert type(got[key]) is type(expected[key]), key
        if key.startswith("param_"):
            assert got[key].mask.tolist() == expected[key].mask.tolist()
            assert got[key].tolist() == expected[key].tolist()
        elif "time" not in key:
            np.testing.assert_allclose(got[key], expected[key], rtol=1e-12, err_msg=key)


def test_cv_results_take_the_best_step_and_leave_out_what_says_nothing():
    outcome = result(
        record(0, [0.5, 0.8, 0.7]),
        record(1, [0.9, 0.2], PRUNED, params={"lr": 0.1, "momentum": 0.5}),
        record(2, [0.4], FAILED, reason="ValueError: no"),
        record(3, [0.4], TrialState.INTERRUPTED, reason="Ctrl-C"),
        record(4, [0.4], RUNNING),
        record(5, [], FAILED, reason="ValueError: no"),
    )
    assert [r.number for r in outcome.candidates] == [0, 1, 2, 5]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = outcome.cv_results(lambda params: {**params, "more": 1}, error_score=-1.0)
    assert table["mean_test_score"] == pytest.approx([0.8, 0.9, -1.0, -1.0])
    assert table["split1_test_score"] == pytest.approx([0.85, 0.95, -1.0, -1.0])
    assert table["std_test_score"] == pytest.approx([0.05, 0.05, 0.0, 0.0])
    assert table["rank_test_score"].tolist() == [1, 2, 3, 3]
    assert table["mean_fit_time"] == pytest.approx([0.2, 0.1, 0.1, 0.0])
    assert table["mean_score_time"] == pytest.approx([0.02, 0.01, 0.01, 0.0])
    assert table["params"][1] == {"lr": 0.1, "momentum": 0.5, "more": 1}
    assert table["param_momentum"].mask.tolist() == [True, False, True, True]


def test_cv_results_of_failed_trials_alone():
    outcome = result(record(0, [], FAILED), record(1, [], FAILED))
    table = outcome.cv_results(n_splits=3)
    assert np.isnan(table["split2_test_score"]).all()
    assert table["rank_test_score"].tolist() == [1, 1]
    assert table["rank_test_score"].dtype == np.int32


def test_cv_results_make_a_data_frame():
    table = pd.DataFrame(result(record(0, [0.5]), record(1, [0.6])).cv_results())
    assert table["rank_test_score"].tolist() == [2, 1]
