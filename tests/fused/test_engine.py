"""A batch of models is trained as each of them alone, or is refused with the cause."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
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
from hpo.fused._program import Graph

N, N_CLASSES = 37, 3


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.drop = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3)
        self.b, self.layer, self.head = nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, N_CLASSES)

    def forward(self, X):
        h = self.drop(torch.relu(self.norm(self.a(X))))
        return self.head(h + self.layer(self.drop(nn.functional.gelu(self.b(h)))))


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.drop, self.head = nn.Dropout2d(0.2), nn.Linear(4, N_CLASSES)

    def forward(self, X):
        h = self.drop(torch.relu(self.norm(self.conv(X))))
        return self.head(h.mean((2, 3)))


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.scale = nn.Embedding(5, 4), nn.Parameter(torch.ones(4))
        self.head = nn.Linear(8, N_CLASSES)

    def forward(self, X):
        return self.head((self.table(X.long()) * self.scale).flatten(1))


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.1, batch_first=True)
        self.attention, self.head = nn.MultiheadAttention(6, 3), nn.Linear(6, N_CLASSES)

    def forward(self, X):
        h = self.cell(X).transpose(0, 1)
        hidden = torch.ones(4, 4, dtype=torch.bool, device=X.device).triu(1)
        padding = torch.arange(4, device=X.device).expand(len(X), 4) == 3
        h, weights = self.attention(h, h, h, key_padding_mask=padding, attn_mask=hidden)
        return self.head(h.sum(0)) + weights.mean((1, 2))[:, None]


def inputs(cls):
    torch.manual_seed(0)
    if cls is Attending:
        return torch.rand(N, 4, 6)
    if cls is Conv:
        return torch.rand(N, 1, 5, 5)
    return torch.randint(0, 5, (N, 2)) if cls is Embedded else torch.rand(N, 6)


class Halving:
    """Half the rate in each further epoch, and in every second minibatch."""

    def __init__(self, lr):
        self.lr = 2 * lr

    def begin_epoch(self, n_batches):
        self.lr *= 0.5
        return [self.lr * (0.5 if i % 2 else 1.0) for i in range(n_batches)]


def member(cls, optimizer, lr, rate, n_folds=2, **numbers):
    named = {k: numbers.pop(k) for k in list(numbers) if k in {"momentum", "weight_decay"}}
    flags = {k: numbers.pop(k) for k in list(numbers) if k == "nesterov"}
    group = optimizer([nn.Parameter(torch.zeros(1))], lr=lr, **named, **flags).param_groups[0]
    if "betas" in group:
        group = {**group, "beta1": group["betas"][0], "beta2": group["betas"][1]}
    update = UPDATES[optimizer]
    modules = [cls() for _ in range(n_folds)]
    made = ModelState(
        states=[{k: v.clone() for k, v in m.state_dict().items()} for m in modules],
        numbers={name: float(group[name]) for name in update.numbers} | numbers,
        rates=dict.fromkeys(dropout_rates(modules[0]), rate),
        schedules=lambda lr, n_folds: [Halving(lr) for _ in range(n_folds)],
    )
    return made, {name: group[name] for name in update.flags if name in group}


def plan_of(cls, optimizer, flags, **changes):
    criterion = changes.pop("criterion", nn.CrossEntropyLoss())
    return Plan(
        batchable=BatchableModule(cls()),
        criterion=Criterion(criterion),
        optimizer=optimizer,
        flags=flags,
        batch_size=8,
        clips=True,
        **changes,
    )


def alone_of(cls, criterion=None):
    return partial(ReferenceTrainer, module=cls(), criterion=criterion or nn.CrossEntropyLoss())


OPTIMIZERS = [
    (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.01, "l1_lambda": 1e-3}),
    (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "max_norm": 0.5}),
    (torch.optim.SGD, {"max_value": 0.01}),
    (torch.optim.Adam, {"weight_decay": 0.01, "l2_lambda": 0.01, "label_smoothing": 0.1}),
    (torch.optim.AdamW, {"weight_decay": 0.1}),
    (torch.optim.RMSprop, {"momentum": 0.5, "weight_decay": 0.01}),
    (torch.optim.Adagrad, {"weight_decay": 0.01}),
    (torch.optim.Adagrad, {"initial_accumulator_value": 0.5}),
]


def assert_trained_as_alone(cls, optimizer, numbers, *, device="cpu", compiles=False):
    """Weights, buffers and outputs, where one member leaves and another comes in between."""
    X, y = inputs(cls).to(device), torch.randint(0, N_CLASSES, (N,)).to(device)
    rows = [torch.arange(0, 30), torch.arange(3, N)]  # four minibatches and five
    first, flags = member(cls, optimizer, 0.05, 0.3, eps=1e-3, **numbers)
    second, _ = member(cls, optimizer, 0.02, 0.0, eps=1e-3, **numbers)
    late, _ = member(cls, optimizer, 0.01, 0.5, eps=1e-3, **numbers)
    plan = plan_of(cls, optimizer, flags)
    models = FusedModels(plan, X, y, rows, n_slots=2, device=device, dtype=torch.float64)
    if compiles:
        models.compile()
    models.put_all({0: first, 1: second})
    models.train_epoch(1)
    if compiles:
        models.remove([0])
        places = {1: (second, (1, 2, 3)), 0: (late, (2, 3))}
        models.put(0, late)
    else:
        models.resize([1], extra=1)
        places = {0: (second, (1, 2, 3)), 1: (late, (2, 3))}
        models.put(1, late)
    models.train_epoch(2)
    models.train_epoch(3)
    outputs = models.predict(torch.stack([X[part[:30]] for part in rows]))
    for slot, (who, epochs) in places.items():
        for fold, part in enumerate(rows):
            alone = ReferenceTrainer(
                plan, who, fold, module=cls(), criterion=nn.CrossEntropyLoss(), device=device
            )
            alone.train(epochs, X, y, part)
            found = models.states(slot)[fold]
            for name, value in alone.state().items():
                if "num_batches" not in name:
                    torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-11)
            torch.testing.assert_close(
                outputs[fold, slot], alone.predict(X[part[:30]]), rtol=1e-9, atol=1e-11
            )


@pytest.mark.parametrize(("optimizer", "numbers"), OPTIMIZERS)
@pytest.mark.parametrize("cls", [Residual, Conv, Embedded, Attending])
def test_three_epochs_in_a_batch_are_three_epochs_alone(cls, optimizer, numbers):
    assert_trained_as_alone(cls, optimizer, numbers)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_as_on_a_cpu():
    """Kernel by kernel, and each step compiled and recorded as one graph."""
    for cls in (Residual, Conv, Embedded, Attending):
        for optimizer, numbers in OPTIMIZERS:
            assert_trained_as_alone(cls, optimizer, numbers, device="cuda")
        assert_trained_as_alone(cls, torch.optim.Adam, {}, device="cuda", compiles=True)


@pytest.mark.parametrize(
    "criterion", [nn.MSELoss(), nn.L1Loss(), nn.SmoothL1Loss(), nn.BCEWithLogitsLoss()]
)
def test_losses_of_several_outputs_are_certified(criterion):
    y = torch.rand(N, N_CLASSES)
    made, flags = member(Residual, torch.optim.Adam, 0.01, 0.2)
    plan = plan_of(Residual, torch.optim.Adam, flags, criterion=criterion)
    certify(plan, [made], reference=alone_of(Residual, criterion), X=inputs(Residual), y=y)


def test_a_diverged_model_touches_no_other():
    X, y = inputs(Residual), torch.randint(0, N_CLASSES, (N,))
    wild, flags = member(Residual, torch.optim.SGD, 1e30, 0.0)
    tame, _ = member(Residual, torch.optim.SGD, 0.05, 0.0)
    plan = plan_of(Residual, torch.optim.SGD, flags)
    both = FusedModels(plan, X, y, [torch.arange(N)] * 2, n_slots=2)
    both.put(0, wild)
    both.put(1, tame)
    one = FusedModels(plan, X, y, [torch.arange(N)] * 2, n_slots=1)
    one.put(0, tame)
    for number in (1, 2):
        losses, expected = both.train_epoch(number), one.train_epoch(number)
    assert not torch.isfinite(losses[:, 0]).any()
    torch.testing.assert_close(losses[:, 1], expected[:, 0])


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
        self.b.weight = self.a.weight


class Functional(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(6, N_CLASSES))

    def forward(self, X):
        return super().forward(nn.functional.alpha_dropout(X, 0.5, self.training))


class Counting(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(6, N_CLASSES))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, X):
        if self.training:
            self.seen = self.seen + 1
        return super().forward(X) * (1 + self.seen)


class Branching(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(6, N_CLASSES))

    def forward(self, X):
        return super().forward(X if X.mean() > 0 else -X)


class Rnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTMCell(6, 4)


class BatchMean(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(6, N_CLASSES))

    def forward(self, X):
        return super().forward(X - X.mean(0))


CAUSES = {
    Shared: "are one weight",
    Functional: "random operation",
    Counting: "seen",
    Branching: "data-dependent",
    Rnn: "LSTMCell",
    BatchMean: "are other ones",
}


@pytest.mark.parametrize("cls", CAUSES)
def test_what_would_be_trained_otherwise_is_refused(cls):
    made, flags = member(cls, torch.optim.SGD, 0.1, 0.0)

    def attempt():
        certify(
            plan_of(cls, torch.optim.SGD, flags),
            [made],
            reference=alone_of(cls),
            X=inputs(cls),
            y=torch.randint(0, N_CLASSES, (N,)),
        )

    with pytest.raises(NotFusibleError, match=CAUSES[cls]):
        attempt()


class Interrupted(nn.Module):
    """Drops by a function, and is interrupted afterwards when it is told to."""

    def __init__(self):
        super().__init__()
        self.a, self.interrupts = nn.Linear(4, 3), False

    def forward(self, X):
        out = F.dropout(self.a(X), 0.5, self.training)
        if self.interrupts:
            raise KeyboardInterrupt
        return out


def test_an_interrupted_forward_leaves_the_functions_of_other_modules_alone():
    batchable = BatchableModule(Interrupted())
    batchable.noise_shapes(torch.zeros(2, 4))
    batchable.module.train()
    batchable.module.interrupts = True
    with pytest.raises(KeyboardInterrupt):
        batchable.collect(lambda: batchable.module(torch.ones(2, 4)))
    kept = F.dropout(torch.ones(1000), 0.5).count_nonzero()
    assert 400 < kept < 600
    assert batchable.dropouts["()"].call == 1


def test_a_wrong_rule_is_not_certified(monkeypatch):
    """The certificate can fail: an optimizer that is slightly off is found."""
    made, flags = member(Residual, torch.optim.SGD, 0.1, 0.2)
    right = UPDATES[torch.optim.SGD]

    def wrong(w, g, state, hyper, own_flags):
        right.step(w, g * (1 + 1e-6), state, hyper, own_flags)

    changed = {**UPDATES, torch.optim.SGD: replace(right, step=wrong)}
    monkeypatch.setattr("hpo.fused._step.UPDATES", changed)
    plan = plan_of(Residual, torch.optim.SGD, flags)
    with pytest.raises(NotFusibleError, match="are other ones when the model is trained alone"):
        certify(
            plan,
            [made],
            reference=alone_of(Residual),
            X=inputs(Residual),
            y=torch.randint(0, N_CLASSES, (N,)),
        )


@pytest.mark.slow
def test_a_program_trains_the_same():
    """Compiled, with a free slot, a late member and a fold that has fewer batches.

    The late member is the first one whose layers drop anything: noise is drawn from then on.
    """
    X, y = inputs(Residual), torch.randint(0, N_CLASSES, (N,))
    rows = [torch.arange(0, 30), torch.arange(3, N)]
    first, flags = member(Residual, torch.optim.Adam, 0.05, 0.0, eps=1e-3, l1_lambda=1e-3)
    late, _ = member(Residual, torch.optim.Adam, 0.01, 0.5, eps=1e-3, max_norm=0.5)
    plan = plan_of(Residual, torch.optim.Adam, flags)
    runs = []
    for compiles in (False, True):
        models = FusedModels(plan, X, y, rows, n_slots=3, dtype=torch.float64)
        if compiles:
            models.compile()
        models.put(0, first)
        losses = [models.train_epoch(1)[:, 0]]
        models.put(2, late)
        losses += [models.train_epoch(2)[:, [0, 2]].flatten()]
        outputs = models.predict(torch.stack([X, X]))[:, [0, 2]]
        runs.append((torch.cat(losses), outputs))
    for eager, compiled in zip(*runs, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-10, atol=1e-12)


def test_a_graph_computes_what_its_function_does():
    """Also for arguments that stay, that change, and that are of another shape than before."""

    def function(weights, X, numbers):
        weights["w"].add_(numbers["lr"] * X.sum())
        return weights["w"] * 2

    weights = {"w": torch.ones(3)}
    graph, expected = Graph(function, n_fixed=2), torch.ones(3)
    X, lr = torch.rand(4), torch.tensor(0.5)
    for rate in (lr, lr, torch.tensor(0.25), lr, torch.tensor([0.1, 0.2, 0.3])):
        got = graph(weights, X, {"lr": rate})
        expected = expected + rate * X.sum()
        torch.testing.assert_close(got, 2 * expected)
        torch.testing.assert_close(weights["w"], expected)


def test_products_in_bfloat16_over_weights_in_float32():
    X, y = inputs(Residual), torch.randint(0, N_CLASSES, (N,))
    made, flags = member(Residual, torch.optim.SGD, 0.05, 0.0)
    losses = []
    for autocast in (False, True):
        plan = replace(plan_of(Residual, torch.optim.SGD, flags), autocast=autocast)
        models = FusedModels(plan, X, y, [torch.arange(32)], n_slots=1)
        models.put(0, replace(made, states=made.states[:1]))
        losses.append(torch.cat([models.train_epoch(number) for number in (1, 2, 3)]))
        assert {t.dtype for t in models.states(0)[0].values()} <= {torch.float32, torch.int64}
        assert models.predict(X[None]).dtype == torch.float32
    assert not torch.equal(*losses)
    torch.testing.assert_close(*losses, rtol=0.02, atol=0.02)


def test_what_a_slot_takes_grows_with_folds_and_samples():
    X, y = inputs(Residual), torch.randint(0, N_CLASSES, (N,))
    _, flags = member(Residual, torch.optim.Adam, 0.05, 0.0)
    plan = plan_of(Residual, torch.optim.Adam, flags)
    weights = sum(t.numel() for t in Residual().state_dict().values()) * 4

    def taken(plan, n_folds, n_valid):
        models = FusedModels(plan, X, y, [torch.arange(N)] * n_folds, n_slots=0)
        return models.bytes_per_slot(torch.zeros(n_folds, n_valid, 6))

    one = taken(plan, 1, 10)
    assert one > 5 * weights  # weight, gradient, copy and two averages
    assert taken(plan, 3, 10) == 3 * one
    assert taken(plan, 1, 1000) > one
    assert taken(replace(plan, batch_size=16), 1, 10) > one
