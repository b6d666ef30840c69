"""Studies whose folds are raced."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import ShuffleSplit, TimeSeriesSplit, cross_val_score
from skorch import NeuralNetClassifier
from torch import nn

from hpo import HPOSearchCV, Study, StudyData, load_result, run_study
from hpo._stop_signal import StopSignal
from hpo.exceptions import StudyError
from hpo.observer import BaseObserver
from hpo.trial import TrialState

N_EPOCHS = 8
EXECUTORS = ["serial", "process:n_jobs=2", "fused:compile=false,n_jobs=1"]
RATES = {"lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True}}


def study(tmp_path, name="s", **changes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 5)).astype("float32")
    y = (X[:, 0] + 0.5 * rng.normal(size=150) > 0).astype("int64")
    net = NeuralNetClassifier(
        nn.Linear,
        module__in_features=5,
        module__out_features=2,
        criterion=nn.CrossEntropyLoss,
        optimizer__momentum=0.9,
        max_epochs=N_EPOCHS,
        batch_size=20,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    known = {
        "estimator": net,
        "data": StudyData(X=X, y=y),
        "search_space": RATES,
        "sampler": "random",
        "n_trials": 12,
        "scoring": "neg_log_loss",
        "cv": 3,
        "device": "cpu",
        "tracker": "null",
        "refit": False,
        "storage": f"journal:///{tmp_path}/{name}.journal",
    }
    return Study(name="s", **{**known, **changes})


def facts(result):
    return [
        (r.number, r.state, r.reason, len(r.screening), [x.fold_values for x in r.reports])
        for r in result.records
    ]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_better_half_gets_all_folds_and_one_of_them_wins(tmp_path, executor):
    result = run_study(study(tmp_path, executor=executor))
    assert result.n_complete + result.n_pruned == 12
    assert 0 < result.n_complete < 6
    for record in result.records:
        scores = [report.value for report in record.screening]
        assert all(math.isfinite(score) for score in scores)
        if record.state is TrialState.COMPLETE:
            assert len(record.screening) == len(record.reports) == N_EPOCHS
            assert [r.fold_values[0] for r in record.reports] == scores
            assert all(np.isfinite(r.fold_values).all() for r in record.reports)
            assert record.n_steps == N_EPOCHS
        else:
            assert record.state is TrialState.PRUNED
            assert record.reason.startswith("first fold, epoch")
            assert record.reports == ()
            assert math.isnan(record.value)
            assert record.n_steps == pytest.approx(len(scores) / 3)
    assert result.winner.state is TrialState.COMPLETE
    assert result.best_score == max(r.value for r in result.records if r.reports)
    assert result.oof(result.winner.number).predictions.shape == (150, 2)
    made = sum(record.n_steps for record in result.records)
    assert result.epochs_run == pytest.approx(made)
    assert result.epochs_saved_fraction == pytest.approx(1 - made / (12 * N_EPOCHS))
    assert facts(load_result("s", f"journal:///{tmp_path}/s.journal")) == facts(result)


def test_decisions_are_the_same_in_a_process_and_on_the_way_in_two_runs(tmp_path):
    serial = facts(run_study(study(tmp_path)))
    assert facts(run_study(study(tmp_path, "p", executor="process:n_jobs=1"))) == serial
    run_study(study(tmp_path, "two", n_trials=5))
    assert facts(run_study(study(tmp_path, "two"))) == serial


class StopAfter(BaseObserver):
    """Ends the study after a number of reports, as Ctrl-C does."""

    def __init__(self, n):
        self.left, self.signal = n, StopSignal()

    def on_report(self, record, report):
        self.left -= 1
        if not self.left:
            self.signal.request("Ctrl-C")

    on_screening = on_report


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("n", [5, N_EPOCHS, N_EPOCHS + 3])
def test_a_trial_that_was_interrupted_goes_on_in_its_race(tmp_path, executor, n):
    """In the first fold, between the two, and in the others."""
    settings = {"executor": executor, "checkpoint_every": 1e-9, "n_trials": 1}
    whole = run_study(study(tmp_path, "whole", **settings)).records[0]
    stop = StopAfter(n)
    first = run_study(study(tmp_path, **settings), observers=[stop], interrupt=stop.signal)
    assert first.n_interrupted == 1
    second = run_study(study(tmp_path, **settings))
    (record,) = (r for r in second.records if r.state is TrialState.COMPLETE)
    if record.trial.resumed_from is not None:
        n_folds, full = 3, max(0, record.trial.resumed_step - N_EPOCHS)
        before = (min(record.trial.resumed_step, N_EPOCHS) + (n_folds - 1) * full) / n_folds
        assert record.n_made == pytest.approx(N_EPOCHS - before)
    assert [r.value for r in record.screening] == [r.value for r in whole.screening]
    assert [r.fold_values for r in record.reports] == [r.fold_values for r in whole.reports]
    assert second.oof(record.number).predictions.shape == (150, 2)


def test_epochs_of_one_fold_are_a_share_of_the_budget(tmp_path):
    result = run_study(study(tmp_path, n_trials=None, max_total_epochs=30))
    assert result.epochs_run == pytest.approx(30, abs=1)
    assert len(result.records) > 4  # of all folds, each would take 8


def test_a_trial_without_a_score_on_its_first_fold_fails(tmp_path):
    space = {"alpha": [1e-4, 1e-2]}
    changes = {
        "estimator": SGDClassifier(random_state=0),
        "search_space": space,
        "scoring": lambda estimator, X, y: math.nan if estimator.alpha > 1e-3 else 0.5,
        "epochs": 2,
        "n_trials": 2,
        "pruner": None,
        "folds": "race",
    }
    result = run_study(study(tmp_path, **changes))
    (failed,) = (r for r in result.records if r.state is TrialState.FAILED)
    assert failed.reason == "epoch 2: no finite score in fold 0, the only one so far"
    assert (len(failed.screening), failed.reports) == (2, ())


AUTO = {
    "three folds": ({}, True),
    "two folds": ({"cv": 2}, False),
    "no pruner": ({"pruner": None}, False),
    "a pruner that compares no trials": (
        {"pruner": "optuna:pruner=threshold,lower=-9"},
        False,
    ),
    "halving": ({"pruner": "halving:eta=3"}, True),
    "the median at every step": ({"pruner": "median:at=every"}, False),
    "a grid": ({"search_space": {"lr": [0.1, 0.2]}, "sampler": "grid"}, False),
    "compared values": ({"search_space": {"lr": [0.1, 0.2]}, "compare": ["lr"]}, False),
    "costs": ({"costs": ["seconds"]}, False),
    "all": ({"folds": "all"}, False),
    "growing folds": ({"cv": TimeSeriesSplit(4)}, False),
    "race without a pruner": ({"pruner": None, "folds": "race"}, True),
    "race over two folds": ({"cv": 2, "folds": "race"}, True),
}


@pytest.mark.parametrize("case", AUTO)
def test_when_folds_are_raced(tmp_path, case):
    changes, races = AUTO[case]
    result = run_study(study(tmp_path, **{"n_trials": 2, **changes}))
    assert any(record.screening for record in result.records) == races


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cv": ShuffleSplit(1)}, "there is one fold alone"),
        ({"backend": "ray:scheduler=asha"}, "the scheduler of the backend stops trials"),
    ],
)
def test_what_cannot_be_raced_is_refused(tmp_path, changes, message):
    with pytest.raises(StudyError, match=message):
        run_study(study(tmp_path, folds="race", **changes))


def test_estimators_without_epochs_are_raced_too():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6))
    y = (X[:, 0] + rng.normal(size=200) > 0).astype(int)
    space = {"C": {"type": "float", "low": 1e-5, "high": 10.0, "log": True}}
    search = HPOSearchCV(
        LogisticRegression(),
        space,
        n_trials=16,
        sampler="random",
        baseline=False,
        cv=5,
        random_state=0,
    ).fit(X, y)
    table = search.cv_results_
    n_folds = table["n_folds"]
    assert set(n_folds) == {1, 5}
    assert 2 <= (n_folds == 5).sum() <= 8
    assert n_folds[search.best_index_] == 5
    rest = np.column_stack([table[f"split{i}_test_score"] for i in range(1, 5)])
    assert (np.isnan(rest).all(axis=1) == (n_folds == 1)).all()
    assert np.isfinite(table["split0_test_score"]).all()
    assert (np.isnan(table["mean_test_score"]) == (n_folds == 1)).all()
    expected = cross_val_score(LogisticRegression(**search.best_params_), X, y, cv=5)
    assert search.best_score_ == pytest.approx(expected.mean())
    assert sorted(table["rank_test_score"])[0] == table["rank_test_score"][search.best_index_] == 1
