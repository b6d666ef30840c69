"""A table of nets that people write: each is trained the same in a batch, or told why not.

``SAME``: the scores of every fold at every epoch are those of training alone. ``REFUSED``: the
trials are trained alone, and the note names what would not be carried.
"""

import warnings
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score, make_scorer
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
)
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split
from torch import nn
from torch.nn.utils import prune
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Subset, TensorDataset

from hpo._discovery import find
from hpo.callbacks import GradientClipping, LRSchedule
from hpo.executors import Ended, Failed, Reported
from hpo.executors.auto import AutoExecutor
from hpo.executors.fused import FusedExecutor, proof, supported
from hpo.executors.fused.batch import TrialBatch
from hpo.executors.fused.extract import ModelExtractor
from hpo.executors.fused.replayed_callbacks import ReplayedCallbacks
from hpo.executors.fused.told import TrainingNotes
from hpo.executors.serial import SerialExecutor
from hpo.fused import FusedModels, NotFusibleError, _criteria
from hpo.fused._criteria import SETTINGS
from hpo.fused._losses import LOSSES
from hpo.nets import RegularizedClassifier, RegularizedRegressor
from hpo.testing.executors import drive
from hpo.training.objective import Objective
from hpo.trial import Trial

pytestmark = pytest.mark.slow

N, N_IN, N_CLASSES = 90, 12, 3
rng = np.random.default_rng(0)
X = rng.normal(size=(N, N_IN)).astype("float32")
Y = (X @ rng.normal(size=(N_IN, N_CLASSES))).argmax(1)
NOISE = rng.permutation(Y)
TARGET = (X @ rng.normal(size=(N_IN, 1))).astype("float32")
TRIALS = [Trial(i, {"lr": 0.01 * (i + 1)}, i) for i in range(2)]


class MLP(nn.Module):
    def __init__(self, n_out=N_CLASSES, act=nn.ReLU, norm=nn.Identity, p=0.0):
        super().__init__()
        self.a, self.b = nn.Linear(N_IN, 8), nn.Linear(8, n_out)
        self.norm, self.act, self.drop = norm(8), act(), nn.Dropout(p)

    def forward(self, X):
        return self.b(self.drop(self.act(self.norm(self.a(X)))))


def module(build=None, forward=None, base=MLP):
    """Return a subclass of ``base``, whose ``build`` and ``forward`` see it as ``self``."""

    class Made(base):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            if build:
                build(self)

    if forward:
        Made.forward = forward
    return Made


def image(*layers):
    """Return a convolutional net on rows as images of 3 x 4."""

    class Images(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(
                nn.Unflatten(1, (1, 3, 4)), *[make() for make in layers], nn.Flatten()
            )
            self.head = nn.LazyLinear(N_CLASSES)
            with torch.no_grad():
                width = self.layers.eval()(torch.zeros(2, N_IN)).shape[1]
            self.layers.train()
            self.head = nn.Linear(width, N_CLASSES)

        def forward(self, X):
            return self.head(self.layers(X))

    return Images


def sequence(make):
    """Return an attention on rows as sequences of 3 x 4."""

    class Sequences(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = make(), nn.Linear(4, N_CLASSES)

        def forward(self, X):
            X = X.reshape(-1, 3, 4)
            return self.head(self.layer(X, X, X)[0].mean(1))

    return Sequences


def net(made=MLP, cls=NeuralNetClassifier, **params):
    given = dict(
        criterion=nn.CrossEntropyLoss,
        lr=0.05,
        max_epochs=2,
        batch_size=16,
        train_split=None,
        verbose=0,
    )
    return cls(made, **{**given, **params})


def overriding(name, base=NeuralNetClassifier):
    """Return a net class that overrides a method and only calls the old one."""

    def method(self, *args, **kwargs):
        return getattr(super(made, self), name)(*args, **kwargs)

    method.__name__ = name
    made = type(f"Own_{name}", (base,), {name: method})
    return made


def regression(made=None, **params):
    kwargs = {"criterion": nn.MSELoss, "lr": 0.01, "module__n_out": 1, **params}
    return (
        net(made or MLP, **{"cls": NeuralNetRegressor, **kwargs}),
        X,
        TARGET,
        "neg_mean_squared_error",
    )


class Residual(MLP):
    def forward(self, X):
        return super().forward(X + 0.1 * X.tanh())


class Gated(MLP):
    def forward(self, X):
        hidden = self.a(X)
        return self.b(hidden * torch.sigmoid(hidden))


class Embedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(5, 3), nn.Linear(3 * N_IN, N_CLASSES)

    def forward(self, X):
        return self.head(self.table(X).flatten(1))


class Probabilities(MLP):
    def forward(self, X):
        return super().forward(X).softmax(-1)


class WithBuffer(MLP):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.full((N_IN,), 0.5))

    def forward(self, X):
        return super().forward(X * self.scale)


class Helpers(NeuralNetClassifier):
    """What is new in it is called by nobody but the user."""

    def __init__(self, *args, extra=3, **kwargs):
        super().__init__(*args, **kwargs)
        self.extra = extra

    def describe(self):
        return self.extra


class Halved(NeuralNetClassifier):
    def initialize_module(self):
        super().initialize_module()
        with torch.no_grad():
            self.module_.a.weight.mul_(0.5)
        return self


WEIGHT = torch.tensor([0.5, 3.0, 1.0])
LABELS = (Y > 0).astype("float32")
COUNTS = np.round(np.exp(TARGET / TARGET.std())).astype("float32")


def weighted(**params):
    return net(criterion__weight=WEIGHT, **params)


class Flat(MLP):
    """Returns a vector."""

    def __init__(self, **kwargs):
        super().__init__(n_out=1, **kwargs)

    def forward(self, X):
        return super().forward(X)[:, 0]


class Sigmoid(Flat):
    def forward(self, X):
        return super().forward(X).sigmoid()


def binary(made=Flat, *, scoring="accuracy", y=LABELS, **params):
    params = {"criterion": nn.BCEWithLogitsLoss, **params}
    return net(made, NeuralNetBinaryClassifier, **params), X, y, scoring


def flat(made=Flat, y=TARGET[:, 0], scoring="neg_mean_squared_error", **params):
    cls = params.pop("cls", NeuralNetRegressor)
    return net(made, cls, **{"criterion": nn.MSELoss, "lr": 0.01, **params}), X, y, scoring


CLIPPED = [("clipping", GradientClipping("norm", max_norm=1.0))]


def two_targets(**params):
    both = np.hstack([TARGET, -TARGET])
    made, *_ = regression(module__n_out=2, **params)
    return made, X, both, "neg_mean_squared_error"


class Focal(nn.CrossEntropyLoss):
    def forward(self, out, y):
        return ((1 - torch.exp(-F.cross_entropy(out, y, reduction="none"))) ** 2).mean()


class WeightedFocal(nn.Module):
    """With a weight for each class, a part of its own, and an average by hand."""

    def __init__(self, alpha=(0.2, 0.5, 0.3), gamma=2.0):
        super().__init__()
        self.gamma, self.each = gamma, nn.CrossEntropyLoss(reduction="none")
        self.register_buffer("alpha", torch.tensor(alpha))

    def forward(self, out, y):
        loss = self.each(out, y)
        return (self.alpha[y] * (1 - torch.exp(-loss)) ** self.gamma * loss).sum() / len(y)


class PopularFocal(nn.Module):
    """Its weights are a plain attribute, which no call moves or widens."""

    def __init__(self, gamma=2):
        super().__init__()
        self.gamma, self.alpha = gamma, torch.tensor([1.0, 2.0, 0.5])

    def forward(self, inputs, targets):
        loss = F.cross_entropy(inputs, targets, reduction="none", weight=self.alpha)
        pt = torch.exp(-loss)
        return ((1 - pt) ** self.gamma * loss).mean() * (1 if self.training else 2)


class LogCosh(nn.Module):
    def forward(self, out, y):
        return torch.mean(torch.log(torch.cosh(out - y)) + 0.1 * F.mse_loss(out, y))


class Quantile(nn.Module):
    def __init__(self, q=0.8):
        super().__init__()
        self.q = q

    def forward(self, out, y):
        return torch.max(self.q * (y - out), (self.q - 1) * (y - out)).mean()


class OwnProbabilities(nn.NLLLoss):
    def forward(self, logs, y):
        return -(logs.exp().gather(1, y[:, None]) ** 0.7).mean()


class BinaryFocal(nn.BCEWithLogitsLoss):
    def forward(self, out, y):
        loss = F.binary_cross_entropy_with_logits(out, y, reduction="none")
        return (0.75 * (1 - torch.exp(-loss)) ** 2 * loss).mean()


def einsum(self, X):
    return self.b(torch.einsum("ni,oi->no", X, self.a.weight).relu())


class FrozenFirst(MLP):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.a.weight.requires_grad_(False)


def plateau():
    return ("rate", LRScheduler("ReduceLROnPlateau", patience=0, monitor="valid_loss"))


UNEVEN = torch.tensor([1.0, 5.0, 0.2])

TOGETHER = {
    "class weights, a split, a stop and a plateau": net(
        criterion__weight=UNEVEN,
        train_split=ValidSplit(4),
        max_epochs=5,
        callbacks=[EarlyStopping(patience=1, sink=str), plateau()],
    ),
    "a sum over uneven validation minibatches": net(
        criterion__reduction="sum",
        lr=0.001,
        train_split=ValidSplit(4),
        iterator_valid__batch_size=7,
        max_epochs=4,
        callbacks=[plateau()],
    ),
    "class weights over uneven validation minibatches": net(
        criterion__weight=UNEVEN, train_split=ValidSplit(3), iterator_valid__batch_size=11
    ),
    "frozen weights, clipping, class weights and smoothing": net(
        FrozenFirst,
        criterion__weight=UNEVEN,
        criterion__label_smoothing=0.1,
        optimizer=torch.optim.AdamW,
        callbacks=[GradientNormClipping(0.05)],
    ),
    "a binary classifier with a weight, a split, a stop and a score": (
        net(
            cls=NeuralNetBinaryClassifier,
            criterion=nn.BCEWithLogitsLoss,
            criterion__pos_weight=torch.tensor(3.0),
            threshold=0.3,
            module__n_out=1,
            train_split=ValidSplit(3),
            iterator_valid__batch_size=5,
            max_epochs=4,
            callbacks=[EarlyStopping(patience=1, sink=str), EpochScoring("f1", name="f")],
        ),
        X,
        (Y > 0).astype("float32"),
        "accuracy",
    ),
}
"""What is carried alone is carried together."""

SAME = {
    **TOGETHER,
    "relu": net(),
    "tanh": net(module__act=nn.Tanh),
    "gelu": net(module__act=nn.GELU),
    "elu": net(module__act=nn.ELU),
    "silu": net(module__act=nn.SiLU),
    "leaky relu": net(module__act=nn.LeakyReLU),
    "softplus": net(module__act=nn.Softplus),
    "layer norm": net(module__norm=nn.LayerNorm),
    "batch norm": net(module__norm=nn.BatchNorm1d),
    "rms norm": net(module__norm=nn.RMSNorm),
    "residual": net(Residual),
    "gated": net(Gated),
    "einsum": net(module(forward=einsum)),
    "functional layer norm": net(
        module(forward=lambda self, X: self.b(F.layer_norm(self.a(X), (8,)).relu()))
    ),
    "sequential": net(nn.Sequential(nn.Linear(N_IN, 8), nn.ReLU(), nn.Linear(8, N_CLASSES))),
    "linear": net(nn.Linear(N_IN, N_CLASSES)),
    "no bias": net(nn.Linear(N_IN, N_CLASSES, bias=False)),
    "embedding": (net(Embedding), np.abs(X * 2).astype("int64") % 5, Y, "neg_log_loss"),
    "buffer": net(WithBuffer),
    "convolution": net(image(lambda: nn.Conv2d(1, 4, 3, padding=1), nn.ReLU)),
    "pooling": net(image(lambda: nn.Conv2d(1, 4, 3, padding=1), lambda: nn.MaxPool2d(2))),
    "average pooling": net(image(lambda: nn.Conv2d(1, 4, 2), lambda: nn.AdaptiveAvgPool2d(1))),
    "depthwise": net(
        image(lambda: nn.Conv2d(1, 4, 1), lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4))
    ),
    "group norm": net(image(lambda: nn.Conv2d(1, 4, 1), lambda: nn.GroupNorm(2, 4), nn.ReLU)),
    "batch norm 2d": net(image(lambda: nn.Conv2d(1, 4, 1), lambda: nn.BatchNorm2d(4), nn.ReLU)),
    "attention": net(sequence(lambda: nn.MultiheadAttention(4, 2, batch_first=True))),
    "probabilities": net(Probabilities, criterion=nn.NLLLoss),
    "regression": regression(),
    "absolute loss": regression(criterion=nn.L1Loss),
    "smooth loss": regression(criterion=nn.SmoothL1Loss),
    "label smoothing": net(criterion__label_smoothing=0.1),
    "class weights": weighted(),
    "class weights, label smoothing": weighted(criterion__label_smoothing=0.2),
    "a class of no weight": net(criterion__weight=torch.tensor([1.0, 0.0, 2.0])),
    "class weights of a sum": weighted(criterion__reduction="sum"),
    "class weights of probabilities": net(
        Probabilities, criterion=nn.NLLLoss, criterion__weight=WEIGHT
    ),
    "a sum": net(criterion__reduction="sum"),
    "a label that is ignored and never met": net(criterion__ignore_index=-1),
    "multi margin": (net(criterion=nn.MultiMarginLoss), X, Y, "accuracy"),
    "squared multi margin": (
        net(
            criterion=nn.MultiMarginLoss,
            criterion__p=2,
            criterion__margin=0.5,
            criterion__weight=WEIGHT,
        ),
        X,
        Y,
        "accuracy",
    ),
    "binary": binary(),
    "binary, a column": binary(MLP, module__n_out=1),
    "binary, log loss": binary(scoring="neg_log_loss"),
    "binary, roc auc": binary(scoring="roc_auc"),
    "binary, balanced accuracy": binary(scoring="balanced_accuracy", threshold=0.6),
    "binary, f1": binary(scoring="f1", threshold=0.7),
    "binary, several scores": binary(scoring=["f1", "accuracy", "average_precision"]),
    "binary, own score": binary(scoring=None, threshold=0.3),
    "binary, pos_weight": binary(criterion__pos_weight=torch.tensor(3.0)),
    "binary, pos_weight of one": binary(
        criterion__pos_weight=torch.tensor([3.0]), criterion__weight=torch.tensor([0.4])
    ),
    "binary, a sum": binary(criterion__reduction="sum"),
    "binary, batch norm": binary(module__norm=nn.BatchNorm1d),
    "binary, probabilities": binary(Sigmoid, criterion=nn.BCELoss, scoring="neg_log_loss"),
    "binary, focal": binary(criterion=BinaryFocal, scoring="roc_auc"),
    "binary, a threshold in float64": binary(threshold=np.float64(0.5)),
    "several labels": (
        net(
            MLP,
            NeuralNetRegressor,
            criterion=nn.BCEWithLogitsLoss,
            criterion__pos_weight=WEIGHT,
            criterion__weight=torch.tensor([1.0, 2.0, 0.5]),
            predict_nonlinearity=None,
        ),
        X,
        np.eye(3, dtype="float32")[Y],
        "neg_mean_squared_error",
    ),
    "a vector": flat(),
    "a vector, absolute": flat(criterion=nn.L1Loss, scoring="neg_mean_absolute_error"),
    "a vector, r2": flat(scoring="r2"),
    "a vector, another score": flat(scoring="neg_median_absolute_error"),
    "a flat target of a column": flat(MLP, module__n_out=1, cls=RegularizedRegressor),
    "a column as the target of a vector": flat(y=TARGET, cls=RegularizedRegressor, scoring="r2"),
    "a flat target in float64": flat(
        MLP, y=TARGET[:, 0].astype("float64"), module__n_out=1, cls=RegularizedRegressor
    ),
    "a flat target of truth values": flat(
        MLP,
        y=Y > 0,
        module__n_out=1,
        cls=RegularizedRegressor,
        criterion=nn.BCEWithLogitsLoss,
        predict_nonlinearity=None,
    ),
    "a flat target of whole numbers": flat(
        MLP,
        y=COUNTS[:, 0].astype("int64"),
        module__n_out=1,
        cls=RegularizedRegressor,
        scoring="r2",
        l1_lambda=1e-3,
    ),
    "huber": regression(criterion=nn.HuberLoss),
    "huber of delta": two_targets(criterion=nn.HuberLoss, criterion__delta=0.3),
    "smooth loss of beta": two_targets(criterion=nn.SmoothL1Loss, criterion__beta=0.3),
    "smooth loss of beta 0": regression(criterion=nn.SmoothL1Loss, criterion__beta=0),
    "a sum of squares": two_targets(criterion__reduction="sum", callbacks=CLIPPED),
    "poisson": flat(y=COUNTS[:, 0], criterion=nn.PoissonNLLLoss),
    "poisson in full": flat(y=COUNTS[:, 0], criterion=nn.PoissonNLLLoss, criterion__full=True),
    "poisson of rates": flat(
        Sigmoid, y=COUNTS[:, 0], criterion=nn.PoissonNLLLoss, criterion__log_input=False
    ),
    "focal": net(criterion=Focal),
    "weighted focal": (net(criterion=WeightedFocal), X, Y, "accuracy"),
    "focal of gamma": (net(criterion=WeightedFocal, criterion__gamma=0.5), X, Y, "accuracy"),
    "popular focal": (net(criterion=PopularFocal), X, Y, "accuracy"),
    "log cosh": regression(criterion=LogCosh),
    "log cosh of two": two_targets(criterion=LogCosh),
    "quantiles of a vector": flat(criterion=Quantile, scoring="neg_max_error"),
    "quantiles of a flat target": flat(
        MLP, module__n_out=1, cls=RegularizedRegressor, criterion=Quantile
    ),
    "own loss of probabilities": net(Probabilities, criterion=OwnProbabilities),
    "soft margin": flat(y=2 * LABELS - 1, criterion=nn.SoftMarginLoss),
    "another of torch's losses": (
        net(
            MLP,
            NeuralNetRegressor,
            criterion=nn.MultiLabelSoftMarginLoss,
            criterion__weight=WEIGHT,
        ),
        X,
        np.eye(3, dtype="float32")[Y],
        "neg_mean_squared_error",
    ),
    "momentum": net(optimizer__momentum=0.9, optimizer__nesterov=True),
    "adam": net(optimizer=torch.optim.Adam, optimizer__eps=1e-4, lr=0.01),
    "adamw": net(optimizer=torch.optim.AdamW, optimizer__eps=1e-4, lr=0.01),
    "rmsprop": net(optimizer=torch.optim.RMSprop, optimizer__eps=1e-4, lr=0.01),
    "adagrad": net(optimizer=torch.optim.Adagrad, optimizer__eps=1e-4, lr=0.01),
    "weight decay": net(optimizer__weight_decay=0.1),
    "schedule": net(callbacks=[("schedule", LRSchedule("cosine", epochs=4))]),
    "clipping": net(callbacks=[("clipping", GradientClipping("norm", max_norm=0.1))]),
    "penalties": net(cls=RegularizedClassifier, l1_lambda=1e-3, l2_lambda=1e-3),
    "helpers": net(cls=Helpers),
    "own initialisation": net(cls=Halved),
    "an instance": net(MLP()),
    "drop last": net(iterator_train__drop_last=True),
    "one batch": net(batch_size=-1),
    "pipeline": make_pipeline(StandardScaler(), net()),
    "no callbacks": net(callbacks="disable"),
    "nonlinearity": net(predict_nonlinearity=lambda out: (2 * out).softmax(-1)),
}


def scheduled(policy, **params):
    return net(max_epochs=7, callbacks=[("schedule", LRScheduler(policy, **params))])


def stopping(monitor="train_loss", *more, **params):
    return net(
        max_epochs=12,
        lr=0.3,
        callbacks=[*more, EarlyStopping(monitor, **{"patience": 2, **params})],
    )


def splitting(split, *callbacks, **params):
    """Return a net that learns labels by heart: its validation loss rises."""
    return (overfitting(split, *callbacks, **params), X, NOISE, "neg_log_loss")


def overfitting(split, *callbacks, **params):
    fast = {"optimizer__momentum": 0.95, "max_epochs": 12, "batch_size": 8}
    return net(train_split=split, callbacks=[*callbacks], **fast, **params)


VALIDATION = ValidSplit(4, stratified=True)
GIVEN = predefined_split(Dataset(X[:30], Y[:30]))
SAME |= {
    "skorch's clipping": net(callbacks=[GradientNormClipping(0.1)]),
    "skorch's clipping, not at all": net(callbacks=[GradientNormClipping()]),
    "StepLR": scheduled("StepLR", step_size=2, gamma=0.3),
    "MultiStepLR": scheduled("MultiStepLR", milestones=[2, 4]),
    "ExponentialLR": scheduled("ExponentialLR", gamma=0.7),
    "CosineAnnealingLR": scheduled("CosineAnnealingLR", T_max=5, eta_min=1e-3),
    "LambdaLR": scheduled("LambdaLR", lr_lambda=lambda epoch: 1 / (epoch + 1)),
    "MultiplicativeLR": scheduled(lr_scheduler.MultiplicativeLR, lr_lambda=lambda epoch: 0.8),
    "ConstantLR": scheduled(lr_scheduler.ConstantLR, factor=0.2, total_iters=3),
    "LinearLR": scheduled(lr_scheduler.LinearLR, start_factor=0.1, total_iters=4),
    "PolynomialLR": scheduled(lr_scheduler.PolynomialLR, total_iters=6, power=2.0),
    "warm restarts": scheduled(lr_scheduler.CosineAnnealingWarmRestarts, T_0=2, T_mult=2),
    "skorch's warm restarts": scheduled("WarmRestartLR", max_lr=0.2, base_period=3),
    "by minibatches": scheduled("StepLR", step_size=3, gamma=0.9, step_every="batch"),
    "skorch's warm restarts by minibatches": scheduled(
        "WarmRestartLR", max_lr=0.2, base_period=5, step_every="batch"
    ),
    "OneCycleLR": scheduled(
        lr_scheduler.OneCycleLR,
        max_lr=0.3,
        total_steps=4 * 7,
        cycle_momentum=False,
        step_every="batch",
    ),
    "CyclicLR": scheduled(
        "CyclicLR",
        base_lr=0.01,
        max_lr=0.3,
        step_size_up=3,
        cycle_momentum=False,
        step_every="batch",
    ),
    "a schedule of no name": scheduled("StepLR", step_size=2, event_name=None),
    "ReduceLROnPlateau": scheduled("ReduceLROnPlateau", patience=0, threshold=0.1),
    "ReduceLROnPlateau, on the validation part": splitting(
        VALIDATION, LRScheduler("ReduceLROnPlateau", monitor="valid_loss", patience=0)
    ),
    "ReduceLROnPlateau, on accuracy": splitting(
        VALIDATION, LRScheduler("ReduceLROnPlateau", monitor="valid_acc", mode="max", patience=0)
    ),
    "a plateau of hpo's": net(
        max_epochs=9, lr=0.5, callbacks=[LRSchedule("plateau", patience=0, warmup_epochs=2)]
    ),
    "a plateau of hpo's, on the validation part": splitting(
        VALIDATION, LRSchedule("plateau", patience=0)
    ),
    "one cycle of hpo's": net(max_epochs=6, callbacks=[LRSchedule("one_cycle", epochs=5)]),
    "stopping": stopping(threshold=0.1),
    "stopping at once": stopping(patience=1, threshold=0.5),
    "stopping by absolute differences": stopping(threshold=0.05, threshold_mode="abs"),
    "stopping where greater is better": stopping(lower_is_better=False),
    "stopping with a schedule": stopping(
        "train_loss", LRScheduler("ExponentialLR", gamma=0.5), threshold=0.05
    ),
    "stopping before the schedule is told": net(
        max_epochs=12,
        callbacks=[
            EarlyStopping("train_loss", patience=1, threshold=0.2),
            LRScheduler("ExponentialLR", gamma=0.5),
        ],
    ),
    "stopping with the best weights": splitting(
        VALIDATION, EarlyStopping(patience=2, load_best=True)
    ),
    "the best weights of all epochs": splitting(
        VALIDATION, EarlyStopping(patience=50, load_best=True), module__norm=nn.BatchNorm1d
    ),
    "stopping on the validation part": splitting(VALIDATION, EarlyStopping(patience=2)),
    "stopping on the accuracy": splitting(
        VALIDATION, EarlyStopping("valid_acc", lower_is_better=False, patience=1)
    ),
    "stopping on a score": splitting(
        VALIDATION,
        EpochScoring("f1_macro", lower_is_better=False),
        EarlyStopping("f1_macro", lower_is_better=False, patience=1),
    ),
    "stopping on whether it was the best": splitting(
        VALIDATION, EarlyStopping("valid_loss_best", lower_is_better=False, patience=3)
    ),
    "a validation part": net(train_split=ValidSplit(5)),
    "a validation part, stratified": net(train_split=ValidSplit(5, stratified=True)),
    "a validation part, at random": net(train_split=ValidSplit(0.3, random_state=3)),
    "a validation part, at random and stratified": net(
        train_split=ValidSplit(0.3, stratified=True, random_state=np.random.RandomState(3))
    ),
    "a validation part by KFold": net(
        train_split=ValidSplit(KFold(3, shuffle=True, random_state=1))
    ),
    "a validation part by StratifiedKFold": net(
        train_split=ValidSplit(StratifiedKFold(3), stratified=True)
    ),
    "a validation part by ShuffleSplit": net(
        train_split=ValidSplit(ShuffleSplit(test_size=0.2, random_state=1))
    ),
    "a validation part that is given": net(train_split=GIVEN),
    "a validation part in a Pipeline": make_pipeline(
        StandardScaler(), overfitting(VALIDATION, EarlyStopping(patience=2))
    ),
    "a given validation part in a Pipeline": make_pipeline(
        StandardScaler(), net(train_split=GIVEN)
    ),
    "a validation part, of a regression": regression(train_split=ValidSplit(4)),
    "a validation part, a regression of hpo's": regression(
        cls=RegularizedRegressor, train_split=ValidSplit(4), l2_lambda=1e-3
    ),
    "a validation part, with batch norm and dropout off": splitting(
        VALIDATION, module__norm=nn.BatchNorm1d
    ),
    "a validation part, of one batch": net(train_split=VALIDATION, batch_size=-1),
    "a validation part, last batch dropped": net(
        train_split=VALIDATION, iterator_train__drop_last=True
    ),
    "a validation part, smoothed labels": net(
        train_split=VALIDATION, criterion__label_smoothing=0.1
    ),
    "a validation part, probabilities": net(
        Probabilities, criterion=nn.NLLLoss, train_split=VALIDATION
    ),
    "a validation part, penalties": net(
        cls=RegularizedClassifier, l1_lambda=1e-3, l2_lambda=1e-3, train_split=VALIDATION
    ),
    "a validation part, no callbacks": net(train_split=VALIDATION, callbacks="disable"),
    "scores of a validation part": splitting(
        VALIDATION,
        EpochScoring("neg_log_loss", name="log", lower_is_better=False),
        EpochScoring("f1_macro", use_caching=False),
        EpochScoring(balanced_accuracy_score, lower_is_better=None),
        EpochScoring(make_scorer(balanced_accuracy_score), name="made"),
        EpochScoring(None, name="own"),
    ),
    "scores of no validation part": net(
        callbacks=[EpochScoring("f1_macro"), BatchScoring("accuracy"), ProgressBar()]
    ),
    "another score for the default one": net(callbacks__valid_acc=EpochScoring("f1_macro")),
    "logs": net(callbacks=[PrintLog(sink=str)], callbacks__print_log=None),
    "without its timer": net(callbacks__epoch_timer=None),
}


class Clamped(Callback):
    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            net.module_.a.weight.data.clamp_(-0.1, 0.1)


class OwnSchedule(LRSchedule):
    def on_epoch_begin(self, net, **kwargs):
        super().on_epoch_begin(net, **kwargs)


class OwnLoader(DataLoader):
    pass


class OwnDataset(Dataset):
    def transform(self, X, y):
        return super().transform(-X, y)


class OwnSGD(torch.optim.SGD):
    def step(self, closure=None):
        return super().step(closure)


class OfTheBatch(nn.Module):
    """A popular mistake: the factor is that of the mean."""

    def forward(self, out, y):
        loss = F.cross_entropy(out, y)
        return (1 - torch.exp(-loss)) ** 2 * loss


class RootMeanSquare(nn.MSELoss):
    def forward(self, out, y):
        return super().forward(out, y).sqrt()


class Capped(nn.CrossEntropyLoss):
    """Is a mean over samples up to a value that no net starts at."""

    def forward(self, out, y):
        return super().forward(out, y).clamp(max=100)


class Drawn(WeightedFocal):
    def __init__(self):
        super().__init__(alpha=torch.rand(N_CLASSES).tolist())


class SumOfFocal(Focal):
    def forward(self, out, y):
        return super().forward(out, y) * len(y)


class Hardest(nn.Module):
    def forward(self, out, y):
        return F.cross_entropy(out, y, reduction="none").topk(len(y) // 2 + 1).values.mean()


class WeightedMean(nn.Module):
    def forward(self, out, y):
        return F.cross_entropy(out, y, weight=out.new_tensor([1.0, 5.0, 1.0]))


class Reckless(nn.Module):
    def forward(self, out, y):
        loss = F.cross_entropy(out, y)
        return loss if loss < 5 else loss / 2


class Noisy(nn.Module):
    def forward(self, out, y):
        return F.cross_entropy(out + 0.1 * torch.randn_like(out), y)


class NoisyByNumPy(nn.Module):
    def forward(self, out, y):
        return F.cross_entropy(out, y) + 1e-12 * np.random.rand()


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.n_calls = 0

    def forward(self, out, y):
        self.n_calls += 1
        return F.cross_entropy(out, y)


class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(N_CLASSES))

    def forward(self, out, y):
        with torch.no_grad():
            self.mean = 0.9 * self.mean + 0.1
        return F.cross_entropy(out, y)


class Learned(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, out, y):
        return F.cross_entropy(out * self.scale, y)


class Trained(nn.CrossEntropyLoss):
    def train(self, mode=True):
        return super().train(mode)


class Present(nn.Module):
    """Leaves a target out that is 0, of which there is one, late in the data."""

    def forward(self, out, y):
        return ((out - y).square() * (y != 0)).sum() / (y != 0).sum()


class SoftMargin(nn.SoftMarginLoss):
    pass


class Masked(nn.Module):
    def forward(self, out, y):
        return F.cross_entropy(out[y >= 0], y[y >= 0])


def judged_by_labels(criterion):
    """Return a case where what the module returns need be no probabilities."""
    return net(criterion=criterion), X, Y, "accuracy"


def with_own_forward():
    criterion = nn.CrossEntropyLoss()
    criterion.forward = F.cross_entropy
    return criterion


def with_a_hook():
    criterion = nn.CrossEntropyLoss()
    criterion.register_forward_hook(hook)
    return criterion


def with_more():
    criterion = nn.CrossEntropyLoss()
    criterion.temperature = 2.0
    return criterion


class LossMixin:
    def get_loss(self, *args, **kwargs):
        return 2 * super().get_loss(*args, **kwargs)


class Mixed(LossMixin, NeuralNetClassifier):
    pass


class Named(NeuralNetClassifier):
    @property
    def classes_(self):
        return np.arange(N_CLASSES)


class Frozen(MLP):
    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self


class OwnStepLR(lr_scheduler.StepLR):
    pass


class Stops(EarlyStopping):
    pass


def first_row(net, X, y):
    return float(y[0])


def first_half(dataset, y=None):
    half = len(dataset) // 2
    return Subset(dataset, range(half)), Subset(dataset, range(half, len(dataset)))


def hook(self, *_):
    return None


def scripted(self):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        self.act = torch.jit.script(nn.Sequential(nn.ReLU()))


def tied(self):
    self.c = nn.Linear(8, 8)
    self.c.weight = nn.Parameter(torch.eye(8))
    self.d = nn.Linear(8, 8)
    self.d.weight = self.c.weight


def by_sign(self, X):
    out = MLP.forward(self, X)
    return out if X.sum() > 0 else -out


def with_instance_method():
    made = net()
    made.predict = lambda X: np.zeros(len(X), dtype="int64")
    return made


METHODS = [
    "notify",
    "on_batch_begin",
    "on_batch_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_train_begin",
    "on_train_end",
    "on_grad_computed",
    "predict",
    "predict_proba",
    "forward",
    "forward_iter",
    "infer",
    "evaluation_step",
    "score",
    "check_data",
    "train_step",
    "train_step_single",
    "validation_step",
    "get_loss",
    "fit",
    "partial_fit",
    "fit_loop",
    "run_single_epoch",
    "get_dataset",
    "get_iterator",
    "get_split_datasets",
    "initialize",
    "initialize_optimizer",
    "initialize_callbacks",
    "get_params_for_optimizer",
    "get_train_step_accumulator",
    "get_all_learnable_params",
]
REFUSED = {
    **{f"`{name}`": net(cls=overriding(name)) for name in METHODS},
    "`get_loss` (": net(cls=Mixed),
    "`classes_`": net(cls=Named),
    "(Stops)": net(callbacks=[Stops("train_loss")]),
    "(Clamped)": net(callbacks=[("clamped", Clamped())]),
    "(OwnSchedule)": net(callbacks=[("own", OwnSchedule("cosine", epochs=4))]),
    "'f1' (EpochScoring), which scores the training part": net(
        callbacks=[("f1", EpochScoring("f1_macro", on_train=True))]
    ),
    "(EpochScoring), whose scoring is a function of its own": net(
        train_split=ValidSplit(5), callbacks=[EpochScoring(first_row)]
    ),
    "(EpochScoring), which has a target_extractor of its own": net(
        train_split=ValidSplit(5), callbacks=[EpochScoring("f1_macro", target_extractor=np.asarray)]
    ),
    "(BatchScoring), which scores minibatches": net(
        train_split=ValidSplit(5), callbacks=[BatchScoring("accuracy")]
    ),
    "(PassthroughScoring), which takes the mean of 'event_lr'": net(
        callbacks=[PassthroughScoring("event_lr", on_train=True)]
    ),
    "gradient_clip_norm_type=inf": net(callbacks=[GradientNormClipping(0.1, float("inf"))]),
    "gradient_clip_norm_type=1": net(callbacks=[GradientNormClipping(0.1, 1)]),
    "gradient_clip_value=0": net(callbacks=[GradientNormClipping(0)]),
    "another one that clips": net(
        callbacks=[GradientNormClipping(0.1), ("other", GradientClipping("norm"))]
    ),
    "which has a name that another one has (f1_macro)": net(
        train_split=ValidSplit(5), callbacks=[EpochScoring("f1_macro"), EpochScoring("f1_macro")]
    ),
    "a name that another one has (valid_loss)": net(
        train_split=ValidSplit(5), callbacks=[EpochScoring("f1_macro", name="valid_loss")]
    ),
    "event_name='train_loss'": scheduled("StepLR", step_size=1, event_name="train_loss"),
    "beside another one that clips gradients": net(
        callbacks=[GradientClipping("norm"), GradientClipping("value")]
    ),
    "another schedule": net(
        callbacks=[LRScheduler("StepLR", step_size=1), LRSchedule("cosine", epochs=4)]
    ),
    "(LRScheduler), whose policy (OwnStepLR)": scheduled(OwnStepLR, step_size=1),
    "momentum (pass cycle_momentum=False)": scheduled(
        lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=80, step_every="batch"
    ),
    "the momentum": scheduled(
        "CyclicLR", base_lr=0.01, max_lr=0.1, base_momentum=0.5, max_momentum=0.8
    ),
    "plateau by minibatches": scheduled("ReduceLROnPlateau", step_every="batch", patience=0),
    "whose monitor is a function": scheduled(
        "ReduceLROnPlateau", monitor=lambda net: net.history[-1, "train_loss"]
    ),
    "a train_split of its own (first_half": net(train_split=first_half),
    "ValidSplit has a list": net(train_split=ValidSplit([(range(40), range(40, 60))])),
    "another validation part for each trial": net(train_split=ValidSplit(0.2)),
    "each trial (give it a random_state)": net(train_split=ValidSplit(KFold(3, shuffle=True))),
    "no skorch Dataset": net(
        train_split=predefined_split(TensorDataset(torch.tensor(X[:20]), torch.tensor(Y[:20])))
    ),
    "`iterator_train__num_workers`": net(iterator_train__num_workers=0),
    "`iterator_train__collate_fn`": net(
        iterator_train__collate_fn=torch.utils.data.default_collate
    ),
    "`iterator_valid__drop_last`": net(iterator_valid__drop_last=False),
    "a training loader": net(iterator_train=OwnLoader),
    "a validation loader": net(iterator_valid=OwnLoader),
    "a dataset class": net(dataset=OwnDataset),
    "is Adamax": net(optimizer=torch.optim.Adamax),
    "is OwnSGD": net(optimizer=OwnSGD),
    "amsgrad=True": net(optimizer=torch.optim.Adam, optimizer__amsgrad=True),
    "centered=True": net(optimizer=torch.optim.RMSprop, optimizer__centered=True),
    "maximize=True": net(optimizer__maximize=True),
    "several groups": net(optimizer__param_groups=[("a.*", {"lr": 0.01})]),
    "OfTheBatch is no mean over samples": judged_by_labels(OfTheBatch),
    "Hardest is no mean over samples": judged_by_labels(Hardest),
    "WeightedMean is no mean over samples": judged_by_labels(WeightedMean),
    "RootMeanSquare is no mean over samples": regression(criterion=RootMeanSquare),
    "Capped is no mean over samples": net(criterion=Capped),
    "the criteria of the folds differ": judged_by_labels(Drawn),
    "SumOfFocal is no mean over samples": judged_by_labels(SumOfFocal),
    "Reckless cannot be called for many rows at once: it is data-dep": judged_by_labels(Reckless),
    "Masked cannot be called for many rows at once": judged_by_labels(Masked),
    "Noisy draws random numbers": judged_by_labels(Noisy),
    "the criterion draws random numbers": judged_by_labels(NoisyByNumPy),
    "'n_calls' of the criterion changes": judged_by_labels(Counting),
    "a buffer of the criterion changes": judged_by_labels(Centred),
    "the criterion has weights of its own to train": judged_by_labels(Learned),
    "torch has no rule of vmap for a function that the criterion SoftMargin": (
        net(MLP, NeuralNetRegressor, criterion=SoftMargin),
        X,
        np.eye(3, dtype="float32")[Y] * 2 - 1,
        "neg_mean_squared_error",
    ),
    "Present is no mean over samples": (
        *regression(criterion=Present)[:2],
        np.where(np.arange(N)[:, None] == N - 9, 0, TARGET),
        "r2",
    ),
    "the criterion overrides `train`": net(criterion=Trained),
    "the criterion has a `forward` of its own": net(criterion=with_own_forward()),
    "the criterion has hooks": net(criterion=with_a_hook()),
    "has the setting temperature": net(criterion=with_more()),
    "a label in y is 2, which the criterion ignores": net(criterion__ignore_index=2),
    "float16": flat(
        MLP,
        y=TARGET[:, 0].astype("float16"),
        module__n_out=1,
        cls=RegularizedRegressor,
    ),
    "the criterion's weight has the shape (16,)": flat(
        criterion=nn.BCEWithLogitsLoss,
        y=LABELS,
        criterion__weight=torch.ones(16),
        predict_nonlinearity=None,
        iterator_train__drop_last=True,
    ),
    "y has the shape (n_samples) and the module returns (n_samples, 1)": flat(MLP, module__n_out=1),
    "y has the shape (n_samples, 1) and the module returns (n_samples)": flat(y=TARGET),
    "hooks (forward hooks)": net(module(lambda self: self.a.register_forward_hook(hook))),
    "hooks (forward pre hooks)": net(module(lambda self: self.a.register_forward_pre_hook(hook))),
    "hooks (backward hooks)": net(module(lambda self: self.b.register_full_backward_hook(hook))),
    "'a.weight' has a hook": net(module(lambda self: self.a.weight.register_hook(lambda g: g))),
    "'b.weight' has a hook": net(
        module(lambda self: self.b.weight.register_post_accumulate_grad_hook(lambda p: None))
    ),
    "'a' has hooks": net(module(lambda self: prune.l1_unstructured(self.a, "weight", 0.5))),
    "'act' is scripted": net(module(scripted)),
    "is lazy": net(module(lambda self: setattr(self, "a", nn.LazyLinear(8)))),
    "overrides `train`": net(Frozen, module__norm=nn.BatchNorm1d),
    "has a `forward` of its own": net(
        module(lambda self: setattr(self.act, "forward", lambda X: X.abs()))
    ),
    "are one weight": net(module(tied)),
    "is a GRUCell": net(module(lambda self: setattr(self, "unused", nn.GRUCell(2, 2)))),
    "data-dependent": net(module(forward=by_sign)),
    "float64": (net(module(lambda self: self.double())), X.astype("float64"), Y, "neg_log_loss"),
    "overrides `predict` (fused scoring": with_instance_method(),
    "a function of its own": (net(), X, Y, lambda net, X, y: float(net.score(X, y))),
}


NORMS = {"grad_norm", "grad_norm_max"}
"""What `GradientClipping` measures, and a batch does not."""


def objective_of(case):
    made, rows, labels, scoring = case if isinstance(case, tuple) else (case, X, Y, "neg_log_loss")
    return Objective(made, rows, labels, cv=3, scoring=scoring)


def alone_instead(package, name, base):
    """Return the serial executor in the place of worker processes, which take seconds to start."""
    if name != "process":
        return find(package, name, base)
    return lambda objective, n_jobs=None, **kwargs: SerialExecutor(objective)


def told_by(executor, trials):
    return {(e.number, e.report.step): e.report for e in drive(executor, trials) if is_report(e)}


def is_report(event):
    return isinstance(event, Reported)


def fused(objective, trials=TRIALS, executor=FusedExecutor, **options):
    with patch("hpo.executors.fused.executor.find", alone_instead):
        executor = executor(objective, n_slots=2, **{"compile": False, **options})
    trials = [trial_for(objective, trial) for trial in trials]
    seen = drive(executor, trials)
    assert {e.number for e in seen if isinstance(e, Ended)} == {0, 1}, seen
    for why in {executor.trained_by(trial.number)[1] for trial in trials} - {""}:
        assert any(why in note for note in executor.notes)
    return {(e.number, e.report.step): e.report for e in seen if is_report(e)}, executor.notes


def trial_for(objective, trial):
    prefix = "neuralnetclassifier__" if hasattr(objective.estimator, "steps") else ""
    return Trial(trial.number, {f"{prefix}{k}": v for k, v in trial.params.items()}, trial.seed)


def assert_alike(seen, objective, tolerance=1e-4):
    trials = [trial_for(objective, trial) for trial in TRIALS]
    alone = told_by(SerialExecutor(objective), trials)
    assert seen.keys() == alone.keys()
    for key, report in alone.items():
        np.testing.assert_allclose(seen[key].fold_values, report.fold_values, atol=tolerance)
        names = set(report.metrics) - NORMS
        assert set(seen[key].metrics) - NORMS == names
        assert set(seen[key].recorded) - NORMS == set(report.recorded) - NORMS
        for name in names:
            found, own = seen[key].metrics[name], report.metrics[name]
            np.testing.assert_allclose(found, own, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("name", SAME)
def test_the_scores_are_those_of_training_alone(name):
    objective = objective_of(SAME[name])
    seen, notes = fused(objective)
    assert notes == []
    assert_alike(seen, objective)


@pytest.mark.filterwarnings("ignore:Using a target size")  # of nets that go wrong by it
@pytest.mark.parametrize("cause", REFUSED)
def test_what_would_not_be_carried_is_trained_alone_and_told(cause):
    case = REFUSED[cause]
    objective = objective_of(case)
    seen, notes = fused(objective)
    (note,) = notes
    assert cause in note
    assert note.startswith("All ")
    assert " trained by 1 worker process, because " in note
    assert_alike(seen, objective, tolerance=1e-6)


COMPILED = [
    "batch norm",
    "adam",
    "attention",
    "class weights",
    "binary, pos_weight",
    "binary, probabilities",
    "weighted focal",
    "log cosh",
    "a flat target of a column",
]


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_the_scores_are_the_same(name):
    """More by tests/benchmarks/fused_nets.py: a program takes seconds to compile."""
    objective = objective_of(SAME[name])
    with patch.object(
        TrainingNotes, "add_batched", autospec=True, side_effect=TrainingNotes.add_batched
    ) as told:
        seen, notes = fused(objective, compile=True)
    assert notes == []
    assert {call.args[2] for call in told.call_args_list} == {"fused (compiled)"}
    assert_alike(seen, objective)


@pytest.mark.parametrize("name", [*SAME][::6])
def test_under_auto_the_scores_are_the_same(name):
    """Whichever is faster; tests/benchmarks/fused_nets.py does so for all, and compiles them.

    Both ways are tried on every net above. What is new here is that nothing is left of the timing.
    """
    objective = objective_of(SAME[name])
    seen, notes = fused(objective, executor=AutoExecutor)
    assert "an epoch of one: " in notes[-1]
    assert all("that is faster" in note for note in notes[:-1])
    assert_alike(seen, objective)


def test_there_are_at_least_eighty():
    assert len(SAME) + len(REFUSED) >= 80


# -- what a new version may add: somebody has to decide what becomes of it -------------------------

SKORCH = [
    "__delattr__",
    "__doc__",
    "__getstate__",
    "__init__",
    "__module__",
    "__repr__",
    "__setattr__",
    "__setstate__",
    "__sklearn_is_fitted__",
    "_NeuralNet__metadata_request__partial_fit",
    "_apply_virtual_params",
    "_callbacks_grouped_by_name",
    "_check_deprecated_params",
    "_check_device",
    "_check_settable_attr",
    "_current_init_context",
    "_default_callbacks",
    "_format_reinit_msg",
    "_get_module",
    "_get_param_names",
    "_get_params_callbacks",
    "_get_params_for",
    "_get_params_for_optimizer",
    "_get_predict_nonlinearity",
    "_initialize_callbacks",
    "_initialize_criterion",
    "_initialize_history",
    "_initialize_module",
    "_initialize_optimizer",
    "_initialize_virtual_params",
    "_is_virtual_param",
    "_merge_x_and_fit_params",
    "_register_attribute",
    "_register_virtual_param",
    "_replace_callback",
    "_set_params_callback",
    "_set_training",
    "_step_optimizer",
    "_uniquely_named_callbacks",
    "_unregister_attribute",
    "_validate_params",
    "_virtual_setattr",
    "_yield_callbacks",
    "_zero_grad_optimizer",
    "check_data",
    "check_is_fitted",
    "check_training_readiness",
    "classes_",
    "evaluation_step",
    "fit",
    "fit_loop",
    "forward",
    "forward_iter",
    "get_all_learnable_params",
    "get_dataset",
    "get_default_callbacks",
    "get_iterator",
    "get_loss",
    "get_metadata_routing",
    "get_params",
    "get_params_for",
    "get_params_for_optimizer",
    "get_split_datasets",
    "get_train_step_accumulator",
    "history",
    "infer",
    "initialize",
    "initialize_callbacks",
    "initialize_criterion",
    "initialize_history",
    "initialize_module",
    "initialize_optimizer",
    "initialize_virtual_params",
    "initialized_instance",
    "load_params",
    "notify",
    "on_batch_begin",
    "on_batch_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_grad_computed",
    "on_train_begin",
    "on_train_end",
    "partial_fit",
    "predict",
    "predict_proba",
    "prefixes_",
    "cuda_dependent_attributes_",
    "init_context_",
    "_modules",
    "_criteria",
    "_optimizers",
    "run_single_epoch",
    "save_params",
    "set_fit_request",
    "set_params",
    "set_partial_fit_request",
    "set_score_request",
    "torch_compile",
    "train_step",
    "train_step_single",
    "trim_for_prediction",
    "validation_step",
]
HOOKS = [
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
]
PYTHONS = set(vars(type("", (), {})))


def test_every_method_of_skorchs_nets_was_decided_on():
    """Does the fused loop do what it does? Then it joins the list, and this test passes again."""
    classes = (NeuralNet, NeuralNetClassifier, NeuralNetRegressor, NeuralNetBinaryClassifier)
    defined = set().union(*map(vars, classes)) - PYTHONS
    assert defined == set(SKORCH) - PYTHONS


def test_every_table_of_hooks_was_decided_on():
    found = {name for name in vars(nn.Linear(1, 1)) if name.endswith("_hooks")}
    assert found == set(HOOKS)


@pytest.mark.parametrize("kind", supported.OPTIMIZER_OPTIONS)
def test_every_option_of_an_optimizer_was_decided_on(kind):
    (group,) = kind([nn.Parameter(torch.zeros(1))], lr=0.1).param_groups
    assert set(group) <= supported.OPTIMIZER_OPTIONS[kind]


@pytest.mark.parametrize("cls", LOSSES)
def test_every_setting_of_a_criterion_was_decided_on(cls):
    kept = set(vars(cls())) - set(vars(nn.Module())) - {"reduction"}
    assert kept == SETTINGS[cls]


# -- losses: what differs from trial to trial, and what the proof sees -----------------------------


def test_trials_of_other_class_weights_are_batches_of_their_own():
    objective = objective_of(net())
    trials = [Trial(i, {"criterion__weight": w}, 0) for i, w in enumerate([WEIGHT, WEIGHT.flip(0)])]
    seen, notes = fused(objective, trials)
    assert notes == []
    alone = told_by(SerialExecutor(objective), trials)
    for key, report in alone.items():
        np.testing.assert_allclose(seen[key].fold_values, report.fold_values, atol=1e-4)
    assert seen[0, 2].fold_values != seen[1, 2].fold_values


@pytest.mark.parametrize("scoring", ["accuracy", "f1"])
def test_each_trial_of_a_batch_has_its_own_threshold(scoring):
    objective = objective_of(binary(scoring=scoring))
    extractor = ModelExtractor(objective)
    trials = [Trial(i, {"threshold": value}, 0) for i, value in enumerate([0.5, 0.2])]
    assert len({extractor.extract_model(trial).key for trial in trials}) == 1
    seen, notes = fused(objective, trials)
    assert notes == []
    alone = told_by(SerialExecutor(objective), trials)
    for key, report in alone.items():
        np.testing.assert_allclose(seen[key].fold_values, report.fold_values, atol=1e-6)
    assert seen[0, 2].fold_values != seen[1, 2].fold_values


@pytest.mark.parametrize("changed", [{"criterion__gamma": 1.0}, {"criterion__alpha": (1, 1, 2)}])
def test_whatever_a_criterion_keeps_makes_a_structure(changed):
    extractor = ModelExtractor(objective_of(judged_by_labels(WeightedFocal)))
    first, same, other = (
        extractor.extract_model(Trial(i, {"lr": 0.1, **params}, i)).key
        for i, params in enumerate([{}, {}, changed])
    )
    assert first == same != other


def test_a_loss_that_is_written_out_wrongly_is_seen(monkeypatch):
    """At a label that two updates of the proof may not meet, too."""

    def wrong(criterion):
        def loss(out, y, smoothing, tensors):
            values, shares = LOSSES[nn.NLLLoss](criterion)(
                out.log_softmax(-1), y, smoothing, tensors
            )
            return values * (1 + 1e-6 * (y == 2)), shares

        return loss

    monkeypatch.setattr(_criteria, "LOSSES", {**LOSSES, nn.CrossEntropyLoss: wrong})
    _, notes = fused(objective_of(net()))
    assert "the criterion CrossEntropyLoss has another value in a batch of models" in notes[0]


def test_a_plain_net_is_given_logarithms():
    """Of probabilities skorch's classifier alone takes the logarithm."""
    logs = module(forward=lambda self, X: MLP.forward(self, X).log_softmax(-1))
    made = net(logs, NeuralNet, criterion=nn.NLLLoss, criterion__weight=WEIGHT)
    extractor = ModelExtractor(Objective(made, X, Y, cv=3, scoring="neg_mean_squared_error"))
    taken = extractor.extract_model(TRIALS[0])
    proof._check_loss(extractor, taken, "cpu")
    proof._certify(extractor, taken, taken.member, "cpu")


def test_a_flat_target_of_two_outputs_is_refused():
    made, *data = flat(MLP, module__n_out=2, cls=RegularizedRegressor)
    extractor = ModelExtractor(Objective(made, *data[:2], cv=3, scoring=data[2]))
    with pytest.raises(NotFusibleError, match=r"\(90,\) and the module returns \(n_samples, 2"):
        extractor.extract_model(TRIALS[0])


def test_a_binary_classifier_of_two_outputs_is_refused():
    made, *data = binary(MLP, module__n_out=2)
    extractor = ModelExtractor(Objective(made, *data[:2], cv=3, scoring=data[2]))
    taken = extractor.extract_model(TRIALS[0])
    with pytest.raises(NotFusibleError, match="Expected module output to have shape"):
        proof.prove(extractor, taken, "cpu")


# -- failing is never worse than training alone ----------------------------------------------------


def failing_in(epoch):
    """Return a `train_epoch` that raises in one epoch of the batch."""
    train = TrialBatch.advance

    def advance(self):
        if self._epoch + 1 == epoch:
            raise RuntimeError("the device is on fire")
        return train(self)

    return advance


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("ModelExtractor.extract_model", "the net cannot be prepared for a batch"),
        ("ModelExtractor.__init__", "the data cannot be prepared for a batch"),
        ("TrialBatch.certify", "the module cannot be batched"),
        ("choose", "the module cannot be batched"),
    ],
)
def test_whatever_fails_before_the_first_epoch_is_trained_alone(monkeypatch, place, told):
    def fail(*args, **kwargs):
        raise KeyError("P")

    monkeypatch.setattr(f"hpo.executors.fused.executor.{place}", fail)
    objective = objective_of(SAME["relu"])
    seen, notes = fused(objective)
    (note,) = notes
    assert f"because {told}: that raised KeyError: 'P', which is a mistake of hpo's" in note
    assert_alike(seen, objective, tolerance=1e-6)


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_batch_that_fails_on_the_way_is_trained_again_alone(monkeypatch, epoch):
    """Steps that had been reported are not reported again, and none is missing."""
    monkeypatch.setattr(TrialBatch, "advance", failing_in(epoch))
    objective = objective_of(SAME["relu"])
    seen, notes = fused(objective)
    assert "on fire" in notes[0]
    assert_alike(seen, objective)
    assert len(seen) == 4


def test_one_trials_error_is_its_own(monkeypatch):
    """A module that one trial's parameters cannot make fails that trial; the others are fused."""
    objective = objective_of(net(module__p=0.0))
    trials = [*TRIALS, Trial(2, {"lr": 0.1, "module__n_out": "many"}, 2)]
    with patch("hpo.executors.fused.executor.find", alone_instead):
        executor = FusedExecutor(objective, n_slots=2, compile=False)
    seen = drive(executor, trials)
    assert {e.number for e in seen if isinstance(e, Ended)} == {0, 1}
    (failed,) = [e for e in seen if isinstance(e, Failed)]
    assert failed.number == 2
    assert "TypeError" in failed.reason


# -- callbacks: that they do something here, and that proof sees where they would do it otherwise --


def course(name):
    """Return the reports of each trial of a row in their order."""
    seen, _ = fused(objective_of(SAME[name]))
    return [[seen[key] for key in sorted(seen) if key[0] == number] for number in range(2)]


@pytest.mark.parametrize("name", [name for name in SAME if name.startswith("stopping")])
def test_a_training_of_the_table_ends_before_its_last_epoch(name):
    assert min(map(len, course(name))) < 12


@pytest.mark.parametrize("name", [name for name in SAME if name.startswith("ReduceLROnPlateau")])
def test_a_plateau_of_the_table_lowers_the_rate(name):
    for reports in course(name):
        first, last = (reports[i].metrics["event_lr"] for i in (0, -1))
        assert min(last) < min(first)


def test_a_fold_that_has_stopped_keeps_its_scores_while_the_others_go_on():
    reports, _ = course("stopping on the validation part")
    values = np.array([report.fold_values for report in reports])
    lengths = [int((np.diff(column) != 0).sum()) + 1 for column in values.T]
    assert min(lengths) < len(values) == max(lengths)


def test_the_best_weights_are_not_those_of_the_last_epoch():
    seen, _ = fused(objective_of(SAME["the best weights of all epochs"]))
    own, _ = fused(objective_of(splitting(VALIDATION, module__norm=nn.BatchNorm1d)))
    assert seen[0, 11].fold_values == own[0, 11].fold_values
    assert seen[0, 12].fold_values != own[0, 12].fold_values


def late(method, from_epoch):
    """Return a method of replayed callbacks that is wrong from an epoch on."""
    right = getattr(ReplayedCallbacks, method)

    def wrong(self, given):
        found = right(self, given)
        if self.n_epochs >= from_epoch:
            self.finished = self.finished or method == "end_epoch"
            return [rate * 1.01 for rate in found or ()]
        return found

    return wrong


@pytest.mark.parametrize(
    ("name", "method", "from_epoch", "told"),
    [
        ("StepLR", "begin_epoch", 1, "are other ones when the model is trained alone"),
        ("StepLR", "begin_epoch", 6, "the learning rates of epoch 6"),
        ("OneCycleLR", "begin_epoch", 7, "the learning rates of epoch 7"),
        ("ReduceLROnPlateau", "end_epoch", 3, "callbacks do not end its training in epoch 3"),
    ],
)
def test_callbacks_that_do_otherwise_are_seen_before_the_first_epoch(
    monkeypatch, name, method, from_epoch, told
):
    monkeypatch.setattr(ReplayedCallbacks, method, late(method, from_epoch))
    objective = objective_of(SAME[name])
    seen, (note,) = fused(objective)
    assert told in note
    assert_alike(seen, objective, tolerance=1e-6)


def test_a_stop_that_is_missed_is_seen_before_the_first_epoch(monkeypatch):
    def never(self, found):
        right(self, found)
        self.finished = False

    right = ReplayedCallbacks.end_epoch
    monkeypatch.setattr(ReplayedCallbacks, "end_epoch", never)
    objective = objective_of(SAME["stopping at once"])
    _, (note,) = fused(objective)
    assert "callbacks end its training in epoch" in note


def test_weights_that_are_not_put_back_are_seen_before_the_first_epoch(monkeypatch):
    monkeypatch.setattr(ReplayedCallbacks, "end_train", lambda self: self.n_epochs)
    _, (note,) = fused(objective_of(SAME["the best weights of all epochs"]))
    assert "the weights after the net's own `fit` are not those of epoch" in note


def test_a_loss_of_the_validation_part_that_differs_is_seen_before_the_first_epoch(monkeypatch):
    right = FusedModels.losses
    monkeypatch.setattr(FusedModels, "losses", lambda *args: right(*args) * 1.001)
    _, (note,) = fused(objective_of(SAME["a validation part"]))
    assert "'valid_loss' is" in note


def test_a_split_that_leaves_other_rows_is_seen(monkeypatch):
    monkeypatch.setattr(
        "hpo.executors.fused.arrays.split_rows",
        lambda split, X, y: np.array_split(np.arange(len(y)), 2),
    )
    objective = objective_of(SAME["a validation part"])
    _, (note,) = fused(objective)
    assert "the net's own train_split leaves other rows" in note


def test_trials_of_one_structure_may_have_other_callbacks():
    """Each kind of callbacks is proved; one that is not carried is trained alone."""
    made = net(max_epochs=4, callbacks=[("schedule", LRScheduler("StepLR", step_size=2))])
    policies = ["ExponentialLR", lr_scheduler.ConstantLR, OwnStepLR]
    settings = [{"gamma": 0.5}, {"factor": 0.5}, {"step_size": 1}]
    trials = [
        Trial(i, {"lr": 0.1, "callbacks__schedule": LRScheduler(policy, **kwargs)}, i)
        for i, (policy, kwargs) in enumerate(zip(policies, settings, strict=True))
    ]
    objective = objective_of(made)
    with patch("hpo.executors.fused.executor.find", alone_instead):
        executor = FusedExecutor(objective, n_slots=3, compile=False)
    seen = told_by(executor, trials)
    alone = told_by(SerialExecutor(objective), trials)
    (note,) = executor.notes
    assert note.startswith("Trial 2 was")
    assert "OwnStepLR" in note
    for key, report in alone.items():
        np.testing.assert_allclose(seen[key].fold_values, report.fold_values, atol=1e-4)


def test_trials_that_join_a_batch_begin_their_callbacks_anew():
    made, rows, labels, scoring = SAME["stopping on the validation part"]
    made = clone(made).set_params(callbacks=[*made.callbacks, LRScheduler("StepLR", step_size=2)])
    objective = Objective(made, rows, labels, cv=3, scoring=scoring)
    trials = [Trial(i, {"lr": 0.006 * (i + 1)}, i) for i in range(5)]
    with patch("hpo.executors.fused.executor.find", alone_instead):
        executor = FusedExecutor(objective, n_slots=2, compile=False)
    seen, alone = told_by(executor, trials), told_by(SerialExecutor(objective), trials)
    assert executor.notes == []
    assert seen.keys() == alone.keys()
    for key, report in alone.items():
        np.testing.assert_allclose(seen[key].fold_values, report.fold_values, atol=1e-4)


def test_a_validation_part_that_is_searched_is_trained_alone():
    objective = objective_of(net(train_split=VALIDATION))
    trials = [Trial(i, {"train_split": ValidSplit(i + 3)}, i) for i in range(2)]
    seen, (note,) = fused(objective, trials)
    assert "the net's own validation part is searched" in note
    assert len(seen) == 4
