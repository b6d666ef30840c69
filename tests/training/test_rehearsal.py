"""What is told before the first trial, and what is not refused."""

import random
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    LRScheduler,
    ProgressBar,
    TrainEndCheckpoint,
)
from skorch.dataset import ValidSplit
from torch import nn

from hpo import HPOSearchCV
from hpo.exceptions import DataError, HpoError
from hpo.nets import RegularizedClassifier
from hpo.space import SearchSpace
from hpo.space.likely_points import rehearsed_points
from hpo.training.objective import Objective
from hpo.training.rehearsal import rehearse

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4)).astype("float32")
Y = (X[:, 0] + 0.5 * RNG.normal(size=120) > 0.3).astype("int64")
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
TARGET = (X @ np.array([1.0, -2.0, 0.5, 3.0])).astype("float32")
ROWS = np.arange(120)


class Net(nn.Module):
    def __init__(self, n_in=4, n_out=2, bn=False, last=None, flat=False):
        super().__init__()
        norm = nn.BatchNorm1d(8) if bn else nn.Identity()
        self.layers = nn.Sequential(nn.Linear(n_in, 8), norm, nn.ReLU(), nn.Linear(8, n_out))
        self.last, self.flat = last or nn.Identity(), flat

    def forward(self, X):
        out = self.last(self.layers(X))
        return out.squeeze(1) if self.flat else out


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, left, right):
        return self.layer(torch.cat([left.float() * 0 + left, right], 1))


class Embedded(nn.Module):
    def __init__(self, n=10):
        super().__init__()
        self.table, self.head = nn.Embedding(n, 4), nn.Linear(4, 2)

    def forward(self, X):
        return self.head(self.table(X).mean(1))


def made(cls, module=Net, **settings):
    known = {"max_epochs": 2, "lr": 0.05, "batch_size": 32, "train_split": None, "verbose": 0}
    return cls(module, **{**known, **settings})


def classifier(module=Net, **settings):
    return made(NeuralNetClassifier, module, **{"criterion": nn.CrossEntropyLoss, **settings})


def regressor(module=Net, **settings):
    given = {"module__n_out": 1, **settings}
    return made(NeuralNetRegressor, module, criterion=given.pop("criterion", nn.MSELoss), **given)


def plain(criterion, **settings):
    return made(NeuralNet, Net, criterion=criterion, **{"module__n_out": 1, **settings})


def piped(net, *before):
    return Pipeline([("scale", StandardScaler()), *before, ("net", net)])


LR = {"lr": {"type": "float", "low": 0.01, "high": 0.1, "log": True}}


def rehearsed(net, rows, y, space=None, **settings):
    """Rehearse a search, and return its notes."""
    names = ("lr", "net__lr", "C", "svc__C", "lr__C")
    name = next(name for name in names if name in net.get_params())
    space = SearchSpace.load(space or {name: LR["lr"]})
    quotes = settings.pop("quotes", True)
    objective = Objective(net, rows, y, resolve=space.resolve, **{"cv": 3, **settings})
    return rehearse(objective, rehearsed_points(space), quotes=quotes)


class Focal(nn.Module):
    """A loss on logits that skorch knows nothing of."""

    def forward(self, output, target):
        return (1 - output.softmax(1).gather(1, target[:, None])).square().mean()


class OwnSquares(nn.Module):
    def forward(self, output, target):
        return ((output - target) ** 2).mean()


NAN_Y = np.where(ROWS == 70, np.nan, TARGET).astype("float32")[:, None]
NAN_X = np.where((ROWS == 70)[:, None], np.nan, X)
SORTED = np.argsort(THREE, kind="stable")
FRAME = pd.DataFrame(X, columns=list("abcd"))
TOKENS = RNG.integers(0, 10, size=(120, 5))
BN_CV = [(ROWS[:97], ROWS[97:]), (ROWS[20:], ROWS[:20])]  # 97 = 3 * 32 + 1

FAULTS = {
    "a list of rows": (classifier(), X.tolist(), Y, {}, "X is a list.*np.asarray\\(X"),
    "a list of labels": (
        classifier(),
        X,
        (Y + 1).tolist(),
        {},
        "y is a list; y has the labels 1, 2.*fit_transform\\(np.asarray\\(y\\)\\)",
    ),
    "a frame of targets": (
        regressor(),
        X,
        pd.DataFrame({"y": TARGET}),
        {},
        "y is a data frame: give y.to_numpy\\(\\)\\.",
    ),
    "a series of targets": (
        plain(nn.BCEWithLogitsLoss),
        X,
        pd.Series(Y),
        {"scoring": "neg_mean_squared_error"},
        "y is a series; y is int64.*; y is flat.*y.to_numpy\\(\\).astype\\('float32'\\).reshape",
    ),
    "a tensor of int32": (
        classifier(),
        X,
        torch.as_tensor(Y).int(),
        {},
        "y is int32.*give y.long\\(\\)\\.",
    ),
    "float64 in a dict": (
        classifier(Named),
        {"left": X[:, :2].astype("float64"), "right": X[:, 2:]},
        Y,
        {},
        "X is float32, float64.*X\\[...\\].astype\\('float32'\\)",
    ),
    "a frame with text": (
        classifier(),
        FRAME.assign(e="word"),
        Y,
        {},
        "data frame.*TableEncoder",
    ),
    "float64 rows": (classifier(), X.astype("float64"), Y, {}, "float64.*X.astype\\('float32'\\)"),
    "float64 tensor": (classifier(), torch.as_tensor(X).double(), Y, {}, "X.float\\(\\)"),
    "float16 rows": (classifier(), X.astype("float16"), Y, {}, "float16.*float32"),
    "whole numbers": (classifier(), (10 * X).astype("int64"), Y, {}, "X is int64.*float32"),
    "bytes": (classifier(), (10 * X).astype("uint8"), Y, {}, "X is uint8.*float32"),
    "float tokens": (
        classifier(Embedded),
        TOKENS.astype("float32"),
        Y,
        {},
        "whole numbers \\(int64\\).*X.astype\\('int64'\\)",
    ),
    "a token too many": (
        classifier(Embedded),
        np.where((ROWS == 118)[:, None], 10, TOKENS),
        Y,
        {},
        "index out of range.*greatest number in X",
    ),
    "a frame": (classifier(), FRAME, Y, {}, "data frame.*X.to_numpy\\(dtype='float32'\\)"),
    "a sparse matrix": (
        classifier(),
        scipy.sparse.csr_array(X.astype("float64")),
        Y,
        {},
        "X is (float64|a sparse matrix).*float32",
    ),
    "float64 after a step": (
        piped(classifier()),
        X.astype("float64"),
        Y,
        {},
        "X is float64.*as the steps before the net return it.*FunctionTransformer",
    ),
    "a frame after a step": (
        piped(classifier()).set_output(transform="pandas"),
        FRAME,
        Y,
        {},
        "X is a data frame.*as the steps before the net return it.*FunctionTransformer",
    ),
    "text": (classifier(), X, np.array(["no", "yes"])[Y], {}, "labels 'no', 'yes'.*LabelEncoder"),
    "objects": (classifier(), X, np.array(["no", "yes"], dtype=object)[Y], {}, "LabelEncoder"),
    "from 1": (classifier(), X, Y + 1, {}, "labels 1, 2, and classes are numbered from 0"),
    "-1 and 1": (classifier(), X, 2 * Y - 1, {}, "labels -1, 1, and classes are numbered from 0"),
    "truth values": (classifier(), X, Y > 0, {}, "(labels False, True|int64)"),
    "int32": (classifier(), X, Y.astype("int32"), {}, "y is int32.*y.astype\\('int64'\\)"),
    "float labels": (classifier(), X, Y.astype("float32"), {}, "from 0 to 1|y.astype\\('int64'\\)"),
    "a column of labels": (classifier(), X, Y[:, None], {}, "give y.ravel\\(\\)"),
    "float64 and from 1": (
        classifier(module__n_out=3),
        X.astype("float64"),
        THREE + 1,
        {},
        "X.astype\\('float32'\\).*labels 1, 2, 3",
    ),
    "a monitor of a part that there is not": (
        classifier(callbacks=[EarlyStopping()]),
        X,
        Y,
        {},
        "train_split=None sets none aside: give train_split=.*ValidSplit",
    ),
    "a checkpoint of a part that there is not": (
        RegularizedClassifier(Net, callbacks=[Checkpoint()], verbose=0),
        X,
        Y,
        {},
        "train_split=None sets none aside",
    ),
    "more classes than outputs": (
        classifier(),
        X,
        THREE,
        {},
        "returns 2 outputs.*classes from . to 2.*as many outputs",
    ),
    "a class that comes late": (
        classifier(),
        X[SORTED],
        THREE[SORTED],
        {"cv": KFold(3, shuffle=True, random_state=0)},
        "returns 2 outputs",
    ),
    "nan in y": (plain(nn.MSELoss), X, NAN_Y, {"scoring": "r2"}, "NaN"),
    "nan in y, own scorer": (
        regressor(),
        X,
        NAN_Y,
        {"scoring": lambda net, X, y: -np.nanmean((net.predict(X) - y) ** 2)},
        "y holds NaN in 1 of the 80 rows.*Leave",
    ),
    "nan behind a step": (piped(classifier()), NAN_X, Y, {}, "X holds NaN in 1 of.*SimpleImputer"),
    "flat": (regressor(), X, TARGET, {}, "compares every prediction with every target.*reshape"),
    "flat, L1": (regressor(criterion=nn.L1Loss), X, TARGET, {}, "reshape\\(-1, 1\\)"),
    "flat, smooth": (plain(nn.SmoothL1Loss), X, TARGET, {"scoring": "r2"}, "reshape\\(-1, 1\\)"),
    "flat, Huber": (plain(nn.HuberLoss), X, TARGET, {"scoring": "r2"}, "reshape\\(-1, 1\\)"),
    "flat, own loss": (regressor(criterion=OwnSquares), X, TARGET, {}, "OwnSquares.*reshape"),
    "flat, Poisson": (
        regressor(criterion=nn.PoissonNLLLoss),
        X,
        np.abs(TARGET),
        {},
        "reshape\\(-1, 1\\)",
    ),
    "column to a flat output": (
        regressor(module__flat=True),
        X,
        TARGET[:, None],
        {},
        "Reshape y to \\(n_samples,\\): np.asarray\\(y\\).ravel\\(\\)",
    ),
    "flat logits": (
        plain(nn.BCEWithLogitsLoss),
        X,
        Y.astype("float32"),
        {"scoring": "r2"},
        "give y.reshape\\(-1, 1\\)",
    ),
    "whole logits": (
        made(NeuralNetBinaryClassifier, module__n_out=1),
        X,
        Y,
        {},
        "y is int64.*y.astype\\('float32'\\)",
    ),
    "logits from 1": (
        made(NeuralNetBinaryClassifier, module__n_out=1),
        X,
        (Y + 1).astype("float32"),
        {},
        "targets from 0 to 1.*Got 1 to 2.*two classes as 0 and 1",
    ),
    "logits of -1 and 1": (
        made(NeuralNetBinaryClassifier, module__n_out=1),
        X,
        (2 * Y - 1).astype("float32"),
        {},
        "targets from 0 to 1.*Got -1 to 1",
    ),
    "margins of 0 and 1": (
        plain(nn.SoftMarginLoss),
        X,
        Y[:, None].astype("float32"),
        {"scoring": "r2"},
        "targets of -1 or 1.*Got 0 to 1.*two classes as -1 and 1",
    ),
    "text for logits": (
        made(NeuralNetBinaryClassifier, module__n_out=1),
        X,
        np.array(["a", "b"])[Y],
        {},
        "labels 'a', 'b'.*float32.*LabelEncoder\\(\\).fit_transform\\(y\\).astype\\('float32'\\)",
    ),
    "one row in the last batch": (
        classifier(module__bn=True),
        X,
        Y,
        {"cv": BN_CV},
        "97 rows.*one row.*batch normalization.*drop_last",
    ),
    "one row in a later fold": (
        classifier(module__bn=True),
        X,
        Y,
        {"cv": [(ROWS[20:], ROWS[:20])] * 3 + BN_CV[:1]},
        "Fold 3 trains on 97 rows",
    ),
    "logits for skorch's default": (
        classifier(criterion=nn.NLLLoss),
        X,
        Y,
        {},
        "NLLLoss takes the logarithm.*CrossEntropyLoss",
    ),
    "logits for roc_auc": (
        classifier(criterion=Focal),
        X,
        Y,
        {"scoring": "roc_auc"},
        "takes probabilities.*Focal.*predict_nonlinearity",
    ),
    "logits for log loss": (
        classifier(criterion=Focal, module__n_out=3),
        X,
        THREE,
        {"scoring": "neg_log_loss"},
        "takes probabilities.*predict_nonlinearity",
    ),
    "two kinds of scorers": (
        classifier(criterion=Focal),
        X,
        Y,
        {"scoring": ["accuracy", "roc_auc"]},
        "'roc_auc' takes probabilities",
    ),
    "one class in a validation part": (
        classifier(),
        X[np.argsort(Y)],
        np.sort(Y),
        {"cv": KFold(5), "scoring": "roc_auc"},
        "validation part has only one class",
    ),
    "too few inputs": (
        classifier(module__n_in=5),
        X,
        Y,
        {},
        "all parameters that were tried.*mat1 and mat2",
    ),
    "no such scorer for it": (
        LinearSVC(),
        X,
        Y,
        {"scoring": "neg_log_loss"},
        "predict_proba, which LinearSVC does not have.*CalibratedClassifierCV",
    ),
    "no such scorer in a pipeline": (
        Pipeline([("scale", StandardScaler()), ("svc", SVC())]),
        X,
        Y,
        {"scoring": "neg_brier_score"},
        "predict_proba, which SVC does not have",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_its_cure(fault):
    net, rows, y, settings, told = FAULTS[fault]
    with pytest.raises(DataError, match=f"(?s){told}") as caught:
        rehearsed(net, rows, y, **settings)
    assert len(str(caught.value)) < 1000


class Reshaping(NeuralNetRegressor):
    def fit(self, X, y, **params):
        return super().fit(X, y[:, None], **params)


class Shifting(NeuralNetClassifier):
    def get_loss(self, y_pred, y_true, *args, **kwargs):
        return super().get_loss(y_pred, y_true - 1, *args, **kwargs)


class Tolerant(NeuralNetRegressor):
    """Leaves out what is unknown."""

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        known = ~torch.isnan(y_true)
        return super().get_loss(y_pred[known], y_true[known], *args, **kwargs)


class Squeezing(nn.Module):
    def forward(self, output, target):
        return nn.functional.mse_loss(output.squeeze(1), target)


class Autoencoder(NeuralNet):
    """Learns X and asks nothing of y, whose shape is another."""

    def get_loss(self, y_pred, y_true, X=None, training=False):
        return nn.functional.mse_loss(y_pred, X)


class Filling(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, X):
        return self.layer(torch.nan_to_num(X))


class Heads(NeuralNetRegressor):
    """Three predictions of one target."""

    def predict(self, X):
        return super().predict(X).mean(1, keepdims=True)


class NeedsMany(NeuralNetClassifier):
    """Looks at all the data before it trains."""

    def fit(self, X, y, **params):
        assert len(X) >= 80
        self.set_params(module__n_in=X.shape[1])
        return super().fit(X, y, **params)


class OwnStep(NeuralNetClassifier):
    def train_step(self, batch, **params):
        assert len(batch[0]) == 32
        return super().train_step(batch, **params)


LOG_SOFTMAX = nn.LogSoftmax(dim=1)


class LogNLL(nn.Module):
    def forward(self, output, target):
        return nn.functional.nll_loss(output, target)


def centred(net, X, y):
    return -np.mean((net.predict(X).mean(1) - y[:, 0]) ** 2)


def mean_of(values, labels):
    return float(np.mean(values == labels))


HEALTHY = {
    "as it should be": (classifier(), X, Y, {}),
    "three classes": (classifier(module__n_out=3), X, THREE, {"scoring": "neg_log_loss"}),
    "an output too many": (classifier(module__n_out=4), X, THREE + 1, {}),
    "float64 target": (regressor(), X, TARGET[:, None].astype("float64"), {}),
    "flat to flat": (regressor(module__flat=True), X, TARGET, {}),
    "own fit that reshapes": (made(Reshaping, module__n_out=1), X, TARGET, {}),
    "own loss that shifts": (made(Shifting, criterion=nn.CrossEntropyLoss), X, Y + 1, {}),
    "own criterion that squeezes": (regressor(criterion=Squeezing), X, TARGET, {}),
    "unknown targets": (
        made(Tolerant, module__n_out=1),
        X,
        NAN_Y,
        {"scoring": lambda net, X, y: -np.nanmean((net.predict(X) - y) ** 2)},
    ),
    "an autoencoder": (
        made(Autoencoder, module__n_out=4, criterion=nn.MSELoss),
        X,
        TARGET,
        {"scoring": lambda net, X, y: -np.mean((net.predict(X) - X) ** 2)},
    ),
    "nan that the module fills": (classifier(Filling), NAN_X, Y, {}),
    "nan that is imputed": (piped(classifier(), ("i", SimpleImputer())), NAN_X, Y, {}),
    "several heads": (made(Heads, module__n_out=3), X, TARGET[:, None], {}),
    "heads and a scorer": (regressor(module__n_out=3), X, TARGET[:, None], {"scoring": centred}),
    "fit that needs all rows": (made(NeedsMany, criterion=nn.CrossEntropyLoss), X, Y, {}),
    "a step of whole batches": (
        made(OwnStep, criterion=nn.CrossEntropyLoss, iterator_train__drop_last=True),
        X,
        Y,
        {},
    ),
    "last row dropped": (
        classifier(module__bn=True, iterator_train__drop_last=True),
        X,
        Y,
        {"cv": BN_CV},
    ),
    "one row without normalization": (classifier(), X, Y, {"cv": BN_CV}),
    "logarithms for roc_auc": (
        classifier(criterion=LogNLL, module__last=LOG_SOFTMAX),
        X,
        Y,
        {"scoring": "roc_auc"},
    ),
    "logits and a softmax": (
        classifier(criterion=Focal, predict_nonlinearity=nn.Softmax(dim=-1)),
        X,
        Y,
        {"scoring": "roc_auc"},
    ),
    "logits for accuracy": (classifier(criterion=Focal), X, Y, {"scoring": "accuracy"}),
    "binary": (
        made(NeuralNetBinaryClassifier, module__n_out=1),
        X,
        Y.astype("float32"),
        {"scoring": "roc_auc"},
    ),
    "soft targets": (
        plain(nn.BCEWithLogitsLoss),
        X,
        np.linspace(0, 1, 120, dtype="float32")[:, None],
        {"scoring": lambda net, X, y: 0.0},
    ),
    "its own validation part": (classifier(train_split=ValidSplit(5, stratified=True)), X, Y, {}),
    "one batch of all rows": (classifier(batch_size=-1), X, Y, {}),
    "a frame by columns": (classifier(None), FRAME, Y, {}),
    "LBFGS": (classifier(optimizer=torch.optim.LBFGS), X, Y, {}),
    "a full batch in double": (
        classifier(nn.Linear(4, 2).double()),
        X.astype("float64"),
        Y,
        {},
    ),
    "no y": (
        made(Autoencoder, module__n_out=4, criterion=nn.MSELoss),
        X,
        None,
        {"scoring": lambda net, X, y=None: -1.0},
    ),
    "sample weights": (
        Pipeline([("scale", StandardScaler()), ("lr", LogisticRegression())]),
        X,
        Y,
        {"fit_params": {"lr__sample_weight": np.ones(120)}},
    ),
    "probability=True": (SVC(probability=True), X, Y, {"scoring": "neg_log_loss"}),
    "decisions for roc_auc": (LinearSVC(), X, Y, {"scoring": "roc_auc"}),
    "a rare class": (
        classifier(module__n_out=3),
        X,
        np.where(ROWS < 3, 2, Y),
        {"scoring": make_scorer(mean_of)},
    ),
}


class ByColumns(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, a, b, c, d):
        return self.layer(torch.cat([a, b, c, d], 1).float())


@pytest.mark.parametrize("case", HEALTHY)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_works_is_not_refused(case):
    net, rows, y, settings = HEALTHY[case]
    if case == "a frame by columns":
        net = classifier(ByColumns)
    if case == "no y":
        net = made(Autoencoder, module__n_out=4, criterion=nn.MSELoss)
    rehearsed(net, rows, y, **settings)


def test_a_spread_target_that_may_be_meant_is_a_note():
    (note,) = rehearsed(regressor(module__n_out=3), X, TARGET[:, None], scoring=centred)
    assert "broadcasts a target of shape (32, 1) to an output of shape (32, 3)" in note


# -- what depends on the parameters --


def test_parameters_under_which_it_fails_are_left_to_the_trials():
    space = {"module__n_in": [5, 4], **LR}
    assert rehearsed(classifier(), X, Y, space) == []
    assert rehearsed(classifier(), X, Y, {"module__n_in": [7, 6, 5, 4, 3], **LR}) == []
    with pytest.raises(DataError, match="mat1 and mat2"):
        rehearsed(classifier(), X, Y, {"module__n_in": [5, 6, 7], **LR})


def test_a_batch_size_that_leaves_one_row_is_left_to_the_trials():
    net = classifier(module__bn=True)
    assert rehearsed(net, X, Y, {"batch_size": [32, 40]}, cv=BN_CV) == []
    with pytest.raises(DataError, match="has one row"):
        rehearsed(net, X, Y, {"batch_size": [32, 48]}, cv=BN_CV)


class Picky(nn.Module):
    """Fails in another way with each width."""

    def __init__(self, width=1):
        super().__init__()
        if width == 1:
            raise ValueError("one")
        if width == 2:
            raise KeyError("two")
        raise RuntimeError("three")


def test_errors_of_several_kinds_decide_nothing():
    assert rehearsed(classifier(Picky), X, Y, {"module__width": [1, 2, 3]}) == []
    with pytest.raises(DataError, match=r"with the only parameters .*ValueError: one"):
        rehearsed(classifier(Picky), X, Y, {"module__width": [1]})


class Hungry(nn.Module):
    def __init__(self):
        super().__init__()
        raise MemoryError("too much")


def test_want_of_memory_decides_nothing():
    assert rehearsed(classifier(Hungry), X, Y) == []


def test_errors_without_a_cause_are_not_quoted_where_the_trial_is_to_raise_them():
    assert rehearsed(classifier(module__n_in=5), X, Y, quotes=False) == []
    with pytest.raises(DataError, match="float32"):
        rehearsed(classifier(), X.astype("float64"), Y, quotes=False)
    search = HPOSearchCV(classifier(module__n_in=5), LR, n_trials=2, cv=3, error_score="raise")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        search.fit(X, Y)


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")


class Mute(nn.Module):
    def __init__(self, how=None):
        super().__init__()
        raise {"exit": SystemExit(3), "mute": Unspeakable()}[how]


@pytest.mark.parametrize(("how", "told"), [("exit", "SystemExit: 3"), ("mute", "Unspeakable")])
def test_whatever_is_raised_is_told(how, told):
    with pytest.raises(DataError, match=told):
        rehearsed(classifier(Mute, module__how=how), X, Y)


# -- nothing is left behind --


class Counting(Callback):
    """Notes in a file that it was called."""

    def __init__(self, path="calls.txt"):
        self.path = path

    def on_epoch_end(self, net, **kwargs):
        with open(self.path, "a") as file:  # noqa: PTH123
            file.write("x")


class Sizes(Callback):
    """Without it the module does not fit the data."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        net.set_params(module__n_in=X.shape[1])


def state():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def test_random_numbers_files_and_the_estimator_are_untouched(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    net = classifier(
        verbose=1,
        train_split=ValidSplit(3),
        callbacks=[
            Checkpoint(dirname="one", load_best=True),
            ("two", TrainEndCheckpoint(dirname="two")),
            Checkpoint,
            Counting(),
            ("acc", EpochScoring("accuracy", on_train=True, name="acc")),
            EarlyStopping(),
            LRScheduler("StepLR", step_size=1),
        ],
    )
    before, params = state(), dict(vars(net))
    grad, filters = torch.is_grad_enabled(), list(warnings.filters)
    rehearsed(
        net, X, Y, {"callbacks__two__dirname": ["a", "b"], "callbacks__acc__use_caching": [True]}
    )
    assert state() == before
    assert vars(net) == params
    assert not net.initialized_
    assert (torch.is_grad_enabled(), list(warnings.filters)) == (grad, filters)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_own_callbacks_are_called_where_it_fails_without(tmp_path):
    path = tmp_path / "calls.txt"
    rehearsed(classifier(callbacks=[Counting(str(path))]), X, Y)
    assert not path.exists()
    rehearsed(classifier(module__n_in=7, callbacks=[Sizes()]), X, Y)


class Forgetful(Callback):
    def on_train_begin(self, net, **kwargs):
        raise OSError("there is no checkpoint")


def test_an_error_of_a_callback_may_be_for_want_of_one_that_was_left_out():
    with pytest.raises(DataError, match="there is no checkpoint"):
        rehearsed(classifier(callbacks=[Checkpoint(), Forgetful()]), X, Y)
    net = classifier(callbacks=[ProgressBar(), Forgetful()])
    assert rehearsed(net, X, Y) == []


def test_an_epoch_is_one_batch_and_a_fold_some_rows():
    seen = []

    class Seen(NeuralNetClassifier):
        def train_step(self, batch, **params):
            seen.append(("train", len(batch[0])))
            return super().train_step(batch, **params)

        def evaluation_step(self, batch, training=False):
            seen.append(("score", len(batch[0])))
            return super().evaluation_step(batch, training)

    many = np.tile(X, (50, 1)), np.tile(Y, 50)
    net = made(Seen, criterion=nn.CrossEntropyLoss, max_epochs=100, batch_size=64)
    rehearsed(net, *many, cv=5)
    assert sum(n for what, n in seen if what == "score") <= 5 * 70
    assert sum(n for what, n in seen if what == "train") <= 5 * 64 + 2 * 200


def test_a_search_is_refused_before_anything_is_created(tmp_path):
    url = f"journal:///{tmp_path}/hpo.journal"
    settings = {"n_trials": 3, "cv": 3, "pruner": None, "storage": url, "random_state": 0}
    search = HPOSearchCV(classifier(), LR, **settings)
    with pytest.raises(HpoError, match="float32"):
        search.fit(X.astype("float64"), Y)
    assert list(tmp_path.iterdir()) == []
    assert search.fit(X, Y).result_.n_complete == 3
