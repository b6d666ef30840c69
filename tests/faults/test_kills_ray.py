"""SIGKILL at a random moment of a driver, or a worker, of a study on Ray Tune."""

import json
import random
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from _compare import complaints, lost, snapshot
from _studies import N_TRIALS, ROUNDS, SGD

CLUSTER = """
import json, os, sys, ray
from hpo.backends.ray.cluster import connected
with connected(None):
    ours = {name: text for name, text in os.environ.items() if name.startswith("RAY_AUTH")}
    print(json.dumps([ray.get_runtime_context().gcs_address, ours]), flush=True)
    sys.stdin.read()
"""
STORAGE = "journal:///hpo.journal"


@pytest.fixture(scope="module")
def cluster():
    """A Ray of these tests' own: its address, what a driver has in its environment, its process."""
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield *json.loads(process.stdout.readline()), psutil.Process(process.pid)
        process.communicate()


def workers(cluster):
    """Return the processes that train, which Ray names after the method they run."""
    found = []
    for process in cluster.children(recursive=True):
        with suppress(psutil.Error):
            if (process.cmdline() or [""])[0].endswith("Trainable.train"):
                found.append(process)
    return found


@pytest.mark.skipif(ROUNDS == 1, reason="Ray takes a minute: only in the long form")
@pytest.mark.parametrize("victim", ["driver", "worker"])
def test_a_death_loses_no_finished_trial_and_doubles_none(
    victim, cluster, commands, new_folder, monkeypatch, tally
):
    address, variables, process = cluster
    dice = random.Random(victim)
    args = ["run", "study.py", "--backend", "ray:max_concurrent=2,max_failures=3"]
    args += ["--ray-address", address]
    for i in range(ROUNDS):
        folder = new_folder(f"{i}", SGD)
        monkeypatch.chdir(folder)
        command = commands.start(*args, folder=folder, **variables)
        if victim == "driver":
            time.sleep(dice.uniform(0.5, 8.0))
            command.kill("driver")
        else:
            while not command.over and not (found := workers(process)):
                time.sleep(0.02)
            for worker in found[:1]:
                worker.kill()
        assert command.wait() in ({0, -9} if victim == "driver" else {0})
        before = snapshot("faults", STORAGE)
        text = commands.run(*args, folder=folder, **variables)
        tracking = f"sqlite:///{folder / 'mlflow.db'}"
        wrong = complaints("faults", STORAGE, n_trials=N_TRIALS, tracking_uri=tracking)
        gone = lost(before, "faults", STORAGE)
        tally(f"kill -9: {victim}", "ray", 1, len(gone), len(wrong))
        assert (gone, wrong) == ([], []), text
