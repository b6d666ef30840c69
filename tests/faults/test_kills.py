"""SIGKILL at a random moment, then the same command again: nothing is lost, nothing is there twice.

The victim is the driver, a worker, the follower that writes to MLflow, or all of them at once.
"""

import random
import time

import pytest
from _commands import Commands
from _compare import complaints, lost, snapshot
from _studies import N_TRIALS, NET, ROUNDS, SGD

from hpo import load_result
from hpo.trial import Cause

STORAGE = "journal:///hpo.journal"
SECONDS = 3.0
"""About how long a run takes: the moment of a death is drawn from so many."""

WAYS = {
    "serial": (SGD, []),
    "process": (SGD, ["--executor", "process", "--n-jobs", "2"]),
    "fused": (NET, []),
    "serial, sqlite": (SGD, ["--storage", "sqlite:///hpo.db"]),
}


def run_until_death(commands: Commands, folder, args, victim, dice, seconds=SECONDS):
    """Start a run and kill a victim; return the exit code, and how many processes were killed."""
    command = commands.start("run", "study.py", *args, folder=folder)
    time.sleep(dice.uniform(0.1, seconds))
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
        text = commands.run("run", "study.py", *args, folder=folder)
        tracking = f"sqlite:///{folder / 'mlflow.db'}"
        wrong = complaints("faults", storage, n_trials=N_TRIALS, tracking_uri=tracking)
        gone = lost(before, "faults", storage)
        tally(f"kill -9: {victim}", way, 1, len(gone), len(wrong))
        assert (gone, wrong) == ([], []), text
        result, _ = load_result("faults", storage)
        assert f"Winner: trial {result.winner.number}\n" in text
        failed = [r for r in result.records if r.cause is Cause.WORKER_DIED]
        assert len(failed) == result.n_failed <= (n_killed if victim == "worker" else 0)
