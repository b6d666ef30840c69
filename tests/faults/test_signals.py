"""Ctrl-C once and twice, SIGTERM and SIGHUP in each executor: exit codes, texts, nothing lost."""

import random
import signal
import time

import pytest
from _compare import complaints, lost, snapshot
from _studies import N_TRIALS, NET, ROUNDS, SGD

STORAGE = "journal:///hpo.journal"
GO_ON = "Go on with\n  hpo run study.py"

WAYS = {
    "serial": (SGD.replace("sleep(0.01)", "sleep(0.03)"), []),
    "process": (
        SGD.replace("sleep(0.01)", "sleep(0.03)"),
        ["--executor", "process", "--n-jobs", "2"],
    ),
    "fused": (NET, ["--epochs", "60", "--n-jobs", "1"]),
}
SIGNALS = {
    "Ctrl-C": ([signal.SIGINT], 130, "Stopped (Ctrl-C): everything so far is kept"),
    "Ctrl-C twice": ([signal.SIGINT, signal.SIGINT], 130, "stopped at once"),
    "SIGTERM": ([signal.SIGTERM], 143, "Stopped (terminated): everything so far is kept"),
    "SIGHUP": ([signal.SIGHUP], 129, "Stopped (the terminal was closed): everything so far"),
}
SHORT = [("process", "Ctrl-C twice")]


@pytest.mark.parametrize(
    ("way", "name"), SHORT if ROUNDS == 1 else [(way, name) for way in WAYS for name in SIGNALS]
)
def test_a_signal_ends_a_study_that_goes_on_later(
    way, name, commands, new_folder, monkeypatch, tally
):
    study, args = WAYS[way]
    numbers, expected, told = SIGNALS[name]
    dice = random.Random(f"{way} {name}")
    for i in range(ROUNDS):
        folder = new_folder(f"{i}", study)
        monkeypatch.chdir(folder)
        command = commands.start("run", "study.py", *args, folder=folder)
        while "trial " not in command.text and not command.over:
            time.sleep(0.02)
        time.sleep(dice.uniform(0.0, 0.2))
        for number in numbers:
            command.kill("driver", number)
            time.sleep(0.1)
        code, text = command.wait(), command.text
        assert "Traceback" not in text, text
        if code != 0:  # 0: it was over before
            assert (code, told in text, GO_ON in text) == (expected, True, True), text
        before = snapshot("faults", STORAGE)
        commands.run("run", "study.py", *args, folder=folder)
        tracking = f"sqlite:///{folder / 'mlflow.db'}"
        wrong = complaints("faults", STORAGE, n_trials=N_TRIALS, tracking_uri=tracking)
        gone = lost(before, "faults", STORAGE)
        tally(name, way, 1, len(gone), len(wrong))
        assert (gone, wrong) == ([], []), text
