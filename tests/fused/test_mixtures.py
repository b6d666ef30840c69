"""Models with optimizers, batch sizes and widths of their own train in one batch as if alone."""

import random
from dataclasses import replace

import pytest
import torch
from torch import nn

from hpo.fused import (
    UPDATES,
    BatchableModule,
    Criterion,
    FusedModels,
    ModelState,
    NotFusibleError,
    Plan,
    ReferenceTrainer,
    certify,
    dropout_rates,
)

N, N_CLASSES = 83, 3
ROWS = [torch.arange(0, 70), torch.arange(6, N)]  # of 70 and 77 rows


class Perceptron(nn.Module):
    def __init__(self, width, activation=nn.Sigmoid):
        super().__init__()
        self.first, self.drop = nn.Linear(6, width), nn.Dropout(0.3)
        self.activation = activation()
        self.second = nn.Linear(width, width)
        self.head = nn.Linear(width, N_CLASSES)

    def forward(self, X):
        h = self.drop(self.activation(self.first(X)))
        return self.head(h + self.drop(self.activation(self.second(h))))


class Normed(Perceptron):
    def __init__(self, width):
        super().__init__(width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, X):
        h = self.drop(torch.tanh(self.norm(self.first(X))))
        return self.head(h + self.second(h))


class Convolutional(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.drop, self.second = nn.Dropout2d(0.2), nn.Conv2d(width, 2 * width, 3)
        self.head = nn.Linear(2 * width * 4, N_CLASSES)

    def forward(self, X):
        h = self.drop(torch.relu(self.first(X.reshape(len(X), 1, 4, 4))))
        return self.head(torch.sigmoid(self.second(h)).flatten(1))


class LayerNormed(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.norm = nn.Linear(6, width), nn.LayerNorm(width)
        self.head = nn.Linear(width, N_CLASSES)

    def forward(self, X):
        return self.head(self.norm(torch.relu(self.first(X))))


def inputs(cls):
    torch.manual_seed(0)
    return torch.rand(N, 16 if cls is Convolutional else 6)


class Halving:
    """Half the rate in each further epoch, and in every second minibatch."""

    def __init__(self, lr):
        self.lr = 2 * lr

    def begin_epoch(self, n_batches):
        self.lr *= 0.5
        return [self.lr * (0.5 if i % 2 else 1.0) for i in range(n_batches)]


OPTIMIZERS = [
    (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.01}),
    (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (torch.optim.SGD, {"momentum": 0.8, "dampening": 0.3}),
    (torch.optim.SGD, {"weight_decay": 0.02}),
    (torch.optim.Adam, {"weight_decay": 0.01, "betas": (0.8, 0.99)}),
    (torch.optim.AdamW, {"weight_decay": 0.1}),
    (torch.optim.RMSprop, {"momentum": 0.5, "weight_decay": 0.01}),
    (torch.optim.RMSprop, {"alpha": 0.9}),
    (torch.optim.Adagrad, {"weight_decay": 0.01, "lr_decay": 0.01}),
    (torch.optim.Adagrad, {"initial_accumulator_value": 0.5}),
]


def model_of(cls, width, optimizer, options, batch_size, *, lr=0.02, rate=0.3, **numbers):
    """Return a model of two folds, and its plan alone."""
    modules = [cls(width) for _ in ROWS]
    group = dict(optimizer([nn.Parameter(torch.zeros(1))], lr=lr, **options).param_groups[0])
    if "betas" in group:
        group["beta1"], group["beta2"] = group["betas"]
    update = UPDATES[optimizer]
    own = [*update.numbers, *([update.starts_at] if update.starts_at else [])]
    flags = {name: group[name] for name in update.flags if name in group}
    model = ModelState(
        states=[{k: v.clone() for k, v in m.state_dict().items()} for m in modules],
        numbers={name: float(group[name]) for name in own if name in group}
        | {"eps": 1e-3}
        | numbers,
        rates=dict.fromkeys(dropout_rates(modules[0]), rate),
        schedules=lambda lr, n_folds: [Halving(lr) for _ in range(n_folds)],
        optimizer=optimizer,
        flags=flags,
        batch_size=batch_size,
    )
    plan = Plan(
        batchable=BatchableModule(cls(width)),
        criterion=Criterion(nn.CrossEntropyLoss()),
        optimizer=optimizer,
        flags=flags,
        batch_size=batch_size,
        clips=True,
    )
    return model, plan


def assert_alone(cls, widths, models, plans, batch, epochs, found, *, y):
    X = inputs(cls)
    for slot, (model, plan, width) in enumerate(zip(models, plans, widths, strict=True)):
        for fold, rows in enumerate(ROWS):
            alone = ReferenceTrainer(
                replace(plan, draws_of=batch),
                model,
                fold,
                module=cls(width),
                criterion=nn.CrossEntropyLoss(),
            )
            alone.train(epochs, X, y, rows)
            for name, value in alone.state().items():
                if "num_batches" not in name:
                    torch.testing.assert_close(
                        found(slot)[fold][name], value, rtol=1e-10, atol=1e-12
                    )


@pytest.mark.parametrize("by_slot", [True, False], ids=["one by one", "by one rule"])
@pytest.mark.parametrize("cls", [Perceptron, Convolutional])
@pytest.mark.parametrize("seed", range(4))
def test_a_random_mixture_trains_as_each_model_alone(cls, seed, by_slot, monkeypatch):
    """A program updates all models by one rule, as a GPU does; on a CPU it is one by one."""
    monkeypatch.setattr(FusedModels, "_by_slot", by_slot)
    draw = random.Random(seed)
    n = 5
    chosen = draw.sample(OPTIMIZERS, n)
    widths = [draw.randint(1, 7) for _ in range(n - 1)] + [7]
    sizes = [draw.choice([8, 16, 32, 64]) for _ in range(n - 1)] + [8]
    clipping = [{}, {"max_norm": 0.5}, {"max_value": 0.01}, {}, {}]
    penalties = [{"l1_lambda": 1e-3}, {"l2_lambda": 1e-2}, {}, {"label_smoothing": 0.1}, {}]
    pairs = [
        model_of(cls, width, *optimizer, size, lr=0.02 * (i + 1), **clips, **penalty)
        for i, (width, optimizer, size, clips, penalty) in enumerate(
            zip(widths, chosen, sizes, clipping, penalties, strict=True)
        )
    ]
    models, plans = zip(*pairs, strict=True)
    batch = replace(plans[-1], mixed=True, accumulates=True, pads=True)
    X, y = inputs(cls), torch.randint(0, N_CLASSES, (N,))
    together = FusedModels(batch, X, y, ROWS, n_slots=n, dtype=torch.float64)
    together.put_all(dict(enumerate(models)))
    for number in (1, 2, 3):
        together.train_epoch(number)
    assert_alone(cls, widths, models, plans, batch, (1, 2, 3), together.states, y=y)
    outputs = together.predict(torch.stack([X[rows[:70]] for rows in ROWS]))
    module = cls(widths[0]).double().eval()
    module.load_state_dict(together.states(0)[0])
    with torch.no_grad():
        expected = module(X[ROWS[0]].double())
    torch.testing.assert_close(outputs[0, 0], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("by_slot", [True, False])
def test_the_loss_of_an_epoch_is_that_of_its_minibatches(by_slot, reduction, monkeypatch):
    """Each model's mean loss over the samples, where its minibatch takes several steps."""
    monkeypatch.setattr(FusedModels, "_by_slot", by_slot)
    model, plan = model_of(Perceptron, 4, *OPTIMIZERS[0], 32, l1_lambda=1e-3)
    plan = replace(plan, criterion=Criterion(nn.CrossEntropyLoss(reduction=reduction)))
    X, y = inputs(Perceptron), torch.randint(0, N_CLASSES, (N,))
    alone = FusedModels(plan, X, y, ROWS, n_slots=1, dtype=torch.float64)
    alone.put(0, replace(model, rates=dict.fromkeys(model.rates, 0.0)))
    batch = replace(plan, batch_size=8, mixed=True, accumulates=True)
    mixed = FusedModels(batch, X, y, ROWS, n_slots=1, dtype=torch.float64)
    mixed.put(0, replace(model, rates=dict.fromkeys(model.rates, 0.0)))
    for number in (1, 2):
        torch.testing.assert_close(
            mixed.train_epoch(number), alone.train_epoch(number), rtol=1e-10, atol=1e-12
        )


def test_batch_normalization_mixes_widths_and_optimizers():
    widths, sizes = [3, 5, 5], [16, 16, 16]
    pairs = [
        model_of(Normed, width, *OPTIMIZERS[i], size)
        for i, (width, size) in enumerate(zip(widths, sizes, strict=True))
    ]
    models, plans = zip(*pairs, strict=True)
    batch = replace(plans[-1], mixed=True, pads=True)
    y = torch.randint(0, N_CLASSES, (N,))
    together = FusedModels(batch, inputs(Normed), y, ROWS, n_slots=3, dtype=torch.float64)
    together.put_all(dict(enumerate(models)))
    together.train_epoch(1)
    assert_alone(Normed, widths, models, plans, batch, (1,), together.states, y=y)


@pytest.mark.parametrize("by_slot", [True, False])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_model_goes_on_in_a_wider_batch(optimizer, by_slot, monkeypatch):
    """Its weights, its optimizer's state, its schedule, from a batch of its own and back."""
    monkeypatch.setattr(FusedModels, "_by_slot", by_slot)
    model, plan = model_of(Perceptron, 3, *optimizer, 16)
    other, wide = model_of(Perceptron, 5, *OPTIMIZERS[4], 8)
    X, y = inputs(Perceptron), torch.randint(0, N_CLASSES, (N,))
    # The noise of dropout depends on the batch, so there is none.
    model = replace(model, rates=dict.fromkeys(model.rates, 0.0))

    def new(plan, n_slots):
        return FusedModels(plan, X, y, ROWS, n_slots=n_slots, dtype=torch.float64)

    alone = new(plan, 1)
    alone.put(0, model)
    for number in (1, 2, 3):
        alone.train_epoch(number)
    narrow = new(plan, 1)
    narrow.put(0, model)
    narrow.train_epoch(1)
    mixed = new(replace(wide, mixed=True, accumulates=True, pads=True), 2)
    mixed.put_all({0: other, 1: narrow.model_state(0)})
    mixed.train_epoch(2)
    mixed.resize([1])
    back = new(plan, 1)
    back.put(0, mixed.model_state(0))
    back.train_epoch(3)
    for found, expected in zip(back.states(0), alone.states(0), strict=True):
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-12)


def certify_pair(cls, widths, sizes=(16, 16)):
    models, plans = zip(
        *(
            model_of(cls, width, *OPTIMIZERS[3 * i], size)
            for i, (width, size) in enumerate(zip(widths, sizes, strict=True))
        ),
        strict=True,
    )
    modules = {0: cls(widths[0]), 1: cls(widths[1])}
    batch = replace(
        plans[1],
        mixed=True,
        pads=True,
        accumulates=True,
        batch_size=min(p.batch_size for p in plans),
    )
    certify(
        batch,
        models,
        reference=lambda plan, model, fold: ReferenceTrainer(
            plan, model, fold, module=modules[fold], criterion=nn.CrossEntropyLoss()
        ),
        X=inputs(cls),
        y=torch.randint(0, N_CLASSES, (N,)),
        plans=plans,
    )


@pytest.mark.parametrize("cls", [Perceptron, Convolutional])
def test_a_smaller_model_in_a_larger_one_is_certified(cls):
    certify_pair(cls, (3, 6), (32, 8))


def test_what_depends_on_the_width_is_refused():
    with pytest.raises(NotFusibleError, match="are other ones"):
        certify_pair(LayerNormed, (3, 6))


def test_what_depends_on_the_minibatch_is_refused():
    with pytest.raises(NotFusibleError, match="are other ones"):
        certify_pair(Normed, (6, 6), (32, 8))
