"""A study that is interrupted and run again has the trials of one that ran through."""

from collections import Counter

import numpy as np
import pytest
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler
from torch import nn

from hpo import Study, StudyData, load_result, run_study
from hpo._stop_signal import StopSignal
from hpo.observer import BaseObserver
from hpo.pruners.median import MedianPruner
from hpo.trial import TrialState

pytestmark = pytest.mark.slow

N_EPOCHS = 8
AT_ONCE = 1e-9
"""Seconds between checkpoints: one before every step."""

EXECUTORS = ["serial", "process:n_jobs=2", "fused:compile=false,n_jobs=1"]


def study(tmp_path, name, **changes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 5)).astype("float32")
    net = NeuralNetClassifier(
        nn.Linear,
        module__in_features=5,
        module__out_features=2,
        criterion=nn.CrossEntropyLoss,
        optimizer__momentum=0.9,
        max_epochs=N_EPOCHS,
        batch_size=20,
        iterator_train__shuffle=True,
        callbacks=[("rate", LRScheduler("StepLR", step_size=3, gamma=0.5))],
        train_split=None,
        verbose=0,
    )
    known = {
        "estimator": net,
        "data": StudyData(X=X, y=(X[:, 0] > 0).astype("int64")),
        "search_space": {"lr": [0.001, 0.01, 0.05, 0.1]},
        "sampler": "grid",
        "pruner": None,
        "scoring": "accuracy",
        "cv": 2,
        "device": "cpu",
        "tracker": "null",
        "refit": False,
        "checkpoint_every": AT_ONCE,
        "storage": f"journal:///{tmp_path}/{name}.journal",
    }
    return Study(name="s", **{**known, **changes})


class StopAfter(BaseObserver):
    """Ends the study after a number of reports, as Ctrl-C does."""

    def __init__(self, n):
        self.signal, self.left = StopSignal(), n

    def on_report(self, record, report):
        self.left -= 1
        if not self.left:
            self.signal.request("enough")


def interrupted(defined, n):
    """Run a study until there are ``n`` more reports; return the result."""
    stop = StopAfter(n)
    return run_study(defined, observers=[stop], interrupt=stop.signal)


def curves(result):
    """Return seed, state and all scores of the trials that were not interrupted, by parameter."""
    return {
        record.trial.params["lr"]: (
            record.trial.seed,
            record.state,
            [(r.step, r.value, r.fold_values, dict(r.metrics)) for r in record.reports],
        )
        for record in result.records
        if not record.interrupted
    }


def checkpoints(tmp_path):
    return list(tmp_path.glob("*.files/*/checkpoints/*"))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_study_that_was_interrupted_is_one_that_ran_through(executor, tmp_path):
    whole = run_study(study(tmp_path, "whole", executor=executor))
    cut = study(tmp_path, "cut", executor=executor)
    first = interrupted(cut, 13)
    assert first.n_interrupted
    assert checkpoints(tmp_path)
    again = run_study(cut)
    assert curves(again) == curves(whole)
    resumed = [r.trial for r in again.records if r.trial.resumed_from is not None]
    assert resumed
    # Nothing is trained twice: those that were put aside end where the others begin.
    assert again.epochs_run == whole.epochs_run == 4 * N_EPOCHS
    assert any("Gone on with where they were put aside" in note for note in again.notes)
    assert not checkpoints(tmp_path)
    stored = load_result("s", cut.storage)
    assert curves(stored) == curves(whole)
    assert [r.trial for r in stored.records] == [r.trial for r in again.records]


def test_a_trial_goes_on_however_often_it_is_interrupted(tmp_path):
    whole = run_study(study(tmp_path, "whole"))
    cut = study(tmp_path, "cut")
    for _ in range(6):
        interrupted(cut, 5)
    again = run_study(cut)
    assert curves(again) == curves(whole)
    # The first steps of the first trial are made before it is proved that it can be put aside.
    assert again.epochs_run <= 4 * N_EPOCHS + 2


def test_the_pruner_decides_as_if_nothing_had_happened(tmp_path):
    points = [{"lr": lr} for lr in (0.1, 0.05, 0.01, 0.001)]
    pruner = MedianPruner(n_startup_trials=1, peers="reported")
    settings = {"sampler": "random", "pruner": pruner, "enqueue": points, "n_trials": 4}
    whole = run_study(study(tmp_path, "whole", **settings))
    assert Counter(r.state for r in whole.records)[TrialState.PRUNED]
    cut = study(tmp_path, "cut", **settings)
    interrupted(cut, 2 * N_EPOCHS + 1)
    again = run_study(cut)
    assert curves(again) == curves(whole)
    assert [r.reason for r in again.records if not r.interrupted] == [
        r.reason for r in whole.records
    ]


@pytest.mark.parametrize("damage", ["cut off", "of another study", "none"])
def test_a_checkpoint_that_cannot_be_used_costs_time_and_no_score(damage, tmp_path):
    whole = run_study(study(tmp_path, "whole"))
    cut = study(tmp_path, "cut")
    interrupted(cut, N_EPOCHS + 5)
    (path,) = checkpoints(tmp_path)
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "of another study":
        interrupted(study(tmp_path, "other", seed=1), N_EPOCHS + 5)
        (other,) = (p for p in checkpoints(tmp_path) if p.parent != path.parent)
        path.write_bytes(other.read_bytes())
    else:
        path.unlink()
    again = run_study(cut)
    assert curves(again) == curves(whole)
    assert not any(record.trial.resumed_from is not None for record in again.records)
    told = [note for note in again.notes if "its checkpoint is not used" in note]
    assert len(told) == (damage != "none")


@pytest.mark.parametrize("changes", [{"storage": None}, {"checkpoint_every": 0}])
def test_nothing_is_put_aside_in_memory_or_if_it_is_off(changes, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        "hpo.training.checkpoints.CheckpointFiles.write", lambda *a: written.append(a)
    )
    interrupted(study(tmp_path, "s", **changes), 12)
    assert not written


def test_steps_beyond_the_budget_are_counted_once(tmp_path):
    cut = study(tmp_path, "cut", max_total_epochs=20)
    interrupted(cut, 13)
    again = run_study(cut)
    assert again.epochs_run == 20
    assert sum(len(r.reports) - r.trial.resumed_step for r in again.records) == 20


def test_the_trials_after_an_interrupted_one_have_the_seeds_that_they_would_have_had(tmp_path):
    settings = {"sampler": "random", "search_space": {"lr": {"type": "float", "low": 0, "high": 1}}}
    settings["n_trials"] = 3
    whole = run_study(study(tmp_path, "whole", **settings))
    cut = study(tmp_path, "cut", **settings)
    interrupted(cut, 5)
    again = run_study(cut)
    seeds = {record.trial.seed for record in again.records}
    assert len(again.records) == 4
    assert seeds == {record.trial.seed for record in whole.records}
