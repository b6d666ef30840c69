"""Followers in processes of their own: killed, two at once, of a dead driver."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from hpo.storage.stored_study import StoredStudy
from hpo.storage.study_facts import end_session
from hpo.testing.trackers import INFO, add_trial, new_store, order_for
from hpo.trackers import Following, all_orders, catch_up, read_outcome, start
from hpo.trackers.mlflow import MlflowTracker
from hpo.trial import Report, TrialState

pytestmark = pytest.mark.slow

STUDY = INFO.name


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Return a cache folder of the test's own."""
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def histories(found):
    return {n: found.history(run, "score") for n, run in found.trials(STUDY).items()}


def stored(kept):
    reader = StoredStudy(kept.name, kept.url)
    return {r.number: [(s.step, s.value) for s in r.reports] for r in reader.records()}


def end(kept, **metrics):
    end_session(kept, metrics, {}, {}, "complete")


def assert_whole(kept, store, read):
    found = read(store)
    assert histories(found) == stored(kept)
    assert {run.info.status for run in found.trials(STUDY).values()} == {"FINISHED"}
    assert found.parent(STUDY).info.status == "FINISHED"


def test_killed_at_random(store, read, tmp_path):
    dice = random.Random(0)
    kept = new_store(tmp_path)
    order = order_for(MlflowTracker(store), kept)
    for _ in range(4):
        for _ in range(20):
            add_trial(kept, [dice.random() for _ in range(4)])
        before = read_outcome(order.place)
        process = start(order, watched=False)
        while read_outcome(order.place) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(dice.uniform(0.0, 0.3))
        process.kill()
        process.wait()
    end(kept)
    assert catch_up(order).complete
    assert_whole(kept, store, read)


def test_two_at_once(store, read, tmp_path, cache):
    kept = new_store(tmp_path)
    for _ in range(30):
        add_trial(kept)
    end(kept)
    order = order_for(MlflowTracker(store), kept)
    processes = [start(order, watched=False) for _ in range(2)]
    # The second may leave: the first has read the storage after it was asked to.
    assert {process.wait(60) for process in processes} in ({0}, {0, 4})
    assert_whole(kept, store, read)
    assert list(all_orders()) == []


DRIVER = """
import sys, time
from pathlib import Path
from hpo.testing.trackers import add_trial, new_store
from hpo.trackers import Following
from hpo.trackers.mlflow import MlflowTracker
from hpo.trial import TrialState
store = new_store(Path(sys.argv[2]))
following = Following(MlflowTracker(sys.argv[1]), store)
following.start()
add_trial(store)
add_trial(store, state=TrialState.RUNNING)
print(following.pid, "mlflow" in sys.modules, flush=True)
time.sleep(60)
"""


def test_a_dead_driver(store, read, tmp_path):
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, store, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    follower, imported = driver.stdout.readline().split()
    assert imported == "False"
    # Ctrl-C reaches the whole process group of the driver, and the follower is not in it.
    assert os.getpgid(int(follower)) != os.getpgid(driver.pid)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    deadline = time.monotonic() + 60
    while list(all_orders()) and time.monotonic() < deadline:
        time.sleep(0.1)

    found = read(store)
    trials = found.trials(STUDY)
    assert [t.info.status for t in trials.values()] == ["FINISHED", "KILLED"]
    assert trials[1].data.tags["cause"] == "driver_died"
    assert found.history(trials[1], "score") == [(1, 0.5), (2, 0.75)]
    assert trials[1].data.tags["reason"] == "the process that ran it is gone"
    parent = found.parent(STUDY)
    assert (parent.info.status, parent.data.tags["state"]) == ("KILLED", "interrupted")

    # The next driver goes on, and the study's run with it.
    kept = new_store(tmp_path)
    kept.fail_stale_trials()
    add_trial(kept)
    end(kept, best_score=0.75)
    outcome = catch_up(order_for(MlflowTracker(store), kept))
    assert (outcome.trials, outcome.complete) == (1, True)
    again = read(store)
    states = [t.data.tags["state"] for t in again.trials(STUDY).values()]
    assert states == ["complete", "interrupted", "complete"]
    assert again.parent(STUDY).info.run_id == parent.info.run_id
    assert again.parent(STUDY).info.status == "FINISHED"
    assert again.parent(STUDY).data.metrics["best_score"] == 0.75


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_running_trial_is_seen_as_it_grows(store, read, tmp_path):
    kept = new_store(tmp_path)
    following = Following(MlflowTracker(store), kept)
    following.start()
    record = add_trial(kept, (0.5,), TrialState.RUNNING)

    def steps():
        found = read(store)
        if found.client.get_experiment_by_name(STUDY) is None:
            return []
        return [
            point for run in found.trials(STUDY).values() for point in found.history(run, "score")
        ]

    wait_until(lambda: steps() == [(1, 0.5)])
    (run,) = read(store).trials(STUDY).values()
    assert (run.info.status, run.data.tags["state"]) == ("RUNNING", "running")
    assert read(store).parent(STUDY).info.status == "RUNNING"
    # Another follower leaves the work to this one, once it has read what there is now.
    assert catch_up(order_for(MlflowTracker(store), kept)).trials == 0
    report = Report(0, 2, 0.75, (0.75, 0.75), time=time.time())
    kept.report(report)
    wait_until(lambda: len(steps()) == 2)
    reports = (*record.reports, report)
    kept.tell(replace(record, reports=reports, state=TrialState.COMPLETE, ended=time.time()))
    end(kept)
    assert following.finish() == ""
    assert steps() == [(1, 0.5), (2, 0.75)]
    assert_whole(kept, store, read)


def test_a_killed_follower_is_started_again_at_the_end(store, read, tmp_path):
    kept = new_store(tmp_path)
    following = Following(MlflowTracker(store), kept)
    following.start()
    add_trial(kept)
    os.kill(following.pid, signal.SIGKILL)
    end(kept)
    assert following.finish() == ""
    assert_whole(kept, store, read)
    assert list(all_orders()) == []


def test_a_cache_that_cannot_be_written_costs_the_study_nothing(store, read, tmp_path, cache):
    cache.write_text("a file where the folder should be")
    kept = new_store(tmp_path)
    following = Following(MlflowTracker(store), kept)
    following.start()
    add_trial(kept)
    end(kept)
    message = following.finish()
    assert message.startswith(f"The study '{STUDY}' has not reached {store}: ")
    assert f"`hpo sync {STUDY}` sends it" in message
    cache.unlink()
    assert catch_up(order_for(MlflowTracker(store), kept)).complete
    assert_whole(kept, store, read)


def test_a_trial_void_after_its_end_is_void_in_the_target(store, read, tmp_path):
    kept = new_store(tmp_path)
    record = add_trial(kept)
    order = order_for(MlflowTracker(store), kept)
    assert catch_up(order).trials == 1
    kept.revoke(replace(record, reason="the batch did not train it"))
    end(kept)
    assert catch_up(order).trials == 1
    (run,) = read(store).trials(STUDY).values()
    assert (run.info.status, run.data.tags["cause"]) == ("KILLED", "revoked")
    assert run.data.tags["reason"] == "the batch did not train it"


class Broken(MlflowTracker):
    """A tracker that prints a password and fails."""

    def open(self, study):
        print(f"at {self.tracking_uri}")
        raise ConnectionError(f"no answer of {self.tracking_uri}")


def test_no_password_in_logs_and_messages(tmp_path, cache):
    kept = new_store(tmp_path)
    following = Following(Broken("http://ada:s3cr3t@127.0.0.1:9"), kept)
    following.start()
    end(kept)
    message = following.finish()
    assert message.count("http://ada:***@127.0.0.1:9") == 2
    texts = [path.read_text() for path in cache.rglob("*") if path.suffix in {".log", ".json"}]
    assert "at http://ada:***@127.0.0.1:9\n" in "".join(texts)
    assert "s3cr3t" not in message + "".join(texts)
    (order,) = cache.rglob("order-*")
    assert order.stat().st_mode & 0o077 == 0


def test_a_target_that_cannot_be_opened_is_told_at_once(tmp_path):
    kept = new_store(tmp_path)
    add_trial(kept, [0.5])
    (tmp_path / "mlflow.db").mkdir()  # like a file in a folder that may not be written to
    following = Following(MlflowTracker(str(tmp_path / "mlflow.db")), kept)
    following.start()
    end(kept)
    note = following.finish()
    assert "unable to open database file" in note  # 60 s of waiting would end without a cause
    assert f"hpo sync {STUDY}" in note or "`hpo sync`" in note


def test_a_driver_in_a_hurry_leaves_the_rest_to_its_follower(tmp_path, read):
    kept = new_store(tmp_path)
    add_trial(kept, [0.5])
    store = f"sqlite:///{tmp_path}/mlflow.db"
    following = Following(MlflowTracker(store), kept)
    following.start()
    end(kept)
    note = following.finish(hurried=lambda: True)
    assert "by a process of its own" in note
    (order,) = all_orders()
    deadline = time.monotonic() + 60
    while order.path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert_whole(kept, store, read)
