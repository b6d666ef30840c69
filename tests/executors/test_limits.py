"""How long an executor trains; `tests/study/test_time_limits.py` has whole studies."""

import math
import time

import numpy as np
import pytest
from skorch import NeuralNetClassifier
from torch import nn

from hpo._time_limits import TimeLimits
from hpo.executors import Ended, Failed, Reported, TimedOut, TrainingClock
from hpo.executors.fused import FusedExecutor
from hpo.executors.fused.batch import TrialBatch
from hpo.executors.process import ProcessExecutor
from hpo.executors.serial import SerialExecutor
from hpo.testing import ScriptedObjective
from hpo.training.objective import Objective
from hpo.trial import Trial

N_EPOCHS = 4


def polled(executor, until):
    """Poll until an event is of a kind; return all events."""
    events = []
    while not any(isinstance(event, until) for event in events):
        events += executor.poll()
        assert not any(isinstance(event, Failed) for event in events), events
    return events


class Curve:
    """Three scores, the last of which hangs in trial 0."""

    def __init__(self, trial):
        self.hangs = trial.number == 0

    def __len__(self):
        return 3

    def __getitem__(self, i):
        if i == 2 and self.hangs:
            time.sleep(1000)
        return 0.1 * i


@pytest.mark.parametrize("cls", [SerialExecutor, ProcessExecutor])
def test_what_was_reported_stands_and_the_slot_is_free(cls):
    objective = ScriptedObjective(Curve, n_steps=3)
    options = {} if cls is SerialExecutor else {"n_jobs": 1}
    with cls(objective, **options) as executor:
        executor.limits = TimeLimits(trial_timeout=0.5)
        executor.start([Trial(0, {}, 0)])
        *reports, last = polled(executor, TimedOut)
        assert [event.report.step for event in reports] == [1, 2]
        assert last == TimedOut(0)
        assert executor.poll() == []
        executor.limits = TimeLimits()
        executor.start([Trial(1, {}, 0)])
        events = polled(executor, Ended)
        assert [e.report.step for e in events if isinstance(e, Reported)] == [1, 2, 3]


def test_at_the_end_of_the_run_a_step_is_left_without_an_event():
    with SerialExecutor(ScriptedObjective(Curve, n_steps=3)) as executor:
        executor.start([Trial(0, {}, 0)])
        assert [e.report.step for e in executor.poll() + executor.poll()] == [1, 2]
        executor.limits = TimeLimits(deadline=time.monotonic() + 0.2)
        assert executor.poll() == []
        assert executor.limits.run_is_over


def test_a_slow_batch_is_given_to_processes_and_no_step_is_told_twice_or_lost(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)).astype("float32")
    net = NeuralNetClassifier(
        nn.Linear,
        module__in_features=4,
        module__out_features=2,
        criterion=nn.CrossEntropyLoss,
        max_epochs=N_EPOCHS,
        train_split=None,
        verbose=0,
    )
    objective = Objective(net, X, (X[:, 0] > 0).astype("int64"), cv=2, scoring="accuracy")
    score, calls = TrialBatch._score, []

    def hang(batch, outputs):
        calls.append(batch)
        if len(calls) == 2:
            time.sleep(1000)
        return score(batch, outputs)

    monkeypatch.setattr(TrialBatch, "_score", hang)
    with FusedExecutor(objective, n_jobs=2, compile=False) as executor:
        executor.start([Trial(n, {"lr": 0.01 * (n + 1)}, n) for n in range(3)])
        events = polled(executor, Reported)
        executor.limits = TimeLimits(trial_timeout=0.5)
        assert executor.poll() == []
        executor.limits = TimeLimits()
        while sum(isinstance(event, Ended) for event in events) < 3:
            events += executor.poll()
        steps = [(e.number, e.report.step) for e in events if isinstance(e, Reported)]
        assert sorted(steps) == [(n, s) for n in range(3) for s in range(1, N_EPOCHS + 1)]
        reason = "a batch of them takes longer than a trial may (0.5 s)"
        assert [executor.trained_by(n) for n in range(3)] == [("process", reason)] * 3
        assert len(calls) == 2


def test_a_clock_counts_the_time_in_training_alone(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("hpo.executors._training_clock.time.monotonic", lambda: now[0])
    clock = TrainingClock()

    def look(seconds, training, limit=math.inf):
        now[0] += seconds
        return clock.look(training, limit)

    for _ in range(10):
        look(0.1, [1])
    assert look(500.0, [2], limit=2.0) == []  # the driver was suspended
    for _ in range(9):
        look(0.1, [2])
    assert look(0.2, [1, 2], limit=2.0) == [2]
    assert look(0.9, [1], limit=2.0) == [1]
