"""Studies told to the tracker and read back from an SQLite store through MLflow's client."""

import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.observer import StudyInfo
from hpo.testing.trackers import INFO, tell_study, tell_trial
from hpo.trackers.mlflow import MlflowTracker, parent_run, send_pending
from hpo.trial import Trial, TrialRecord, TrialState

STUDY = INFO.name


@pytest.fixture
def new_tracker(store, tmp_path):
    return lambda: MlflowTracker(store, tmp_path / "spool")


def sender_of(tracker):
    return tracker._channels[-1]._process


def spools(tmp_path):
    return [path.parent for path in (tmp_path / "spool").glob("*/*/*/events.jsonl")]


def test_a_study_is_read_back_whole(new_tracker, store, read, tmp_path):
    (tmp_path / "report.html").write_text("<html>")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_text("w")
    tracker = new_tracker()
    tracker.on_study_start(INFO)
    tell_trial(tracker, 0, (0.5, math.nan, 0.75))
    tell_trial(tracker, 1, (0.25,), TrialState.PRUNED, reason="epoch 1: 0.25 < median 0.5")
    error = "Traceback ...\n" * 1000 + "ValueError: no"
    tell_trial(tracker, 2, (), TrialState.FAILED, reason="ValueError: no", error=error)
    artifacts = {"plots/report.html": tmp_path / "report.html", "model": tmp_path / "model"}
    tracker.on_study_end({"best_score": 0.75}, {"best_lr": 0.1}, artifacts)
    assert tracker.close() == ""
    assert spools(tmp_path) == []

    found = read(store)
    trials = found.trials(STUDY)
    assert [t.info.status for t in trials.values()] == ["FINISHED", "KILLED", "FAILED"]
    assert [t.info.run_name for t in trials.values()] == ["trial 0", "trial 1", "trial 2"]
    assert [t.data.tags["state"] for t in trials.values()] == ["complete", "pruned", "failed"]
    assert trials[0].data.params == {"lr": "0.1", "optimizer": "torch.optim.SGD"}
    assert trials[0].info.start_time <= trials[0].info.end_time
    assert found.history(trials[0], "score") == [(1, 0.5), (2, "nan"), (3, 0.75)]
    assert found.history(trials[0], "best_score") == [(3, 0.75)]
    assert found.history(trials[0], "best_step") == [(3, 3.0)]
    assert found.history(trials[0], "score_fold_1") == [(1, 0.5), (2, "nan"), (3, 0.75)]
    assert found.history(trials[0], "score_f1_macro") == [(1, 0.5), (2, "nan"), (3, 0.75)]
    assert found.history(trials[0], "train_loss") == [(1, 2.0), (2, 2.0), (3, 2.0)]
    assert found.history(trials[0], "seconds") == [(1, 0.25), (2, 0.25), (3, 0.25)]
    assert trials[1].data.tags["reason"] == "epoch 1: 0.25 < median 0.5"
    assert trials[1].data.tags["seed"] == "1"
    assert trials[2].data.tags["error"].endswith("ValueError: no")
    assert found.text(trials[2], "error.txt") == error

    parent = found.parent(STUDY)
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == STUDY
    assert parent.info.start_time <= trials[0].info.start_time
    assert parent.data.metrics == {"best_score": 0.75}
    assert parent.data.params == {
        "n_trials": "3",
        "seed": "0",
        "pruner": "None",
        "best_lr": "0.1",
    }
    assert parent.data.tags["best_lr"] == "0.1"
    assert parent.data.tags["git_commit"] == "0" * 40
    assert found.artifacts(parent) == ["model", "plots", "study.py"]
    assert found.text(parent, "study.py") == INFO.artifacts["study.py"]
    assert found.artifacts(parent, "model") == ["model/weights.bin"]
    assert Path(parent.info.artifact_uri.removeprefix("file://")).is_relative_to(tmp_path)

    where = parent_run(store, INFO.key, tmp_path / "spool")
    assert where == (parent.info.experiment_id, parent.info.run_id)
    assert parent_run(store, INFO.key, tmp_path / "elsewhere") == where
    assert parent_run(store, "another key", tmp_path / "spool") is None


def test_a_study_that_goes_on_keeps_its_runs(new_tracker, store, read):
    first = new_tracker()
    first.on_study_start(INFO)
    tell_trial(first, 0)
    tell_trial(first, 1, (0.5,), TrialState.RUNNING)
    first.on_study_end({"best_score": 0.5}, {"best_lr": 0.1}, {}, state="interrupted")
    assert first.close() == ""
    before = read(store)
    assert before.parent(STUDY).info.status == "KILLED"
    # The driver was done, and trial 1 with it.
    assert before.trials(STUDY)[1].data.tags["state"] == "interrupted"

    second = new_tracker()
    second.on_study_start(replace(INFO, params={**INFO.params, "n_trials": 5}))
    cut_off = Trial(1, {"lr": 0.05, "optimizer": "torch.optim.SGD"}, seed=1)
    reason = "the process died"
    second.on_trial_end(TrialRecord(cut_off, TrialState.INTERRUPTED, reason=reason))
    tell_trial(second, 2)
    second.on_study_end({"best_score": 0.75}, {"best_lr": 0.2}, {})
    assert second.close() == ""

    found = read(store)
    trials = found.trials(STUDY)
    assert list(trials) == [0, 1, 2]
    assert trials[1].info.status == "KILLED"
    assert trials[1].data.tags["reason"] == reason
    parent = found.parent(STUDY)
    assert parent.info.run_id == before.parent(STUDY).info.run_id
    assert parent.info.status == "FINISHED"
    assert [value for _, value in found.history(parent, "best_score")] == [0.5, 0.75]
    assert parent.data.params["best_lr"] == "0.1"
    assert parent.data.tags["best_lr"] == "0.2"
    assert parent.data.tags["n_trials"] == "5"
    assert "the tag holds" in parent.data.tags["note"]


def test_a_killed_sender_loses_and_doubles_nothing(new_tracker, store, read, tmp_path):
    tracker = new_tracker()
    tell_study(tracker, n_trials=25)
    spool = spools(tmp_path)[0]
    while not (spool.parent / "parent.json").exists():
        time.sleep(0.01)
    time.sleep(random.uniform(0.05, 0.4))
    sender_of(tracker).kill()
    sender_of(tracker).wait()
    assert tracker.close() == ""

    found = read(store)
    trials = found.trials(STUDY)
    assert list(trials) == list(range(25))
    assert {t.info.status for t in trials.values()} == {"FINISHED"}
    for trial in trials.values():
        assert found.history(trial, "score") == [(1, 0.5), (2, 0.75)]
    assert found.parent(STUDY).info.status == "FINISHED"


DRIVER = """
import sys, time
from hpo.testing.trackers import INFO, tell_trial
from hpo.trackers.mlflow import MlflowTracker
from hpo.trial import TrialState
tracker = MlflowTracker(sys.argv[1], sys.argv[2])
tracker.on_study_start(INFO)
tell_trial(tracker, 0)
tell_trial(tracker, 1, state=TrialState.RUNNING)
print(tracker._channels[-1]._process.pid, "mlflow" in sys.modules, flush=True)
time.sleep(60)
"""


def test_a_killed_driver_is_sent_to_the_last_report(store, read, tmp_path):
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, store, tmp_path / "spool"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    sender, imported = driver.stdout.readline().split()
    assert imported == "False"
    # Ctrl-C reaches the whole process group of the driver, and the sender is not in it.
    assert os.getpgid(int(sender)) != os.getpgid(driver.pid)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    deadline = time.monotonic() + 30
    while spools(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)

    found = read(store)
    trials = found.trials(STUDY)
    assert found.history(trials[1], "score") == [(1, 0.5), (2, 0.75)]
    assert [t.info.status for t in trials.values()] == ["FINISHED", "KILLED"]
    assert trials[1].data.tags["reason"] == "the process that drove the study died"
    assert found.parent(STUDY).info.status == "KILLED"


def test_what_mlflow_refuses_holds_nothing_up(new_tracker, store, read):
    tracker = new_tracker()
    tracker.on_study_start(StudyInfo("odd", "key's", {"a" * 300: "x" * 10_000, "": "\ud800\0"}))
    tell_trial(tracker, 0)
    # A param cannot change: the second value is refused, and all else is taken.
    changed = TrialRecord(Trial(0, {"lr": 7, "new": 1, "../up[0]": None}, 0), TrialState.COMPLETE)
    tell_trial(tracker, 1)
    assert tracker.close() == ""
    tracker.on_study_start(StudyInfo("odd", "key's"))
    tracker.on_trial_end(changed)
    tell_trial(tracker, 2)
    message = tracker.close()
    assert "MLflow refused 1 records for good" in message
    assert "lr" in Path(message.split(": see ")[1].removesuffix(".")).read_text()

    trials = read(store).trials("odd")
    assert list(trials) == [0, 1, 2]
    assert trials[0].data.params["new"] == "1"
    assert trials[0].data.params["lr"] == "0.1"
    assert trials[0].data.params["_up_0_"] == "None"


def test_several_drivers_share_a_new_database(read, tmp_path):
    """Two drivers of one study and one of another, all first at a database that is not there."""
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    trackers = [MlflowTracker(uri, tmp_path / "spool") for _ in range(3)]
    other = replace(INFO, name="other", key="other")
    for tracker, info in zip(trackers, [INFO, INFO, other], strict=True):
        tracker.on_study_start(info)
    for number in range(10):
        tell_trial(trackers[number % 2], number)
    tell_trial(trackers[2], 0)
    assert [tracker.close() for tracker in trackers] == ["", "", ""]
    found = read(uri)
    assert list(found.trials(STUDY)) == list(range(10))
    assert list(found.trials("other")) == [0]
    assert found.parent(STUDY).data.tags["mlflow.runName"] == STUDY
    assert (tmp_path / "new" / "mlruns").is_dir()


def test_a_spool_that_cannot_be_written_waits_in_memory(store, tmp_path, read):
    (tmp_path / "spool").write_text("a file where the folder should be")
    tracker = MlflowTracker(store, tmp_path / "spool")
    tell_study(tracker)
    (tmp_path / "spool").unlink()
    tell_trial(tracker, 3)
    assert tracker.close() == ""
    assert list(read(store).trials(STUDY)) == [0, 1, 2, 3]


def test_records_that_no_disk_took_are_told(store, tmp_path):
    (tmp_path / "spool").write_text("a file where the folder should be")
    tracker = MlflowTracker(store, tmp_path / "spool")
    tell_study(tracker, n_trials=1)
    message = tracker.close()
    assert message.startswith("6 tracking records are lost: they could not be written to")
    assert "HPO_CACHE" in message


def test_nothing_pending_starts_nothing(tmp_path):
    assert send_pending(spool_dir=tmp_path) == (0, 0, "")
