"""Trials of a batch that are put aside and go on are those of the batch that ran through."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn

from hpo.callbacks import LRSchedule
from hpo.executors import Ended, Failed, Reported, Revoked
from hpo.executors.fused import FusedExecutor
from hpo.executors.serial import SerialExecutor
from hpo.training.checkpointing import Checkpointing
from hpo.training.checkpoints import CheckpointFiles
from hpo.training.objective import Objective
from hpo.trial import Trial

N_EPOCHS = 6
AT = 3


class Net(nn.Sequential):
    def __init__(self, width=8):
        super().__init__(
            nn.Linear(6, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(width, 2),
        )


def net(**params):
    given = {"criterion": nn.CrossEntropyLoss, "optimizer": torch.optim.Adam, "batch_size": 20}
    given |= {"max_epochs": N_EPOCHS, "iterator_train__shuffle": True, "verbose": 0}
    return NeuralNetClassifier(Net, **{"train_split": None, **given, **params})


def objective(files, estimator=None):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(132, 6)).astype("float32")
    y = (X[:, 0] * X[:, 1] > 0).astype("int64")
    made = Objective(estimator or net(), X, y, cv=3, scoring="accuracy")
    made.checkpointing = Checkpointing(files, every=0.0)
    return made


@pytest.fixture
def files(tmp_path):
    return CheckpointFiles(tmp_path / "checkpoints", b"key", {"study": "s"})


TRIALS = [Trial(i, {"lr": 0.003 * (i + 1)}, seed=i + 50) for i in range(3)]


def drive(executor, trials, until=N_EPOCHS):
    """Return the reports up to a step, times left aside, and the other events."""
    found, others, n_ended = {}, [], 0
    with executor:
        executor.start(trials)
        while n_ended < len(trials):
            for event in executor.poll():
                if not isinstance(event, Reported):
                    others.append(event)
                    n_ended += isinstance(event, Ended | Failed | Revoked)
                    continue
                r = event.report
                found[r.number, r.step] = (r.value, r.fold_values, dict(r.metrics))
            if until < N_EPOCHS and len(found) >= until * len(trials):
                executor.put_aside()
                break
    return found, others


def goes_on(trials):
    return [replace(trial, resumed_from=trial.number, resumed_step=AT) for trial in trials]


@pytest.mark.parametrize(
    "estimator",
    [
        net(),
        net(optimizer=torch.optim.SGD, optimizer__momentum=0.9, train_split=ValidSplit(4)),
        net(callbacks=[("rate", LRScheduler("StepLR", step_size=2, gamma=0.5))]),
        net(callbacks=[("rate", LRSchedule("one_cycle", epochs=N_EPOCHS))]),
        net(callbacks=[("stop", EarlyStopping(monitor="train_loss", patience=9, load_best=True))]),
    ],
    ids=["adam", "momentum and a validation part", "steps", "one cycle", "early stopping"],
)
def test_a_batch_goes_on_as_if_nothing_had_happened(estimator, files):
    def fused():
        return FusedExecutor(objective(files, estimator), compile=False, n_jobs=1, device="cpu")

    whole, others = drive(fused(), TRIALS)
    assert len(whole) == N_EPOCHS * len(TRIALS), others
    drive(fused(), TRIALS, until=AT)
    rest, others = drive(fused(), goes_on(TRIALS))
    assert all(isinstance(event, Ended) for event in others)
    assert rest == {key: report for key, report in whole.items() if key[1] > AT}


def test_a_mixture_goes_on_as_if_nothing_had_happened(files):
    """Each optimizer keeps its own state under its own names, of its own width."""
    optimizers = (torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad)
    trials = [
        replace(trial, params={**trial.params, "module__width": width, "optimizer": optimizer})
        for trial, width, optimizer in zip(TRIALS, (4, 8, 6), optimizers, strict=True)
    ]

    def fused():
        return FusedExecutor(objective(files), compile=False, n_jobs=1, device="cpu")

    whole, others = drive(fused(), trials)
    assert len(whole) == N_EPOCHS * len(trials), others
    drive(fused(), trials, until=AT)
    executor = fused()
    rest, others = drive(executor, goes_on(trials))
    assert all(isinstance(event, Ended) for event in others)
    assert executor.notes == []
    assert rest == {key: report for key, report in whole.items() if key[1] > AT}


def test_a_trial_that_a_worker_has_put_aside_goes_on_there(files):
    alone = SerialExecutor(objective(files), device="cpu")
    whole, _ = drive(SerialExecutor(objective(files), device="cpu"), TRIALS[:1])
    alone.objective.checkpointing.proved(TRIALS[0])
    drive(alone, TRIALS[:1], until=AT)
    executor = FusedExecutor(objective(files), compile=False, n_jobs=1, device="cpu")
    rest, _ = drive(executor, goes_on(TRIALS[:1]))
    assert rest == {key: report for key, report in whole.items() if key[1] > AT}
    assert executor.trained_by(0)[0] == "process"


def test_a_trial_of_a_batch_that_is_trained_alone_now_is_void(files):
    executor = FusedExecutor(objective(files), compile=False, n_jobs=1, device="cpu")
    drive(executor, TRIALS, until=AT)
    _, events = drive(SerialExecutor(objective(files), device="cpu"), goes_on(TRIALS[:1]))
    assert [type(event) for event in events] == [Revoked]
    assert "in a batch" in events[0].reason


def test_a_damaged_state_of_a_batch_is_void(files):
    executor = FusedExecutor(objective(files), compile=False, n_jobs=1, device="cpu")
    drive(executor, TRIALS, until=AT)
    (path,) = files.folder.iterdir()
    content = bytearray(path.read_bytes())
    content[-7] ^= 1  # in the last trial
    path.write_bytes(content)
    executor = FusedExecutor(objective(files), compile=False, n_jobs=1, device="cpu")
    reported, events = drive(executor, goes_on(TRIALS))
    assert [event.number for event in events if isinstance(event, Revoked)] == [2]
    assert {number for number, _ in reported} == {0, 1}
