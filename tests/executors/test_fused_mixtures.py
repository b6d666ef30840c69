"""Trials that differ in optimizers, batch sizes and widths are trained in one batch as alone."""

import numpy as np
import pytest
import torch
from torch import nn

from hpo.executors import Reported
from hpo.executors.fused import FusedExecutor
from hpo.executors.fused.mixing import N_WEIGHTS_SMALL
from hpo.executors.serial import SerialExecutor
from hpo.fused import NotFusibleError
from hpo.nets import RegularizedClassifier
from hpo.testing.executors import drive
from hpo.training.objective import Objective
from hpo.trial import Trial


class Dense(nn.Sequential):
    def __init__(self, width=8, rate=0.0):
        super().__init__(nn.Linear(6, width), nn.Sigmoid(), nn.Dropout(rate), nn.Linear(width, 2))


class Scaled(Dense):
    """Keeps its width, and a number that is none; its forward looks at the latter."""

    def __init__(self, width=8, power=1):
        super().__init__(width)
        self.width, self.power = width, power

    def forward(self, X):
        return super().forward(X) ** self.power


class Limited(Dense):
    """Cuts its inputs off at a number that looks like a size."""

    def __init__(self, width=8, limit=8):
        super().__init__(width)
        self.limit = limit

    def forward(self, X):
        return super().forward(X.clamp(max=self.limit / 4 - 1))


class LayerNormed(nn.Sequential):
    def __init__(self, width=8):
        super().__init__(nn.Linear(6, width), nn.LayerNorm(width), nn.Linear(width, 2))


class WidthInForward(Dense):
    def __init__(self, width=8):
        super().__init__(width)
        self.width = width

    def forward(self, X):
        return super().forward(X) / self.width


class Joined(nn.Module):
    """Joins its inputs to a hidden layer: in front, smaller models are leading parts."""

    def __init__(self, width=8, in_front=True):
        super().__init__()
        self.hidden, self.head = nn.Linear(6, width), nn.Linear(6 + width, 2)
        self.in_front = in_front

    def forward(self, X):
        h = torch.sigmoid(self.hidden(X))
        return self.head(torch.cat([X, h] if self.in_front else [h, X], 1))


class Softmax(Dense):
    def forward(self, X):
        return self[3](torch.softmax(self[0](X), 1))


class Averaged(Dense):
    def forward(self, X):
        h = torch.relu(self[0](X))
        return self[3](h) + h.mean(1, keepdim=True)


class Normed(nn.Sequential):
    def __init__(self, width=8):
        super().__init__(nn.Linear(6, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def objective_of(cls=Dense, **changes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(203, 6)).astype("float32")
    y = (X @ rng.normal(size=6) > 0).astype("int64")
    net = RegularizedClassifier(
        cls, max_epochs=3, batch_size=16, train_split=None, verbose=0, **changes
    )
    return Objective(net, X, y, cv=3, scoring="neg_log_loss")


OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad")
MIXED = [
    Trial(
        i,
        {
            "lr": 0.01,
            "optimizer": getattr(torch.optim, OPTIMIZERS[i % 5]),
            "batch_size": (8, 16, 64)[i % 3],
            "module__width": (3, 8, 5, 16)[i % 4],
            "l1_lambda": 1e-4 * i,
        },
        i,
    )
    for i in range(10)
]


def fused(objective, trials, **options):
    """Return the reports by trial and step, and the executor."""
    executor = FusedExecutor(objective, n_jobs=1, **({"compile": False} | options))
    events = drive(executor, list(trials))
    reports = {(e.number, e.report.step): e.report for e in events if isinstance(e, Reported)}
    return reports, executor


def alone(objective, trials):
    events = drive(SerialExecutor(objective), list(trials))
    return {(e.number, e.report.step): e.report for e in events if isinstance(e, Reported)}


@pytest.fixture
def batches(monkeypatch):
    """Return the batches that are made, by name, though the executor forgets them at its end."""
    made = {}
    from hpo.executors.fused import executor as module

    class Kept(module.TrialBatch):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made[self.name] = self
            self.all = []

        def add(self, extracted):
            self.all.append(extracted.trial.number)
            super().add(extracted)

    monkeypatch.setattr(module, "TrialBatch", Kept)
    return made


def without_order(objective):
    """All rows in one order, so that a batch draws what each trial draws alone."""
    objective.estimator.set_params(iterator_train__shuffle=False)
    return objective


def test_a_mixture_is_one_batch_and_has_the_reports_of_training_alone(batches):
    objective = without_order(objective_of())
    reports, executor = fused(objective, MIXED)
    assert executor.notes == []
    assert [sorted(batch.all) for batch in batches.values()] == [list(range(10))]
    expected = alone(objective, MIXED)
    assert reports.keys() == expected.keys()
    for key, report in expected.items():
        np.testing.assert_allclose(reports[key].fold_values, report.fold_values, rtol=1e-4)
        losses = [metrics["train_loss"] for metrics in (reports[key].metrics, report.metrics)]
        np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.slow
def test_a_compiled_mixture_has_the_reports_of_training_alone():
    objective = without_order(objective_of())
    reports, executor = fused(objective, MIXED, compile=True)
    assert {executor.trained_by(i)[0] for i in range(10)} == {"fused (compiled)"}
    for key, report in alone(objective, MIXED).items():
        np.testing.assert_allclose(reports[key].fold_values, report.fold_values, rtol=1e-4)


def widths(*values, **params):
    return [Trial(i, {"lr": 0.05, "module__width": n, **params}, i) for i, n in enumerate(values)]


@pytest.mark.parametrize(("in_front", "n_batches"), [(True, 1), (False, 3)])
def test_what_a_layer_is_joined_to_decides_whether_widths_mix(in_front, n_batches, batches):
    objective = without_order(objective_of(Joined, module__in_front=in_front))
    trials = widths(8, 4, 8, 4, 6)
    reports, _ = fused(objective, trials)
    assert len(batches) == n_batches
    for key, report in alone(objective, trials).items():
        np.testing.assert_allclose(reports[key].fold_values, report.fold_values, rtol=1e-4)


@pytest.mark.parametrize("cls", [LayerNormed, WidthInForward, Softmax, Averaged])
def test_widths_that_matter_are_kept_apart(cls, batches):
    objective = without_order(objective_of(cls))
    trials = widths(8, 4, 8, 4, 6)
    reports, executor = fused(objective, trials)
    apart = ["trials with modules of other sizes are trained in batches of their own"]
    assert [note.partition(",")[0] for note in executor.notes] == (
        [] if cls is LayerNormed else apart
    )
    groups = sorted(sorted(batch.all) for batch in batches.values())
    assert groups == [[0, 2], [1, 3], [4]], batches.keys()
    for key, report in alone(objective, trials).items():
        np.testing.assert_allclose(reports[key].fold_values, report.fold_values, rtol=1e-4)


def test_a_number_that_is_no_size_makes_another_batch(batches):
    """A user's class may keep any number: only one that is a weight's length may be a size."""
    objective = without_order(objective_of(Scaled))
    trials = [
        Trial(i, {"lr": 0.05, "module__width": width, "module__power": power}, i)
        for i, (width, power) in enumerate([(8, 1), (4, 1), (8, 3), (6, 3)])
    ]
    reports, _ = fused(objective, trials)
    together = {n for batch in batches.values() for n in [tuple(sorted(batch.all))]}
    assert together == {(0, 1), (2, 3)}
    for key, report in alone(objective, trials).items():
        np.testing.assert_allclose(reports[key].fold_values, report.fold_values, rtol=1e-4)


@pytest.mark.parametrize(
    ("cls", "changes"),
    [
        (Normed, {}),
        (Dense, {"criterion__weight": torch.tensor([1.0, 2.0])}),
        (Dense, {"iterator_train__drop_last": True}),
    ],
)
def test_batch_sizes_that_matter_are_kept_apart(cls, changes, batches):
    objective = without_order(objective_of(cls, **changes))
    trials = [Trial(i, {"lr": 0.05, "batch_size": (8, 16)[i % 2]}, i) for i in range(4)]
    reports, _ = fused(objective, trials)
    assert sorted(sorted(batch.all) for batch in batches.values()) == [[0, 2], [1, 3]]
    for key, report in alone(objective, trials).items():
        np.testing.assert_allclose(reports[key].fold_values, report.fold_values, rtol=1e-4)


def test_batch_sizes_of_which_none_divides_the_other_are_kept_apart(batches):
    trials = [Trial(i, {"lr": 0.05, "batch_size": (8, 12)[i % 2]}, i) for i in range(4)]
    fused(objective_of(), trials)
    assert sorted(sorted(batch.all) for batch in batches.values()) == [[0, 2], [1, 3]]


def test_much_smaller_models_are_batches_of_their_own(batches):
    wide = N_WEIGHTS_SMALL // 9 + 1
    fused(objective_of(), widths(wide, 4, wide))
    assert sorted(sorted(batch.all) for batch in batches.values()) == [[0, 2], [1]]


def test_a_batch_of_one_structure_is_no_mixture(batches):
    fused(objective_of(), widths(8, 8, 8))
    (batch,) = batches.values()
    assert not batch.make_models(0).plan.mixed


def test_a_trial_that_comes_later_widens_the_batch_in_training(batches):
    """The weights, and all that optimizers keep, of the trials in training move on with them."""
    objective = without_order(objective_of())
    executor = FusedExecutor(objective, n_jobs=1, compile=False)
    events = []
    with executor:
        executor.start(MIXED[:1])
        events += executor.poll()
        executor.start(MIXED[1:4])
        while len([e for e in events if not isinstance(e, Reported)]) < 4:
            events += executor.poll()
    (batch,) = batches.values()
    assert sorted(batch.all) == [0, 1, 2, 3]
    reports = {(e.number, e.report.step): e.report for e in events if isinstance(e, Reported)}
    for key, report in alone(objective, MIXED[:4]).items():
        np.testing.assert_allclose(reports[key].fold_values, report.fold_values, rtol=1e-4)


def test_dropout_of_a_narrow_trial_is_replayed_by_the_sentinel():
    """A wrong replay would be seen: each trial brings something new, and is trained again."""
    trials = [
        Trial(t.number, {**t.params, "module__rate": 0.3, "lr": 0.02}, t.number) for t in MIXED
    ]
    _, executor = fused(objective_of(), trials)
    assert executor.notes == []


def test_one_structure_that_is_refused_takes_no_other_with_it(monkeypatch, batches):
    """The first trial of a batch fails its proof: the others are a batch without it."""
    from hpo.executors.fused import batch as module

    prove = module.prove

    def refuse_wide(extractor, extracted, device):
        if extracted.structure.shapes["0.weight"][0] == 8:
            raise NotFusibleError("it is eight wide")
        prove(extractor, extracted, device)

    monkeypatch.setattr(module, "prove", refuse_wide)
    objective = without_order(objective_of())
    trials = widths(8, 4, 5, 8)
    reports, executor = fused(objective, trials)
    assert [executor.trained_by(i) for i in range(4)] == [
        ("process", "it is eight wide"),
        ("fused (eager)", ""),
        ("fused (eager)", ""),
        ("process", "it is eight wide"),
    ]
    for key, report in alone(objective, trials).items():
        np.testing.assert_allclose(reports[key].fold_values, report.fold_values, rtol=1e-4)


def test_a_number_that_looks_like_a_size_is_seen_by_the_proof(batches):
    objective = without_order(objective_of(Limited))
    trials = [
        Trial(i, {"lr": 0.05, "module__limit": limit}, i) for i, limit in enumerate([8, 6, 8, 2])
    ]
    reports, executor = fused(objective, trials)
    assert sorted(sorted(batch.all) for batch in batches.values()) == [[0, 2], [1], [3]]
    assert len(executor.notes) == 1
    for key, report in alone(objective, trials).items():
        np.testing.assert_allclose(reports[key].fold_values, report.fold_values, rtol=1e-4)
