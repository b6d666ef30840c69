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
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
)
from skorch.dataset import Dataset, ValidSplit
from torch import nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader

from hpo._discovery import find
from hpo.callbacks import GradientClipping, LRSchedule
from hpo.executors import Ended, Failed, Reported
from hpo.executors._batch import TrialBatch
from hpo.executors.fused import FusedExecutor
from hpo.executors.serial import SerialExecutor
from hpo.nets import RegularizedClassifier
from hpo.testing.executors import drive
from hpo.training import _fusible
from hpo.training.objective import Objective
from hpo.trial import Trial

N, N_IN, N_CLASSES = 90, 12, 3
rng = np.random.default_rng(0)
X = rng.normal(size=(N, N_IN)).astype("float32")
Y = (X @ rng.normal(size=(N_IN, N_CLASSES))).argmax(1)
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
    return net(made or MLP, NeuralNetRegressor, **kwargs), X, TARGET, "neg_mean_squared_error"


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


def einsum(self, X):
    return self.b(torch.einsum("ni,oi->no", X, self.a.weight).relu())


SAME = {
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


class Focal(nn.CrossEntropyLoss):
    def forward(self, out, y):
        return ((1 - torch.exp(-F.cross_entropy(out, y, reduction="none"))) ** 2).mean()


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
    "a NeuralNetBinaryClassifier": (
        net(cls=NeuralNetBinaryClassifier, criterion=nn.BCEWithLogitsLoss, module__n_out=1),
        X,
        (Y > 0).astype("float32"),
        "accuracy",
    ),
    "train_split=None": net(train_split=ValidSplit(5)),
    "(Clamped)": net(callbacks=[("clamped", Clamped())]),
    "(OwnSchedule)": net(callbacks=[("own", OwnSchedule("cosine", epochs=4))]),
    "(EarlyStopping)": net(callbacks=[("early", EarlyStopping("train_loss", sink=str))]),
    "(LRScheduler)": net(callbacks=[("schedule", LRScheduler("StepLR", step_size=1))]),
    "(GradientNormClipping)": net(callbacks=[("clipping", GradientNormClipping(0.1))]),
    "'f1' (EpochScoring)": net(callbacks=[("f1", EpochScoring("f1_macro", on_train=True))]),
    "'valid_acc' (EpochScoring)": net(callbacks__valid_acc=EpochScoring("f1_macro")),
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
    "the criterion is Focal": net(criterion=Focal),
    "has reduction set": net(criterion__reduction="sum"),
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


def fused(objective, trials=TRIALS, **options):
    with patch("hpo.executors._batching.find", alone_instead):
        executor = FusedExecutor(objective, n_slots=2, **{"compile": False, **options})
    trials = [trial_for(objective, trial) for trial in trials]
    seen = drive(executor, trials)
    assert {e.number for e in seen if isinstance(e, Ended)} == {0, 1}, seen
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


@pytest.mark.parametrize("name", SAME)
def test_the_scores_are_those_of_training_alone(name):
    objective = objective_of(SAME[name])
    seen, notes = fused(objective)
    assert notes == []
    assert_alike(seen, objective)


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


@pytest.mark.parametrize("name", ["relu", "batch norm", "adam"])
def test_compiled_the_scores_are_the_same(name):
    objective = objective_of(SAME[name])
    seen, notes = fused(objective, compile=True)
    assert notes == []
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


@pytest.mark.parametrize("kind", _fusible.OPTIMIZER_OPTIONS)
def test_every_option_of_an_optimizer_was_decided_on(kind):
    (group,) = kind([nn.Parameter(torch.zeros(1))], lr=0.1).param_groups
    assert set(group) <= _fusible.OPTIMIZER_OPTIONS[kind]


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
        ("hpo.executors._batching.Fusing.take_apart", "the net cannot be prepared for a batch"),
        ("hpo.executors._batching.Fusing.__init__", "the data cannot be prepared for a batch"),
        ("hpo.executors._batching.TrialBatch.certify", "the module cannot be batched"),
        ("hpo.executors._batching.choose", "the module cannot be batched"),
    ],
)
def test_whatever_fails_before_the_first_epoch_is_trained_alone(monkeypatch, place, told):
    def fail(*args, **kwargs):
        raise KeyError("P")

    monkeypatch.setattr(place, fail)
    objective = objective_of(SAME["relu"])
    seen, notes = fused(objective)
    (note,) = notes
    assert f"because {told} (KeyError: 'P')." in note
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
    with patch("hpo.executors._batching.find", alone_instead):
        executor = FusedExecutor(objective, n_slots=2, compile=False)
    seen = drive(executor, trials)
    assert {e.number for e in seen if isinstance(e, Ended)} == {0, 1}
    (failed,) = [e for e in seen if isinstance(e, Failed)]
    assert failed.number == 2
    assert "TypeError" in failed.reason
