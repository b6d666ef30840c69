"""What is in MLflow of a study, read back from an SQLite store through MLflow's client."""

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.storage.stored_study import StoredStudy
from hpo.storage.study_facts import begin_session, end_session, read_study
from hpo.testing.trackers import INFO, add_trial, follow, new_store
from hpo.trackers.mlflow import MlflowTracker, parent_run
from hpo.trackers.mlflow.system_metrics import SystemMetrics
from hpo.trial import TrialState

pytestmark = pytest.mark.slow

STUDY = INFO.name


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Follow in this process, with a cache of the test's own."""
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_study_is_read_back_whole(store, read, folder):
    kept = new_store(folder)
    add_trial(kept, (0.5, math.nan, 0.75))
    add_trial(kept, (0.25,), TrialState.PRUNED, reason="epoch 1: 0.25 < median 0.5")
    error = "Traceback ...\n" * 1000 + "ValueError: no"
    add_trial(kept, (), TrialState.FAILED, reason="ValueError: no", error=error)
    (folder / "report.html").write_text("<html>")
    files = {"plots/report.html": folder / "report.html"}
    end_session(kept, {"best_score": 0.75}, {"best_lr": 0.1}, files, "complete")
    (folder / "report.html").unlink()  # it was copied
    assert follow(MlflowTracker(store), kept).complete

    found = read(store)
    trials = found.trials(STUDY)
    assert [t.info.status for t in trials.values()] == ["FINISHED", "KILLED", "FAILED"]
    assert [t.info.run_name for t in trials.values()] == ["trial 0", "trial 1", "trial 2"]
    assert [t.data.tags["state"] for t in trials.values()] == ["complete", "pruned", "failed"]
    assert set(trials[0].data.params) == {"lr", "optimizer"}
    assert trials[0].info.start_time <= trials[0].info.end_time
    assert found.history(trials[0], "score") == [(1, 0.5), (2, "nan"), (3, 0.75)]
    assert found.history(trials[0], "best_score") == [(3, 0.75)]
    assert found.history(trials[0], "best_step") == [(3, 3.0)]
    assert found.history(trials[0], "score_fold_1") == [(1, 0.5), (2, "nan"), (3, 0.75)]
    assert found.history(trials[0], "score_f1_macro") == [(1, 0.5), (2, "nan"), (3, 0.75)]
    assert found.history(trials[0], "train_loss") == [(1, 2.0), (2, 2.0), (3, 2.0)]
    assert found.history(trials[0], "seconds") == [(1, 0.25), (2, 0.25), (3, 0.25)]
    assert trials[1].data.tags["reason"] == "epoch 1: 0.25 < median 0.5"
    assert trials[1].data.tags["seed"].isdigit()
    assert trials[2].data.tags["error"].endswith("ValueError: no")
    assert found.text(trials[2], "error.txt") == error

    parent = found.parent(STUDY)
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == STUDY
    assert parent.info.start_time <= trials[0].info.start_time
    assert parent.data.metrics == {
        "best_score": 0.75,
        "n_trials": 3.0,
        "n_complete": 1.0,
        "n_pruned": 1.0,
        "n_failed": 1.0,
        "n_interrupted": 0.0,
        "epochs_saved_fraction": 0.0,
    }
    assert found.history(parent, "n_pruned") == [(1, 0.0), (2, 1.0), (3, 1.0)]
    settings = {"n_trials": "3", "seed": "0", "pruner": "None"}
    assert parent.data.params == {**settings, "best_lr": "0.1"}
    assert parent.data.tags["best_lr"] == "0.1"
    assert parent.data.tags["git_commit"] == "0" * 40
    assert found.artifacts(parent) == ["plots", "study.py"]
    assert found.text(parent, "study.py") == INFO.artifacts["study.py"]
    assert found.text(parent, "plots/report.html") == "<html>"
    assert Path(parent.info.artifact_uri.removeprefix("file://")).is_relative_to(folder)

    where = parent_run(store, kept.key)
    assert where == (parent.info.experiment_id, parent.info.run_id, f"hpo-{kept.key}")
    assert parent_run(store, "another key") is None


def test_a_study_that_goes_on_keeps_its_runs(store, read, folder):
    kept = new_store(folder)
    add_trial(kept)
    cut = add_trial(kept, (0.5,), TrialState.RUNNING)
    reason = "the user stopped it"
    kept.tell(replace(cut, state=TrialState.INTERRUPTED, reason=reason, ended=time.time()))
    end_session(kept, {"best_score": 0.5}, {"best_lr": 0.1}, {}, "interrupted")
    assert follow(MlflowTracker(store), kept).complete
    before = read(store)
    assert before.parent(STUDY).info.status == "KILLED"
    assert before.trials(STUDY)[1].data.tags["reason"] == reason

    begin_session(kept, replace(INFO, params={**INFO.params, "n_trials": 5}))
    add_trial(kept)
    end_session(kept, {"best_score": 0.75}, {"best_lr": 0.2}, {}, "complete")
    assert follow(MlflowTracker(store), kept).complete

    found = read(store)
    assert list(found.trials(STUDY)) == [0, 1, 2]
    parent = found.parent(STUDY)
    assert parent.info.run_id == before.parent(STUDY).info.run_id
    assert parent.info.status == "FINISHED"
    scores = found.history(parent, "best_score")
    # After one trial, at the end of the first run (two had ended), and so on.
    assert scores == [(1, 0.75), (2, 0.75), (2, 0.5), (3, 0.75), (3, 0.75)]
    assert parent.data.params["best_lr"] == "0.1"
    assert parent.data.tags["best_lr"] == "0.2"
    assert parent.data.tags["n_trials"] == "5"
    assert "the tag holds" in parent.data.tags["note"]


def test_what_mlflow_refuses_holds_nothing_up(store, read, folder):
    kept = new_store(folder)
    add_trial(kept)
    add_trial(kept)
    client = read(store).client
    experiment = client.create_experiment(STUDY)
    tags = {"hpo.study_key": kept.key, "number": "0", "hpo.written": "", "state": "running"}
    run = client.create_run(experiment, tags=tags).info.run_id
    client.log_param(run, "lr", "another value, and a param cannot change")
    end_session(kept, {}, {}, {}, "complete")
    outcome = follow(MlflowTracker(store), kept)
    assert (outcome.trials, outcome.refused, outcome.complete) == (2, 1, True)
    (log,) = (folder / "cache").rglob("refused.log")
    assert "'lr'" in log.read_text()
    found = read(store)
    trials = found.trials(STUDY)
    assert [t.info.status for t in trials.values()] == ["FINISHED"] * 2
    assert trials[0].data.params["optimizer"].startswith("torch.optim.")
    assert [found.history(t, "score") for t in trials.values()] == [[(1, 0.5), (2, 0.75)]] * 2


def test_a_run_that_the_user_deletes_is_made_anew(store, read, folder):
    kept = new_store(folder)
    add_trial(kept)
    add_trial(kept)
    follow(MlflowTracker(store), kept)
    found = read(store)
    found.client.delete_run(found.trials(STUDY)[0].info.run_id)
    end_session(kept, {}, {}, {}, "complete")
    outcome = follow(MlflowTracker(store), kept)
    assert (outcome.trials, outcome.complete) == (1, True)
    assert list(read(store).trials(STUDY)) == [0, 1]
    # With the study's own run, all the others belong to the new one.
    found.client.delete_run(found.parent(STUDY).info.run_id)
    assert follow(MlflowTracker(store), kept).trials == 2
    again = read(store)
    parents = {run.data.tags["mlflow.parentRunId"] for run in again.trials(STUDY).values()}
    assert parents == {again.parent(STUDY).info.run_id}


def test_runs_of_a_version_without_marks_stay_as_they_are(store, read, folder):
    kept = new_store(folder)
    add_trial(kept)
    end_session(kept, {}, {}, {}, "complete")
    follow(MlflowTracker(store), kept)
    found = read(store)
    (run,) = found.trials(STUDY).values()
    found.client.delete_tag(run.info.run_id, "hpo.written")
    assert follow(MlflowTracker(store), kept).trials == 0


def test_runs_that_a_race_has_made_twice_become_one(store, read, folder):
    kept = new_store(folder)
    add_trial(kept)
    end_session(kept, {}, {}, {}, "complete")
    follow(MlflowTracker(store), kept)
    found = read(store)
    (run,) = found.trials(STUDY).values()
    tags = {k: v for k, v in run.data.tags.items() if k != "mlflow.runName"}
    found.client.create_run(run.info.experiment_id, tags={**tags, "hpo.written": ""})
    assert follow(MlflowTracker(store), kept).complete
    (left,) = read(store).trials(STUDY).values()
    assert read(store).history(left, "score") == [(1, 0.5), (2, 0.75)]


def test_a_new_database(read, folder):
    uri = f"sqlite:///{folder / 'new' / 'mlflow.db'}"
    kept = new_store(folder)
    add_trial(kept)
    end_session(kept, {}, {}, {}, "complete")
    assert follow(MlflowTracker(uri), kept).complete
    assert list(read(uri).trials(STUDY)) == [0]
    assert (folder / "new" / "mlruns").is_dir()


def test_system_metrics_are_written_where_they_are_asked_for(store, read, folder, monkeypatch):
    monkeypatch.setattr(SystemMetrics.__init__, "__defaults__", (0.0,))
    kept = new_store(folder)
    tracker = MlflowTracker(store, system_metrics=True)
    study = read_study(StoredStudy(kept.name, kept.url))
    tracker.open(study)
    tracker.watch(study)
    metrics = read(store).parent(STUDY).data.metrics
    assert 0 <= metrics["system/cpu_utilization_percentage"] <= 100
    assert metrics["system/system_memory_usage_megabytes"] > 0
    plain = MlflowTracker(store)
    plain.open(study)
    plain.watch(study)
    assert read(store).parent(STUDY).data.metrics == metrics
