"""SIGKILL at a random moment, then the same command again: nothing is lost, nothing is there twice.

The victim is the driver, a worker, the follower that writes to MLflow, or all of them at once.
"""

import random
import sqlite3
import time

import pytest
from _compare import complaints, lost, snapshot
from _studies import N_TRIALS, NET, ROUNDS, SGD

from hpo import load_result
from hpo.trial import Cause

STORAGE = "journal:///hpo.journal"
SLOW = SGD.replace("sleep(0.01)", "sleep(0.04)")

WAYS = {
    "serial": (SLOW, []),
    "process": (SLOW, ["--executor", "process", "--n-jobs", "2"]),
    "fused": (NET, []),
    "serial, sqlite": (SLOW, ["--storage", "sqlite:///hpo.db"]),
}


def n_sent(folder, status="%"):
    """Return how many runs of trials MLflow's store has, of any status or of one."""
    connection = sqlite3.connect(f"file:{folder}/mlflow.db?mode=ro", uri=True, timeout=30)
    (n,) = connection.execute(
        "SELECT count(*) FROM runs WHERE name LIKE 'trial%' AND status LIKE ?", (status,)
    ).fetchone()
    connection.close()
    return n


def wait_for_a_moment(command, folder, dice):
    """Wait for a time, or until some trials have ended, or are in MLflow, and a little longer."""
    what, n = dice.choice(["time", "ended", "sent", "open"]), dice.randint(0, N_TRIALS - 1)
    while not command.over and what != "time":
        if what == "ended" and f"\ntrial {n} " in command.text:
            break
        if what == "sent" and n_sent(folder) > n:
            break
        if what == "open" and n_sent(folder, "RUNNING"):
            return  # at once: MLflow has half a trial
        time.sleep(0.01)
    time.sleep(dice.uniform(0.0, 3.0 if what == "time" else 0.3))


def run_until_death(commands, folder, args, victim, dice):
    """Start a run and kill a victim; return the exit code, and how many processes were killed."""
    command = commands.start("run", "study.py", *args, folder=folder)
    wait_for_a_moment(command, folder, dice)
    while not (n_killed := command.kill(victim)) and not command.over:
        time.sleep(0.02)  # it has not been started yet
    return command.wait(), n_killed


SHORT = [("serial", "all"), ("process", "worker"), ("fused", "driver")]
ALL = [
    *((way, victim) for way in WAYS for victim in ("driver", "follower", "all")),
    ("process", "worker"),
]


@pytest.mark.parametrize(("way", "victim"), SHORT if ROUNDS == 1 else ALL)
def test_a_death_loses_no_finished_trial_and_doubles_none(
    way, victim, commands, new_folder, rounds, tally, monkeypatch
):
    study, args = WAYS[way]
    dice = random.Random(f"{way} {victim}")
    for i in range(rounds):
        folder = new_folder(f"{i}", study)
        monkeypatch.chdir(folder)
        storage = "sqlite:///hpo.db" if "sqlite" in way else STORAGE
        code, n_killed = run_until_death(commands, folder, args, victim, dice)
        before = snapshot("faults", storage)
        is_dead = victim in {"driver", "all"} and n_killed > 0
        assert code == (-9 if is_dead else 0)
        tracking = f"sqlite:///{folder / 'mlflow.db'}"
        wrong = []
        if not is_dead:  # the study has gone on by itself, and MLflow has all of it
            wrong += complaints("faults", storage, n_trials=N_TRIALS, tracking_uri=tracking)
        text = commands.run("run", "study.py", *args, folder=folder)
        wrong += complaints("faults", storage, n_trials=N_TRIALS, tracking_uri=tracking)
        gone = lost(before, "faults", storage)
        tally(f"kill -9: {victim}", way, 1, len(gone), len(wrong))
        assert (gone, wrong) == ([], []), text
        result = load_result("faults", storage)
        assert f"Winner: trial {result.winner.number}\n" in text
        failed = [r for r in result.records if r.cause is Cause.WORKER_DIED]
        assert len(failed) == result.n_failed <= (n_killed if victim == "worker" else 0)
