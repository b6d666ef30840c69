"""Clocks that are set while a study runs, and a driver that is suspended and taken for dead."""

import signal
import time

import pytest
from _compare import complaints, lost, snapshot
from _studies import HERE, N_TRIALS, ROUNDS, SGD
from filelock import FileLock, Timeout
from optuna.samplers import RandomSampler
from optuna.trial import TrialState as OptunaState

from hpo import load_result
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.trial import TrialState

SPACE = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}})

STORAGE = "journal:///hpo.journal"

JUMPING = """
import os, random, time

def jump(clock=time.time, dice=random.Random({seed}), offset=[0.0]):
    if dice.random() < 0.1:  # a week back or forward
        offset[0] = dice.uniform(-604800.0, 604800.0)
    return clock() + offset[0]

time.time = jump
"""


def test_a_clock_that_is_set_changes_no_duration_and_ends_nothing(
    commands, new_folder, monkeypatch, tally
):
    for i in range(ROUNDS):
        folder = new_folder(f"{i}", SGD)
        monkeypatch.chdir(folder)
        # The follower's process, too.
        (folder / "sitecustomize.py").write_text(JUMPING.format(seed=i + 1000))
        path = f"{folder}:{HERE.parents[1]}"
        args = ["run", "study.py", "--timeout", "600"]
        text = commands.run(*args, folder=folder, setup=JUMPING.format(seed=i), PYTHONPATH=path)
        tracking = f"sqlite:///{folder / 'mlflow.db'}"
        wrong = complaints("faults", STORAGE, n_trials=N_TRIALS, tracking_uri=tracking)
        tally("clock set back and forward by up to a week", "serial, MLflow", 1, 0, len(wrong))
        assert wrong == [], text
        result = load_result("faults", STORAGE)
        assert result.n_interrupted == 0
        assert 0 < result.seconds < 600
        assert min(s.seconds for r in result.records for s in r.reports) > 0
        assert "budget" not in text


OF_ANOTHER_MACHINE = """
import socket
socket.gethostname = lambda: "elsewhere"
"""
IMPATIENT = """
import hpo.storage.drivers, hpo.storage._heart
hpo.storage.drivers._SILENT_SECONDS = 1.0
hpo.storage._heart.HEARTBEAT_SECONDS = 0.2
"""


def wait_for_a_running_trial():
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            records = load_result("faults", STORAGE).records
        except Exception:
            records = ()  # nothing was made yet
        if any(record.state is TrialState.RUNNING for record in records):
            return
        time.sleep(0.02)
    raise AssertionError("no trial began")


def suspend_between_writes(command, lock):
    """Suspend the driver while it does not hold the journal's lock, which nobody may break."""
    for _ in range(100):
        command.kill("driver", signal.SIGSTOP)
        try:
            with FileLock(lock, timeout=0):
                return
        except Timeout:
            command.kill("driver", signal.SIGCONT)
            time.sleep(0.01)
    raise AssertionError("it always writes")


def test_a_suspended_driver_is_taken_for_dead_and_its_trial_is_made_once(
    commands, new_folder, monkeypatch, tally
):
    """It stands on another machine, of which nothing is known but its signs of life."""
    study = SGD.replace("sleep(0.01)", "sleep(0.05)")
    for i in range(ROUNDS):
        folder = new_folder(f"{i}", study)
        monkeypatch.chdir(folder)
        args = ["run", "study.py"]
        suspended = commands.start(*args, folder=folder, setup=OF_ANOTHER_MACHINE + IMPATIENT)
        wait_for_a_running_trial()
        suspend_between_writes(suspended, folder / "hpo.journal.hpo-lock")
        text = commands.run(*args, folder=folder, setup=IMPATIENT)
        before = snapshot("faults", STORAGE)
        assert len(before) == N_TRIALS, text
        suspended.kill("driver", signal.SIGCONT)
        assert suspended.wait() == 0, suspended.text
        assert "Traceback" not in suspended.text
        commands.run("sync", "faults", folder=folder)
        tracking = f"sqlite:///{folder / 'mlflow.db'}"
        wrong = complaints("faults", STORAGE, n_trials=N_TRIALS, tracking_uri=tracking)
        gone = lost(before, "faults", STORAGE)
        tally("driver suspended (SIGSTOP), another goes on", "journal", 1, len(gone), len(wrong))
        assert (gone, wrong) == ([], []), suspended.text


class EndsItOnce(RandomSampler):
    """Has another process end the trial for which it is asked, as if this one were dead."""

    def __init__(self, url):
        super().__init__(seed=0)
        self.url = url

    def sample_independent(self, study, trial, param_name, param_distribution):
        url, self.url = self.url, None
        if url is not None:
            TrialStore("s", SPACE, url).study.tell(trial.number, state=OptunaState.FAIL)
        return super().sample_independent(study, trial, param_name, param_distribution)


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_trial_that_ends_while_it_is_asked_for_is_left_for_the_next(kind, storage_url):
    url = storage_url(kind)
    store = TrialStore("s", SPACE, url, sampler=EndsItOnce(url))
    assert store.ask().number == 1
