"""Modules with frozen weights, weight norm, padding masks and dropout by functions, in a batch."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skorch import NeuralNetClassifier
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from hpo._discovery import find
from hpo.callbacks import GradientClipping
from hpo.executors import Ended, Failed, Reported
from hpo.executors.fused import FusedExecutor
from hpo.executors.fused.batch import TrialBatch
from hpo.executors.fused.benchmark import ExecutionPlan, choose
from hpo.executors.fused.extract import ModelExtractor
from hpo.executors.serial import SerialExecutor
from hpo.nets import RegularizedClassifier
from hpo.testing.executors import drive
from hpo.training.objective import Objective
from hpo.trial import Trial

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype:UserWarning"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning"),
]

N, N_IN, N_CLASSES, LENGTH = 90, 12, 3, 6
rng = np.random.default_rng(0)
X = rng.normal(size=(N, N_IN)).astype("float32")
Y = (X @ rng.normal(size=(N_IN, N_CLASSES))).argmax(1)
WORDS = rng.integers(1, 9, size=(N, LENGTH))
WORDS *= np.arange(LENGTH) < rng.integers(2, LENGTH + 1, size=(N, 1))  # padded at the end
GAPS = WORDS * (rng.random((N, LENGTH)) > 0.3)
GAPS[:, 2] = 1
TRIALS = [Trial(i, {"lr": 0.01 * (i + 1)}, i) for i in range(2)]


class MLP(nn.Module):
    def __init__(self, build=None, norm=nn.Identity):
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(N_IN, 8), nn.Linear(8, N_CLASSES), norm(8)
        if build:
            build(self)

    def forward(self, X):
        return self.b(F.relu(self.norm(self.a(X)), inplace=True))


class Images(nn.Module):
    def __init__(self, build):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(8, N_CLASSES)
        build(self)

    def forward(self, X):
        return self.head(F.relu(self.conv(X.view(-1, 1, 3, 4))).flatten(1))


class Words(nn.Module):
    """An encoder of padded sequences, and what becomes of its outputs."""

    def __init__(self, pool="masked", nested=True, p=0.0, norm=None, **layer):
        super().__init__()
        self.pool = pool
        self.table, self.head = nn.Embedding(9, 4, padding_idx=0), nn.Linear(4, N_CLASSES)
        one = nn.TransformerEncoderLayer(4, 2, 8, p, batch_first=True, **layer)
        self.encoder = nn.TransformerEncoder(one, 2, norm=norm, enable_nested_tensor=nested)

    def forward(self, X):
        padding = X == 0
        H = self.encoder(self.table(X), src_key_padding_mask=padding)
        if self.pool == "mean":
            return self.head(H.mean(1))
        if self.pool == "first":
            return self.head(H[:, 0])
        there = (~padding)[..., None].float()
        return self.head((H * there).sum(1) / there.sum(1))


class Named(MLP):
    def forward(self, left, right):
        return super().forward(torch.cat([left, right], 1))


class Bag(nn.Module):
    """The mean of the embeddings of the words that are there."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(9, 4, padding_idx=0), nn.Linear(4, N_CLASSES)

    def forward(self, X):
        there = (X != 0)[..., None]
        return self.head(self.table(X).masked_fill(~there, 0.0).sum(1) / there.sum(1))


class Attending(Bag):
    def __init__(self, need_weights=False):
        super().__init__()
        self.need_weights = need_weights
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, X):
        H, padding = self.table(X), X == 0
        given = {"key_padding_mask": padding, "need_weights": self.need_weights}
        H, _ = self.attention(H, H, H, **given)
        return self.head(H.masked_fill(padding[..., None], -1e9).amax(1))


class Recurrent(nn.Module):
    """The last output, state or cell of a recurrent layer over rows as sequences of 3 x 4."""

    def __init__(self, kind=nn.LSTM, end="output", given=False, **settings):
        super().__init__()
        self.rnn, self.end, self.given = kind(4, 5, **settings), end, given
        self.ways = 2 if self.rnn.bidirectional else 1
        self.head = nn.Linear(3 if self.rnn.proj_size else 5 * self.ways, N_CLASSES)

    def forward(self, X):
        self.rnn.flatten_parameters()
        X = X.view(-1, 3, 4)
        X = X if self.rnn.batch_first else X.transpose(0, 1)
        begin = None
        if self.given:
            n = X.shape[0] if self.rnn.batch_first else X.shape[1]
            begin = X.new_full((self.rnn.num_layers * self.ways, n, 5), 0.3)
            begin = (begin, 2 * begin) if self.rnn.mode == "LSTM" else begin
        out, last = self.rnn(X, begin)
        if self.end == "cell":
            return self.head(last[1][-1])
        if self.end == "state":
            return self.head((last[0] if self.rnn.mode == "LSTM" else last)[-1])
        return self.head(out[:, -1] if self.rnn.batch_first else out[-1])


class Packed(Recurrent):
    def forward(self, X):
        X = X.view(-1, 3, 4)
        given = nn.utils.rnn.pack_padded_sequence(X, torch.full((len(X),), 3), batch_first=True)
        return self.head(self.rnn(given)[1][0][-1])


class Long(Recurrent):
    def forward(self, X):
        return self.head(self.rnn(X.view(-1, 3, 4).repeat(1, 40, 1))[0][:, -1])


class Loading(MLP):
    """What reads a file of weights is nothing to a training."""

    _version = 2

    def _load_from_state_dict(self, *args, **kwargs):
        raise AssertionError("no training reads a file")


class Freezing(NeuralNetClassifier):
    def initialize_module(self):
        super().initialize_module()
        self.module_.a.requires_grad_(False)
        return self


class Symmetric(nn.Module):
    def forward(self, weight):
        return weight.triu() + weight.triu(1).T


def net(made=MLP, cls=NeuralNetClassifier, **params):
    given = dict(criterion=nn.CrossEntropyLoss, lr=0.05, max_epochs=2, batch_size=16)
    return cls(made, **{**given, "train_split": None, "verbose": 0, **params})


def built(build, made=MLP, **params):
    return net(made, module__build=build, **params)


def freeze(self):
    self.a.weight.requires_grad_(False)
    self.norm.requires_grad_(False)


def weight_norm(name, dim=0):
    return lambda self: parametrizations.weight_norm(getattr(self, name), dim=dim)


def symmetric(self):
    self.norm = parametrize.register_parametrization(nn.Linear(8, 8), "weight", Symmetric())


def twice(self):
    parametrizations.spectral_norm(parametrizations.weight_norm(self.a), name="bias")


ADAM = {"optimizer": torch.optim.Adam, "optimizer__eps": 1e-4, "lr": 0.01}
PENALTIES = {"cls": RegularizedClassifier, "l1_lambda": 1e-2, "l2_lambda": 1e-2}
CLIPPING = {"callbacks": [("clipping", GradientClipping("norm", max_norm=0.1))]}
RECURRENT = {
    "": {"batch_first": True},
    " of two layers": {"num_layers": 2, "end": "state"},
    " both ways": {"bidirectional": True, "num_layers": 2, "batch_first": True},
    " without biases, from given states": {"bias": False, "given": True},
}


def recurrent(**settings):
    return net(Recurrent, **{f"module__{name}": value for name, value in settings.items()})


SAME = {
    **{
        f"{kind.__name__}{told}": recurrent(kind=kind, **settings)
        for kind in (nn.LSTM, nn.GRU, nn.RNN)
        for told, settings in RECURRENT.items()
    },
    "cell of an LSTM": recurrent(end="cell"),
    "RNN with ReLU": recurrent(kind=nn.RNN, nonlinearity="relu"),
    "frozen": built(freeze),
    "frozen and decayed": built(freeze, optimizer__weight_decay=0.1, optimizer__momentum=0.9),
    "frozen under Adam": built(freeze, **ADAM, optimizer__weight_decay=0.1),
    "frozen and penalised": built(freeze, **PENALTIES),
    "frozen and clipped": built(freeze, **CLIPPING),
    "a frozen scale of a batch norm": built(freeze, module__norm=nn.BatchNorm1d),
    "frozen by the net": net(cls=Freezing, optimizer__weight_decay=0.1),
    "weight norm": built(weight_norm("a")),
    "weight norm of the whole": built(weight_norm("a", None)),
    "weight norm of columns": built(weight_norm("b", 1)),
    "weight norm of a convolution": built(weight_norm("conv"), Images),
    "weight norm, penalised": built(weight_norm("a"), **PENALTIES),
    "weight norm, decayed": built(weight_norm("a"), **ADAM, optimizer__weight_decay=0.1),
    "a reader of files": net(Loading),
    "masked mean": (net(Bag), WORDS),
    "padded attention": (net(Attending), WORDS),
    "padded attention with weights": (net(Attending, module__need_weights=True), WORDS),
    "padding between": (net(Attending), GAPS),
    "padded encoder": (net(Words), WORDS),
    "padded encoder with a norm": (net(Words, module__norm=nn.LayerNorm(4)), WORDS),
    "first place of an encoder": (net(Words, module__pool="first"), WORDS),
    "encoder, norm first": (net(Words, module__nested=False, module__norm_first=True), WORDS),
    "encoder, padding between": (net(Words), GAPS),
    "mean of an encoder that fills nothing": (
        net(Words, module__pool="mean", module__nested=False),
        WORDS,
    ),
}
REFUSED = {
    "'a' has its 'weight' parametrized by SpectralNorm": built(
        lambda self: parametrizations.spectral_norm(self.a)
    ),
    "'b' has its 'weight' parametrized by Orthogonal": built(
        lambda self: parametrizations.orthogonal(self.b)
    ),
    "'norm' has its 'weight' parametrized by Symmetric": built(symmetric),
    "'a' has its 'bias' parametrized by SpectralNorm": built(twice),
    "drops between its layers": recurrent(num_layers=2, dropout=0.2),
    "projects its states": recurrent(proj_size=3),
    "layer 'cell' is a LSTMCell": built(lambda self: setattr(self, "cell", nn.LSTMCell(2, 2))),
    "120 steps, more than 100": net(Long, module__batch_first=True),
    "a packed sequence": net(Packed, module__batch_first=True),
    "X is a dict of several arrays": (net(Named), {"left": X[:, :5], "right": X[:, 5:]}),
    "returns where its input is padded": (net(Words, module__pool="mean"), WORDS),
}


def objective_of(case):
    made, rows = case if isinstance(case, tuple) else (case, X)
    return Objective(made, rows, Y, cv=3, scoring="neg_log_loss")


def alone_instead(package, name, base):
    if name != "process":
        return find(package, name, base)
    return lambda objective, n_jobs=None, **kwargs: SerialExecutor(objective)


def reports(events):
    return {(e.number, e.report.step): e.report for e in events if isinstance(e, Reported)}


def fused(objective):
    with patch("hpo.executors.fused.executor.find", alone_instead):
        executor = FusedExecutor(objective, n_slots=2, compile=False)
    seen = drive(executor, TRIALS)
    assert {e.number for e in seen if isinstance(e, Ended)} == {0, 1}, seen
    return reports(seen), executor.notes


def assert_alike(seen, objective, tolerance=1e-4):
    alone = reports(drive(SerialExecutor(objective), TRIALS))
    assert seen.keys() == alone.keys()
    for key, report in alone.items():
        np.testing.assert_allclose(seen[key].fold_values, report.fold_values, atol=tolerance)


def test_a_module_without_a_weight_to_train_fails_as_it_does_alone():
    objective = objective_of(built(lambda self: self.requires_grad_(False)))
    with patch("hpo.executors.fused.executor.find", alone_instead):
        executor = FusedExecutor(objective, n_slots=2, compile=False)
    failed = [e for e in drive(executor, TRIALS) if isinstance(e, Failed)]
    assert {e.number for e in failed} == {0, 1}
    assert "does not require grad" in failed[0].reason
    assert "all weights of the module are frozen" in executor.notes[0]


@pytest.mark.parametrize("name", SAME)
def test_the_scores_are_those_of_training_alone(name):
    objective = objective_of(SAME[name])
    seen, notes = fused(objective)
    assert notes == []
    assert_alike(seen, objective)


@pytest.mark.parametrize("cause", REFUSED)
def test_what_would_not_be_carried_is_trained_alone_and_told(cause):
    objective = objective_of(REFUSED[cause])
    seen, (note,) = fused(objective)
    assert cause in note
    assert_alike(seen, objective, tolerance=1e-6)


# -- dropout as a function -------------------------------------------------------------------------


class Dropping(MLP):
    """Drops by layers or by functions, at the same places."""

    def __init__(self, drop, axes=()):
        super().__init__()
        self.drop, self.axes = drop(), axes

    def forward(self, X):
        H = F.relu(self.a(X))
        shape = H.shape
        H = self.dropped(H.reshape(-1, *self.axes) if self.axes else H, 0.4).reshape(shape)
        return self.b(self.dropped(H.reshape(-1, *self.axes) if self.axes else H, 0.4).view(shape))

    def dropped(self, H, p):
        return self.drop(H)


def by_function(function, **kwargs):
    class Functional(Dropping):
        def dropped(self, H, p):
            return function(H, p, self.training, **kwargs)

    return Functional


CALLS = {
    "dropout": (lambda: nn.Dropout(0.4), F.dropout, ()),
    "dropout1d": (lambda: nn.Dropout1d(0.4), F.dropout1d, (4, 2)),
    "dropout2d": (lambda: nn.Dropout2d(0.4), F.dropout2d, (4, 2, 1)),
    "dropout3d": (lambda: nn.Dropout3d(0.4), F.dropout3d, (4, 2, 1, 1)),
}


def trained(made, drop, axes):
    made = net(made, module__drop=drop, module__axes=axes)
    seen, notes = fused(objective_of(made))
    assert notes == []
    return [value for report in seen.values() for value in report.fold_values]


@pytest.mark.parametrize("name", CALLS)
def test_a_function_drops_as_its_layer_does(name):
    """The draws of a batch are those of the place, whatever drops there."""
    drop, function, axes = CALLS[name]
    of_layers = trained(Dropping, drop, axes)
    assert trained(by_function(function), nn.Identity, axes) == of_layers
    assert trained(by_function(lambda H, p, t: H), nn.Identity, axes) != of_layers


def test_in_place_what_was_given_is_changed():
    """By a layer and by a function: what is read again afterwards has been dropped."""

    class Again(MLP):
        def __init__(self, inplace, functional=False):
            super().__init__()
            self.drop = nn.Dropout(0.4, inplace)
            self.inplace, self.functional = inplace, functional

        def forward(self, X):
            H = F.silu(self.a(X))
            if self.functional:
                dropped = F.dropout(H, 0.4, self.training, self.inplace)
            else:
                dropped = self.drop(H)
            return self.b(dropped if not self.inplace else (H + dropped) / 2)

    def scores(**kwargs):
        made = net(Again, **{f"module__{name}": value for name, value in kwargs.items()})
        seen, notes = fused(objective_of(made))
        assert notes == []
        return [value for report in seen.values() for value in report.fold_values]

    expected = scores(inplace=False)
    np.testing.assert_allclose(scores(inplace=True), expected, rtol=1e-5)
    np.testing.assert_allclose(scores(inplace=True, functional=True), expected, rtol=1e-5)


def test_rows_that_torch_takes_for_one_sample_are_refused():
    """`nn.Dropout1d` takes a matrix for one sample, and drops whole rows of it."""
    made = net(Dropping, module__drop=lambda: nn.Dropout1d(0.4))
    objective = objective_of(made)
    _, (note,) = fused(objective)
    assert "a Dropout1d is given 2 axes" in note


@pytest.mark.parametrize(("case", "compiled"), [(recurrent(), False), (net(), True)])
def test_recurrent_layers_are_compiled_only_if_asked(case, compiled):
    """Each step of a sequence would be a part of the program, which takes minutes to make."""
    objective = objective_of(case)
    extractor = ModelExtractor(objective)
    batch = TrialBatch(
        extractor, extractor.extract_model(TRIALS[0]), device="cpu", n_slots=1, seed=0
    )
    batch.add(extractor.extract_model(TRIALS[0]))
    tried = []

    def timed(batch, name, *, compiled, autocast):
        tried.append(compiled)
        return ExecutionPlan(name, 1.0, batch.make_models(0))

    with patch("hpo.executors.fused.benchmark._timed", timed):
        choose(batch, work=1e9, compile="auto", precision="float32")
    assert (True in tried) is compiled
