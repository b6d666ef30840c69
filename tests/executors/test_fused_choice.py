"""How a batch is trained: at a time what fits, compiled or not, or not as a batch at all."""

import numpy as np
import pytest
import torch
from torch import nn

from hpo.executors import Ended, Reported
from hpo.executors.auto import AutoExecutor
from hpo.executors.fused import FusedExecutor, benchmark
from hpo.executors.fused import batch as batches
from hpo.nets import RegularizedClassifier
from hpo.testing.executors import drive
from hpo.training.objective import Objective
from hpo.trial import Trial


class Dense(nn.Sequential):
    def __init__(self, width=8, slope=0.0):
        super().__init__(nn.Linear(6, width), nn.LeakyReLU(slope), nn.Linear(width, 2))


def make_objective():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(131, 6)).astype("float32")
    y = (X @ rng.normal(size=6) > 0).astype("int64")
    net = RegularizedClassifier(Dense, max_epochs=3, batch_size=16, train_split=None, verbose=0)
    return Objective(net, X, y, cv=3, scoring="accuracy")


def trials(n=6, **params):
    return [Trial(i, {"lr": 0.01 * (i + 1), **params}, i) for i in range(n)]


def ends(events):
    return {event.number for event in events if isinstance(event, Ended)}


def values(events):
    """Return the scores after the last epoch, by trial."""
    found = {e.number: e.report.value for e in events if isinstance(e, Reported)}
    return [found[number] for number in sorted(found)]


def test_a_batch_that_would_not_fit_is_split(monkeypatch):
    """The trials that have no place wait; what they come to is the same."""
    objective = make_objective()
    whole = drive(FusedExecutor(objective, n_jobs=1, compile=False), trials())
    monkeypatch.setattr(batches, "free_memory", lambda device: 4 * 2 * 10_000.0)
    executor = FusedExecutor(objective, n_jobs=1, compile=False)
    monkeypatch.setattr(batches.FusedModels, "bytes_per_slot", lambda self, X: 20_000)
    split = drive(executor, trials())
    (note,) = executor.notes
    assert note.startswith("2 and not 8 trials like trial 0 are trained at a time")
    assert ends(split) == ends(whole) == set(range(6))
    assert values(split) == pytest.approx(values(whole), abs=0.02)
    order = [event.number for event in split if isinstance(event, Ended)]
    assert sorted(order[:2]) == [0, 1]


def test_a_device_without_room_gets_half_a_batch(monkeypatch):
    epoch = benchmark.FusedModels.train_epoch

    def short(self, *args, **kwargs):
        if self.n_slots > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return epoch(self, *args, **kwargs)

    monkeypatch.setattr(benchmark.FusedModels, "train_epoch", short)
    executor = FusedExecutor(make_objective(), n_jobs=1, compile=False)
    assert ends(drive(executor, trials())) == set(range(6))
    assert [note[:9] for note in executor.notes] == ["4 and not", "2 and not"]


def test_where_each_trial_has_a_structure_of_its_own_nothing_is_gained(monkeypatch):
    monkeypatch.setattr("hpo.executors.fused.batches.MANY_STRUCTURES", 2)
    odd = [Trial(i, {"module__slope": 0.1 * i}, i) for i in range(4)]
    executor = FusedExecutor(make_objective(), n_jobs=1, compile=False)
    assert ends(drive(executor, odd)) == set(range(4))
    (note,) = [note for note in executor.notes if "structure" in note]
    assert note.startswith("Trial 2 was trained by 1 worker process, because nearly")


def test_what_processes_train_faster_is_left_to_them(monkeypatch):
    """The executor auto compares, tells the times, and asks once for each structure."""
    objective = make_objective()
    for seconds, name in ((1e-9, "in 1 worker process"), (1e9, "fused")):
        asked = []
        monkeypatch.setattr(
            "hpo.executors.auto.sequential_epoch_seconds",
            lambda *_, seconds=seconds, asked=asked: asked.append(1) or seconds,
        )
        executor = AutoExecutor(objective, n_jobs=1)
        executor.n_trials_left = 0
        seen = drive(executor, trials())
        assert ends(seen) == set(range(6))
        assert len(asked) == 1
        told = executor.notes[-1] if name == "fused" else " ".join(executor.notes)
        assert f"are trained {name} (an epoch of one: " in told
        assert "ms in 1 worker process" in told
        assert "ms fused" in told


def test_a_program_is_made_where_the_trials_to_come_repay_it(monkeypatch):
    compiled = []

    def compile_models(models):
        compiled.append(models)

    monkeypatch.setattr(benchmark.FusedModels, "compile", compile_models)
    for to_come, n in ((0, 0), (1e9, 1)):
        executor = FusedExecutor(make_objective(), n_jobs=1)
        executor.n_trials_left = to_come
        drive(executor, trials(2))
        assert len(compiled) == n


@pytest.mark.parametrize(
    ("alone", "batch", "work", "worth"),
    [
        (None, 0.03, 1e3, True),
        (None, 0.03, 1e2, False),  # too little is left to do
        (0.05, 0.03, 1e3, True),
        (0.17, 0.21, 1e3, True),
        (0.09, 0.31, 1e3, False),  # a program would hardly be faster than processes are
        (None, None, 1e3, False),  # no batch could be tried
    ],
)
def test_when_a_program_is_worth_making(alone, batch, work, worth):
    tried = (
        [benchmark.ExecutionPlan("in processes", alone)]
        if alone
        else [benchmark.ExecutionPlan("fails", 1.0)]
    )
    tried += [benchmark.ExecutionPlan("fused", batch, models=object())] if batch else []
    assert benchmark._is_worth_compiling(tried, work) is worth


def test_times_are_of_whole_epochs():
    """A batch and a trial alone are both timed, on the same work."""
    objective = make_objective()
    seconds = benchmark.sequential_epoch_seconds(objective, trials(1)[0], None)
    assert 0 < seconds < 60
    executor = AutoExecutor(objective, n_jobs=1, compile=False)
    assert ends(drive(executor, trials(2))) == {0, 1}
    assert "an epoch of one: " in " ".join(executor.notes)


def test_structures_wait_for_each_other():
    """Four places for each structure in training; a structure that comes later is taken in too."""
    objective = make_objective()
    mixed = [Trial(i, {"module__slope": 0.1 * (i % 3)}, i) for i in range(12)]
    executor = FusedExecutor(objective, n_slots=4, n_jobs=1, compile=False)
    assert executor.capacity == 4
    with executor:
        executor.start(mixed[:3])
        assert executor.capacity == 12
        executor.stop([0, 1, 2])
        assert executor.capacity == 4
    assert ends(drive(FusedExecutor(objective, n_slots=4, compile=False), mixed)) == set(range(12))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"compile": "yes"}, r"compile must be 'auto', true or false\. Got 'yes'"),
        ({"precision": "float16"}, r"precision must be among auto, bfloat16, float32\. Got 'flo"),
    ],
)
def test_arguments_are_checked(given, told):
    with pytest.raises(ValueError, match=told):
        FusedExecutor(make_objective(), **given)


def test_bfloat16_is_tried_only_where_the_processor_has_it(monkeypatch):
    for has_it in (False, True):
        monkeypatch.setattr(benchmark, "_has_bfloat16", lambda device, has_it=has_it: has_it)
        executor = FusedExecutor(make_objective(), n_jobs=1, precision="auto", compile=False)
        assert ends(drive(executor, trials(2))) == {0, 1}
        assert any("bfloat16" in note for note in executor.notes) is has_it
