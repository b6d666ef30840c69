"""Trainings put aside: their files, when they are written, and what cannot be put aside."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from hpo.training.checkpointing import MIN_SECONDS, SHARE, Checkpointing, Pace, ResumeError
from hpo.training.checkpoints import Checkpoint, CheckpointError, CheckpointFiles
from hpo.training.objective import Objective
from hpo.trial import Trial

TRIAL = Trial(3, {}, seed=5)
N_EPOCHS = 5
MADE_BY = {"study": "s", "torch": "2"}


class LocalCount(NeuralNetClassifier):
    """A net whose loop counts its epochs where no state has them."""

    def fit_loop(self, X, y=None, epochs=None, **params):
        for i in range(self.max_epochs):
            self.set_params(optimizer__lr=0.5 / (i + 1))
            super().fit_loop(X, y, epochs=1, **params)
        return self


class LostCount(Callback):
    """A callback whose pickles do not have its count of epochs."""

    def on_train_begin(self, net, **kwargs):
        self.count = 0

    def on_epoch_end(self, net, **kwargs):
        self.count += 1
        net.history.record("count", float(self.count))

    def __getstate__(self):
        return {**vars(self), "count": 0}


class Unpicklable(Callback):
    def on_train_begin(self, net, **kwargs):
        self.lines = (line for line in ())


class Random(Callback):
    """A callback that records what is never the same twice."""

    def on_epoch_end(self, net, **kwargs):
        net.history.record("random", float(np.random.default_rng().random()))


def net(callbacks=None, cls=NeuralNetClassifier):
    return cls(
        nn.Linear,
        module__in_features=5,
        module__out_features=2,
        criterion=nn.CrossEntropyLoss,
        max_epochs=N_EPOCHS,
        batch_size=16,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks=callbacks,
        verbose=0,
    )


@pytest.fixture
def files(tmp_path):
    return CheckpointFiles(tmp_path / "checkpoints", b"key", MADE_BY)


def objective(files, estimator=None, every=0.0):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 5)).astype("float32")
    y = (X[:, 0] > 0).astype("int64")
    made = Objective(estimator or net(), X, y, cv=2, scoring="accuracy", epochs=N_EPOCHS)
    made.checkpointing = Checkpointing(files, every)
    return made


def timeless(reports):
    return [replace(r, seconds=0.0, fit_seconds=(), score_seconds=()) for r in reports]


def notes(reports):
    return [note for report in reports for note in report.notes]


# -- when and what ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator", [net(), SGDClassifier(random_state=0)], ids=["net", "partial_fit"]
)
def test_a_training_goes_on_in_another_process_as_if_nothing_had_happened(estimator, files):
    whole = timeless(objective(files, estimator).begin(TRIAL))
    run = objective(files, estimator).begin(TRIAL)
    before = [next(run) for _ in range(4)]
    run.close()
    checkpoint = files.read(TRIAL)
    assert checkpoint.step == 3  # the state after the third step, written before the fourth
    later = replace(TRIAL, number=8, resumed_from=3, resumed_step=3)
    rest = timeless(objective(files, estimator).begin(later))
    assert [replace(report, number=3) for report in rest] == whole[3:]
    assert timeless(before) == whole[:4]


def test_nothing_is_written_until_the_state_was_seen_to_go_on(files):
    run = objective(files).begin(TRIAL)
    seen = [(next(run).step, files.read(TRIAL)) for _ in range(3)]
    assert [checkpoint and checkpoint.step for _, checkpoint in seen] == [None, 1, 2]


def test_a_training_is_put_aside_at_once_when_it_is_to_end(files):
    made = objective(files, every=3600.0)
    made.checkpointing.proved(TRIAL)
    run = made.begin(TRIAL)
    next(run)
    next(run)
    run.put_aside()
    assert files.read(TRIAL).step == 2


def test_a_value_that_is_no_number_is_proved_for_itself(files):
    checkpointing = objective(files).checkpointing
    adam, sgd = (Trial(0, {"lr": 0.1, "optimizer": name}, seed=1) for name in ("Adam", "SGD"))
    checkpointing.proved(adam)
    assert checkpointing.is_proved(replace(adam, params={**adam.params, "lr": 0.2}))
    assert not checkpointing.is_proved(sgd)


def test_the_pace_follows_the_cost():
    pace = Pace(None)
    assert pace.seconds == MIN_SECONDS
    pace.took(3.0)
    assert pace.seconds == 3.0 / SHARE
    fixed = Pace(30.0)
    fixed.took(3.0)
    assert fixed.seconds == 30.0


# -- what cannot be put aside ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "why"),
    [
        (net([("unpicklable", Unpicklable())]), "generator"),
        (net([("lost", LostCount())]), "has another count"),
        (net(cls=LocalCount), ""),
    ],
    ids=["unpicklable", "a lossy pickle", "a loop of its own"],
)
def test_what_does_not_go_on_is_told_once_and_trained_as_ever(estimator, why, files):
    plain = objective(files, estimator)
    plain.checkpointing = None
    whole = timeless(plain.begin(TRIAL))
    made = objective(files, estimator)
    first, second = list(made.begin(TRIAL)), list(made.begin(replace(TRIAL, number=4, seed=6)))
    assert [replace(report, notes=()) for report in timeless(first)] == whole
    if why:
        (note,) = notes(first)
        assert why in note
        assert not notes(second)
        assert files.read(TRIAL) is None


def test_a_training_of_which_no_two_are_alike_is_put_aside_all_the_same(files):
    reports = list(objective(files, net([("random", Random())])).begin(TRIAL))
    assert not notes(reports)
    assert files.read(TRIAL) is not None


def test_a_full_disk_ends_it_with_a_note(files, tmp_path):
    (tmp_path / "checkpoints").write_text("no folder")
    reports = list(objective(files).begin(TRIAL))
    assert len(reports) == N_EPOCHS
    assert len(notes(reports)) == 1


# -- the files -------------------------------------------------------------------------------------

STATE = Checkpoint(3, "run", b"state" * 100)


@pytest.mark.parametrize("at", [0, 30, 60, 100, -1])
def test_a_damaged_file_is_not_read(at, files):
    files.write(TRIAL, STATE)
    assert files.read(TRIAL) == STATE
    content = bytearray(files.path(TRIAL.seed).read_bytes())
    content[at] ^= 1
    files.path(TRIAL.seed).write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged, or was not made by this user"):
        files.read(TRIAL)


@pytest.mark.parametrize("n", [0, 1, 20, 55, 300])
def test_a_cut_file_is_not_read(n, files):
    files.write(TRIAL, STATE)
    files.path(TRIAL.seed).write_bytes(files.path(TRIAL.seed).read_bytes()[:n])
    with pytest.raises(CheckpointError, match="damaged"):
        files.read(TRIAL)


def test_a_file_of_another_user_is_not_read(files):
    replace(files, key=b"another").write(TRIAL, STATE)
    with pytest.raises(CheckpointError, match="not made by this user"):
        files.read(TRIAL)


@pytest.mark.parametrize(
    ("changed", "trial", "why"),
    [
        ({"made_by": {**MADE_BY, "torch": "3"}}, TRIAL, "torch 3, and not 2"),
        ({}, replace(TRIAL, params={"lr": 0.1}), "params"),
    ],
    ids=["version", "parameters"],
)
def test_a_file_of_something_else_is_not_read(changed, trial, why, files):
    replace(files, **changed).write(trial, STATE)
    with pytest.raises(CheckpointError, match=why):
        files.read(TRIAL)


def test_a_file_is_the_user_s_alone_and_gone_with_its_training(files):
    files.write(TRIAL, STATE)
    assert files.path(TRIAL.seed).stat().st_mode & 0o777 == 0o600
    other = replace(TRIAL, seed=6)
    files.write(other, STATE)
    files.sweep({5})
    assert files.read(other) is None
    assert files.read(TRIAL) == STATE
    files.remove(5)
    files.sweep(())
    assert not files.folder.exists()


@pytest.mark.parametrize("damage", ["gone", "damaged", "another step", "no state"])
def test_a_training_that_cannot_go_on_says_so_and_gives_no_numbers(damage, files):
    content = {"no state": b"no pickle", "damaged": b""}.get(damage, b"state")
    if damage != "gone":
        step = 2 if damage == "another step" else 3
        files.write(TRIAL, Checkpoint(step, "run", content))
    if damage == "damaged":
        files.path(5).write_bytes(b"hpo checkpoint 1\n")
    with pytest.raises(ResumeError):
        objective(files).begin(replace(TRIAL, resumed_from=3, resumed_step=3))
