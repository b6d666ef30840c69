"""Random small modules and nets, and what a batch makes of them: the same, or refused."""

import random

import numpy as np
import torch
from skorch import NeuralNetClassifier
from torch import nn

from hpo.callbacks import GradientClipping, LRSchedule
from hpo.executors.fused.batch import TrialBatch
from hpo.executors.fused.extract import ModelExtractor
from hpo.executors.fused.reference import NetReference
from hpo.fused import FusedModels, NotFusibleError
from hpo.nets import RegularizedClassifier
from hpo.training.objective import Objective
from hpo.trial import Trial

__all__ = ["outcome"]

N, N_IN, WIDTH, N_CLASSES = 48, 6, 6, 3
_draws = np.random.default_rng(0)
X = _draws.normal(size=(N, N_IN)).astype("float32")
Y = (X @ _draws.normal(size=(N_IN, N_CLASSES))).argmax(1)
SPLITS = [(np.arange(0, 31), np.arange(31, N)), (np.arange(14, N), np.arange(0, 14))]

ACTIVATIONS = [nn.ReLU, nn.GELU, nn.Tanh, nn.SiLU, nn.ELU, nn.Sigmoid, nn.LeakyReLU, nn.Softplus]
NORMS = [nn.BatchNorm1d, nn.LayerNorm, lambda n: nn.GroupNorm(2, n), nn.RMSNorm]
OPTIMIZERS = [
    (torch.optim.SGD, {}),
    (torch.optim.SGD, {"optimizer__momentum": 0.9, "optimizer__weight_decay": 0.01}),
    (torch.optim.SGD, {"optimizer__momentum": 0.9, "optimizer__nesterov": True}),
    (torch.optim.Adam, {"optimizer__weight_decay": 0.01}),
    (torch.optim.AdamW, {}),
    (torch.optim.RMSprop, {"optimizer__momentum": 0.5}),
    (torch.optim.Adagrad, {}),
    (torch.optim.Adagrad, {"optimizer__initial_accumulator_value": 0.3}),
    (torch.optim.Adamax, {}),
]


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, X):
        return X + self.inner(X)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.register_buffer("shift", torch.linspace(-0.1, 0.1, WIDTH))

    def forward(self, X):
        return X * self.scale + self.shift


class Attending(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.attention = nn.MultiheadAttention(2, 1, dropout=p, batch_first=True)

    def forward(self, X):
        steps = X.reshape(len(X), 3, 2)
        return self.attention(steps, steps, steps)[0].flatten(1)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.n = 0

    def forward(self, X):
        self.n += self.training
        return X * (1.0 if self.n < 10**6 else 2.0)


class Centred(nn.Module):
    def forward(self, X):
        return X - X.mean(0)


class Noisy(nn.Module):
    def forward(self, X):
        return nn.functional.dropout(X, 0.2, self.training)


class Branching(nn.Module):
    def forward(self, X):
        return X if X.sum() > 0 else -X


class Chain(nn.Module):
    """Parts in a row, some of them in several places of it."""

    def __init__(self, make):
        super().__init__()
        self.parts, self.places = make()
        self.head = nn.Linear(WIDTH, N_CLASSES)

    def forward(self, X):
        for place in self.places:
            X = self.parts[place](X)
        return self.head(X)


def part(draw):  # noqa: PLR0911 - one for each kind
    """Return a random part; one in eight is of a kind that no batch can train."""
    kind = draw.random()
    if kind < 0.30:
        return nn.Linear(WIDTH, WIDTH, bias=draw.random() < 0.8)
    if kind < 0.50:
        return draw.choice(ACTIVATIONS)()
    if kind < 0.65:
        return draw.choice(NORMS)(WIDTH)
    if kind < 0.78:
        return nn.Dropout(draw.choice([0.0, 0.2, 0.5]))
    if kind < 0.84:
        return Residual(nn.Sequential(part(draw), part(draw)))
    if kind < 0.88:
        return draw.choice([Scaled(), Noisy(), Attending(draw.choice([0.0, 0.3]))])
    return draw.choice([Counting, Centred, Branching, nn.RReLU])()


def chain(seed):
    """Return how the parts of a `Chain` are made, the same ones whenever it is called."""

    def make():
        draw = random.Random(seed)
        parts = nn.ModuleList(part(draw) for _ in range(draw.randint(1, 4)))
        places = list(range(len(parts)))
        if draw.random() < 0.4:  # a part that is called again: a dropout, an activation, a layer
            places.insert(draw.randrange(len(places) + 1), draw.randrange(len(parts)))
        if draw.random() < 0.15:  # and one that is known by two names
            parts.append(parts[0])
            places.append(len(parts) - 1)
        return parts, tuple(places)

    return make


def net_of(seed):
    """Return a net of a random module with random settings."""
    draw = random.Random(seed + 1)
    optimizer, options = draw.choice(OPTIMIZERS)
    cls = draw.choice([NeuralNetClassifier, RegularizedClassifier])
    settings = {"optimizer": optimizer, "optimizer__eps": 1e-4, **options}
    if optimizer is torch.optim.SGD:
        del settings["optimizer__eps"]
    if cls is RegularizedClassifier:
        settings |= {"l1_lambda": draw.choice([0.0, 1e-3]), "l2_lambda": draw.choice([0.0, 1e-3])}
    callbacks = []
    if draw.random() < 0.3:
        callbacks.append(("schedule", LRSchedule("cosine", epochs=4, warmup_epochs=1)))
    if draw.random() < 0.3:
        callbacks.append(("clipping", GradientClipping("norm", max_norm=0.3)))
    if draw.random() < 0.3:
        settings["criterion__label_smoothing"] = 0.1
    return cls(
        Chain,
        module__make=chain(seed),
        criterion=nn.CrossEntropyLoss,
        lr=draw.choice([0.003, 0.03]),
        batch_size=draw.choice([5, 8, 16, 64]),
        iterator_train__shuffle=draw.random() < 0.7,
        iterator_train__drop_last=draw.random() < 0.2,
        callbacks=callbacks,
        max_epochs=2,
        train_split=None,
        verbose=0,
        **settings,
    )


def outcome(seed):
    """Return "same", or the reason why a batch refuses the net of a seed.

    Raises
    ------
    AssertionError
        If a batch that was certified trains other weights than the net's own fit does from the
        same draws, over two epochs and both folds, in float64.
    """
    torch.manual_seed(seed)
    try:
        extractor = ModelExtractor(Objective(net_of(seed), X, Y, cv=SPLITS, scoring="accuracy"))
        taken = extractor.extract_model(Trial(0, {}, seed))
        batch = TrialBatch(extractor, taken, device="cpu", n_slots=1, seed=seed)
        batch.certify()
    except NotFusibleError as error:
        return str(error)
    return _compared(extractor, taken, seed)


def _compared(extractor, taken, seed):
    plan, arrays = taken.plan(), extractor.arrays
    models = FusedModels(
        plan, arrays.X, arrays.y, arrays.train, n_slots=1, seed=seed, dtype=torch.float64
    )
    models.put(0, taken.member)
    for number in (1, 2):
        models.train_epoch(number)
    outputs = models.predict(arrays.X_valid)
    for fold, rows in enumerate(arrays.train):
        alone = NetReference(
            extractor.unfitted(taken.trial, "cpu"), plan, taken.member, fold, seed=seed
        )
        alone.train([1, 2], arrays.X, arrays.y, rows)
        n = len(arrays.y_valid[fold])
        found = {**models.states(0)[fold], "outputs": outputs[fold, 0, :n]}
        expected = {**alone.state(), "outputs": alone.predict(arrays.X_valid[fold, :n])}
        for name, value in expected.items():
            if "num_batches" not in name:
                gap = (found[name] - value).abs().max() / value.abs().max().clamp_min(1e-6)
                assert gap < 1e-7, f"seed {seed}: '{name}' differs by {gap:.1e}"
    return "same"
