"""Worker processes: they survive deaths, carry classes by value, and change no bit."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn

from hpo.exceptions import ExecutorError
from hpo.executors import Ended, Failed, Reported
from hpo.executors._payload import Payload, load
from hpo.executors.process import ProcessExecutor
from hpo.executors.serial import SerialExecutor
from hpo.testing import ScriptedObjective
from hpo.testing.executors import drive
from hpo.training.objective import Objective
from hpo.trial import Trial

pytestmark = pytest.mark.slow


class Dense(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 2)
        )

    def forward(self, X):
        return self.layers(X)


def make_objective():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 6)).astype("float32")
    y = (X @ rng.normal(size=6) > 0).astype("int64")
    net = NeuralNetClassifier(
        Dense,
        criterion=nn.CrossEntropyLoss,
        max_epochs=3,
        lr=0.1,
        batch_size=16,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    return Objective(net, X, y, cv=3, scoring="neg_log_loss")


def reports(events):
    found = [event.report for event in events if isinstance(event, Reported)]
    return {(r.number, r.step): (r.fold_values, r.metrics) for r in found}


def test_serial_and_process_give_the_same_reports_bit_for_bit():
    trials = [
        Trial(i, {"lr": 0.05 * (i + 1), "module__width": 8 + 8 * (i % 2)}, i) for i in (0, 1, 2)
    ]
    serial = reports(drive(SerialExecutor(make_objective()), trials))
    process = reports(drive(ProcessExecutor(make_objective(), n_jobs=2), trials[::-1]))
    assert serial == process
    assert len(serial) == 9


def dies(trial):
    if trial.params.get("dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    return [0.5, 0.6]


def test_a_worker_that_dies_fails_its_trial_and_is_replaced():
    trials = [Trial(i, {"dies": i in {1, 2}}, i) for i in range(6)]
    seen = drive(ProcessExecutor(ScriptedObjective(dies), n_jobs=2), trials)
    failed = {event.number: event.reason for event in seen if isinstance(event, Failed)}
    assert set(failed) == {1, 2}
    assert "killed by signal 9" in failed[1]
    assert {e.number for e in seen if isinstance(e, Ended)} == {0, 3, 4, 5}


def test_workers_that_never_live_end_the_study():
    trials = [Trial(i, {"dies": True}, i) for i in range(9)]
    with pytest.raises(ExecutorError, match=r"3 worker processes in a row died .* signal 9"):
        drive(ProcessExecutor(ScriptedObjective(dies), n_jobs=2), trials)


def test_what_cannot_travel_is_named():
    lock = threading.Lock()
    objective = ScriptedObjective(lambda trial: [lock])
    with pytest.raises(ExecutorError, match=r"cannot be carried to worker processes: .*lock"):
        drive(ProcessExecutor(objective, n_jobs=1), [Trial(0, {}, 0)])


@pytest.mark.parametrize("n_jobs", [0, -2])
def test_n_jobs_is_checked(n_jobs):
    with pytest.raises(ValueError, match=f"Got {n_jobs} instead"):
        ProcessExecutor(ScriptedObjective(dies), n_jobs=n_jobs)


def test_arrays_are_mapped_and_writable():
    array = np.arange(1000.0)
    payload = Payload({"a": array, "b": torch.arange(5)})
    loaded = load(payload.address)
    payload.close()
    assert np.array_equal(loaded["a"], array)
    assert torch.equal(loaded["b"], torch.arange(5))
    loaded["a"][0] = 7  # copy on write: nobody else sees it
    assert array[0] == 0


def test_a_script_without_a_main_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        """
print("ran")
from hpo.testing import ScriptedObjective
from hpo.testing.executors import drive
from hpo.executors.process import ProcessExecutor
from hpo.trial import Trial

class Here:
    def __call__(self, trial):
        return [1.0]

print(len(drive(ProcessExecutor(ScriptedObjective(Here()), n_jobs=1), [Trial(0, {}, 0)])))
"""
    )
    done = subprocess.run(
        [sys.executable, str(script)], check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["ran", "2"]
    assert done.stderr == ""
