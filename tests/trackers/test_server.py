"""A real tracking server, on loopback: dead at first, then up."""

import math
import os
import socket
import subprocess
import time
import urllib.request

import pytest

from hpo.observer import StudyInfo
from hpo.testing.trackers import INFO, tell_trial
from hpo.trackers.mlflow import MlflowTracker, RunIds, send_pending, study_url, ui_command
from hpo.trial import TrialState


class Server:
    def __init__(self, database):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.database = database
        self.process = None

    def start(self):
        if self.process is None:
            self.process = subprocess.Popen(
                ui_command(f"sqlite:///{self.database}", port=self.port),
                env=os.environ
                | {
                    "MLFLOW_DISABLE_TELEMETRY": "true",
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # five processes fewer
                },
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                        return
                except OSError:
                    time.sleep(0.2)
            raise TimeoutError("the server did not start")

    def stop(self):
        if self.process is not None:
            os.killpg(self.process.pid, 15)
            self.process.wait()


@pytest.fixture(scope="module")
def server(empty_store, tmp_path_factory):
    server = Server(empty_store)
    yield server
    server.stop()


def test_dead_then_up(server, read, tmp_path):
    dead = MlflowTracker(server.uri, tmp_path)
    dead.on_study_start(INFO)
    tell_trial(dead, 0, (0.5, math.nan, math.inf))
    tell_trial(dead, 1, (0.5,), TrialState.FAILED, reason="no", error="Traceback")
    dead.on_study_end({"best_score": 0.5}, {}, {}, state="interrupted")
    began = time.monotonic()
    message = dead.close(timeout=20)
    # The process must import MLflow and try once or twice; it must not try for minutes.
    assert time.monotonic() - began < 20
    assert message.startswith(f"10 records have not reached MLflow at {server.uri}: ")
    assert f"kept in {tmp_path}" in message
    assert "hpo sync" in message

    other = MlflowTracker(server.uri, tmp_path)
    other.on_study_start(StudyInfo("other", "other"))
    assert "1 records have not reached" in other.close(timeout=0.0)

    server.start()
    alive = MlflowTracker(server.uri, tmp_path)
    alive.on_study_start(INFO)
    tell_trial(alive, 2)
    alive.on_study_end({"best_score": 0.75}, {}, {})
    assert alive.close() == ""
    found = read(server.uri)
    trials = found.trials(INFO.name)
    assert [t.info.status for t in trials.values()] == ["FINISHED", "FAILED", "FINISHED"]
    largest = 1.7976931348623157e308  # what MLflow's databases make of infinity
    assert found.history(trials[0], "score") == [(1, 0.5), (2, "nan"), (3, largest)]
    assert found.text(trials[1], "error.txt") == "Traceback"
    assert found.artifacts(found.parent(INFO.name)) == ["study.py"]
    assert found.parent(INFO.name).info.status == "FINISHED"

    # Of another study nobody has started a tracker since.
    assert send_pending(f"{server.uri}0", tmp_path) == (0, 0, "")
    assert send_pending(server.uri, tmp_path) == (1, 0, "")
    assert found.parent("other").info.status == "KILLED"


def test_the_interface_is_up(server, read):
    server.start()
    url = study_url(server.uri, RunIds("1", "abc"))
    assert url == f"{server.uri}/#/experiments/1/runs/abc"
    with urllib.request.urlopen(server.uri, timeout=5) as page:
        assert "MLflow" in page.read().decode()
