"""A trial, or a study, whose time is over in the middle of a step."""

import hashlib
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from hpo import Study, StudyData
from hpo._deadline import TimeIsUp, Watchdog, alarm
from hpo.storage.stored_study import StoredStudy
from hpo.study import run_study
from hpo.trial import Cause, TrialState

X, y = np.zeros((12, 2)), np.array([0, 1] * 6)


class Sleeper(ClassifierMixin, BaseEstimator):
    """Sleeps in its fit, and cannot be talked out of it by ``except Exception``."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            try:
                time.sleep(self.seconds)
            except Exception:
                continue
        return self

    def predict(self, X):
        return np.zeros(len(X), int)


def study(executor, seconds, **settings):
    settings = {"n_trials": len(seconds), "sampler": "grid", "fail_fast": None, **settings}
    return Study(
        name="sleepers",
        estimator=Sleeper(),
        data=StudyData(X=X, y=y),
        search_space={"seconds": seconds},
        cv=2,
        executor=executor,
        n_jobs=2 if executor == "process" else None,
        tracker="null",
        **settings,
    )


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("executor", ["serial", "process", "fused:n_jobs=2"])
def test_a_trial_that_hangs_fails_and_the_others_do_not(executor):
    began = time.monotonic()
    result = run_study(study(executor, [300.0, 0.0, 0.001, 301.0], trial_timeout=3.0))
    assert time.monotonic() - began < 60
    ends = {r.trial.params["seconds"]: (r.state, r.cause) for r in result.records}
    late = TrialState.FAILED, Cause.TIMEOUT
    complete = TrialState.COMPLETE, None
    assert ends == {300.0: late, 0.0: complete, 0.001: complete, 301.0: late}
    reasons = {r.reason for r in result.records if r.state is TrialState.FAILED}
    assert reasons == {"it took longer than 3 s (the trial time-out)"}
    # It is not tried again.
    assert len(run_study(study(executor, [300.0, 0.0, 0.001, 301.0])).records) == 4


@pytest.mark.parametrize("executor", ["serial", "process"])
def test_a_study_ends_in_the_middle_of_a_step_when_its_time_is_over(executor):
    began = time.monotonic()
    result = run_study(study(executor, [300.0, 301.0], timeout=3.0))
    assert time.monotonic() - began < 30
    assert result.stopped == "the time budget of 3 s is spent"
    assert {(r.state, r.cause) for r in result.records} == {(TrialState.INTERRUPTED, Cause.BUDGET)}


HANGING = """
import hashlib
import numpy as np
from sklearn.dummy import DummyClassifier
from hpo import Study, StudyData

class Stuck(DummyClassifier):
    def __init__(self, rounds=1):
        super().__init__()
        self.rounds = rounds
    def fit(self, X, y):
        hashlib.pbkdf2_hmac("sha256", b"", b"", self.rounds)  # a call of C
        return super().fit(X, y)

study = Study(name="stuck", estimator=Stuck(), data=StudyData(X=np.zeros((12, 2)), y=[0, 1] * 6),
    search_space={"rounds": [1, 2000000000]}, sampler="grid", cv=2, n_trials=2, tracker="null",
    executor="serial")
"""


@pytest.mark.parametrize(
    ("option", "end"),
    [
        ("--trial-timeout=1", (TrialState.FAILED, Cause.TIMEOUT)),
        ("--timeout=2", (TrialState.INTERRUPTED, Cause.BUDGET)),
    ],
)
def test_a_call_of_c_that_hangs_ends_the_process(tmp_path, monkeypatch, option, end):
    (tmp_path / "stuck.py").write_text(HANGING)
    command = [sys.executable, "-m", "hpo.cli", "run", "stuck.py", option]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 124, ended
    assert "its training does not return" in ended.stderr
    assert "Go on with\n" in ended.stderr
    records = StoredStudy("stuck", "journal:///hpo.journal").records()
    ends = {r.trial.params["rounds"]: (r.state, r.cause) for r in records}
    assert ends[2000000000] == end


def test_an_alarm_ends_a_step_again_and_again_until_it_ends():
    def step():
        with suppress(TimeIsUp):
            time.sleep(60)
        time.sleep(60)

    began = time.monotonic()
    with pytest.raises(TimeIsUp), alarm(began + 0.1):
        step()
    assert time.monotonic() - began < 15


def test_what_returns_in_time_hears_no_alarm():
    with alarm(time.monotonic() + 0.05):
        pass
    time.sleep(0.1)


def test_a_watchdog_hears_of_what_does_not_return():
    called = []
    with Watchdog(lambda: called.append(time.monotonic())) as watchdog:
        with watchdog.guarding(time.monotonic() - 9.9):
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000)
            time.sleep(1.5)
        assert len(called) == 1
