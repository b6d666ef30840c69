"""Pairs of values, equal and different ones: run as a script it prints the marks of all of them.

It is a file of a user's own, as a study file is: run as ``__main__``, and loaded by path under a
generated name.
"""

import functools
import itertools
import json
import logging
import random
import sqlite3
import sys
import threading
import types
from collections import Counter, OrderedDict, deque, namedtuple
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import pandas as pd
import scipy.sparse as sp
import sklearn
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import fbeta_score, log_loss, make_scorer, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, EpochScoring, LRScheduler
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import SliceDataset
from torch import nn
from torch.utils.data import Subset, TensorDataset

from hpo.identity import Describer

EQUAL, DIFFERENT, UNKNOWN = "equal", "different", "unknown"
PAIRS = {}


def pair(kind, name, first, second):
    """Note two functions that make the values."""
    assert name not in PAIRS, name
    PAIRS[name] = (kind, first, second)


equal = functools.partial(pair, EQUAL)
different = functools.partial(pair, DIFFERENT)


def written(source, name="thing"):
    """Return what a module of the user's own defines as ``name``."""
    module = types.ModuleType("written")
    exec(source, vars(module))
    return getattr(module, name)


def edited(name, source, *change, kind=DIFFERENT):
    """Note a source and the same one edited."""
    old, new = change
    assert old in source
    pair(kind, name, lambda: written(source), lambda: written(source.replace(old, new)))


# -- arrays ------------------------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
WIDE = np.hstack([X, X])


def changed(array, place=(3, 2)):
    array = array.copy()
    array[place] += 1
    return array


equal("fortran order", lambda: X, lambda: np.asfortranarray(X))
equal("a view", lambda: X, lambda: WIDE[:, :6])
equal("every second row", lambda: np.repeat(X, 2, axis=0)[::2], lambda: X)
equal("backwards", lambda: X[::-1], lambda: np.flip(X, 0).copy())
equal("a transposed copy", lambda: X.T.copy().T, lambda: X)
equal("byte order", lambda: X, lambda: X.astype(">f4"))
equal("a tensor", lambda: X, lambda: torch.from_numpy(X))
equal("a tensor's view", lambda: torch.from_numpy(WIDE)[:, :6], lambda: torch.from_numpy(X))
equal("with a gradient", lambda: torch.ones(3), lambda: torch.ones(3, requires_grad=True))
equal(
    "bfloat16",
    lambda: torch.ones(4, 3, dtype=torch.bfloat16),
    lambda: torch.ones(3, 4, dtype=torch.bfloat16).T,
)
equal("lengths of texts", lambda: np.array(["a", "b"]), lambda: np.array(["a", "b"], dtype="U9"))
equal(
    "masked",
    lambda: np.ma.masked_array([1.0, 2.0], [False, True]),
    lambda: np.ma.masked_array([1.0, 9.0], [False, True]),
)
equal("an empty one", lambda: np.empty((0, 3)), lambda: np.empty((0, 6))[:, ::2])
equal("a single number in an array", lambda: np.array(3.0), lambda: np.array([3.0]).reshape(()))
equal("times", lambda: np.array(["2020-01-01"], "M8[D]"), lambda: np.array(["2020-01-01"], "M8[D]"))
different("a value", lambda: X, lambda: changed(X))
different("a value in a tensor", lambda: torch.from_numpy(X), lambda: torch.from_numpy(changed(X)))
different(
    "a value in bfloat16",
    lambda: torch.ones(3, dtype=torch.bfloat16),
    lambda: torch.tensor([1, 1, 2], dtype=torch.bfloat16),
)
different("a type", lambda: X, lambda: X.astype("float64"))
different("bfloat16 or float16", lambda: torch.ones(3).bfloat16(), lambda: torch.ones(3).half())
different("a shape", lambda: X, lambda: X.reshape(6, 40))
different("the order of rows", lambda: X, lambda: X[::-1])
different("whole or not", lambda: np.array([1, 2]), lambda: np.array([1.0, 2.0]))
different("texts", lambda: np.array(["a", "b"]), lambda: np.array(["a", "c"]))
different("objects", lambda: np.array(["a", None], object), lambda: np.array(["a", "None"], object))
different(
    "a mask",
    lambda: np.ma.masked_array([1.0, 2.0], [False, True]),
    lambda: np.ma.masked_array([1.0, 2.0], [True, False]),
)
different(
    "a field",
    lambda: np.array([(1, 2)], [("a", int), ("b", int)]),
    lambda: np.array([(1, 3)], [("a", int), ("b", int)]),
)
different("a missing value", lambda: np.array([1.0, np.nan]), lambda: np.array([1.0, 0.0]))


def sparse(kind, *, zeros=False):
    rows, columns, values = [0, 1, 1, 2], [1, 0, 0, 2], [1.0, 2.0, 3.0, 4.0]
    if zeros:
        rows, columns, values = [*rows, 2], [*columns, 0], [*values, 0.0]
    return kind(sp.coo_matrix((values, (rows, columns)), shape=(3, 3)))


equal("sparse by columns", lambda: sparse(sp.csr_matrix), lambda: sparse(sp.csc_matrix))
equal(
    "sparse with zeros kept", lambda: sparse(sp.csr_array), lambda: sparse(sp.coo_array, zeros=True)
)
different("sparse values", lambda: sparse(sp.csr_matrix), lambda: sparse(sp.csr_matrix) * 2)
different("sparse or dense", lambda: sparse(sp.csr_matrix), lambda: sparse(sp.csr_matrix).toarray())
different(
    "a sparse tensor", lambda: torch.eye(3).to_sparse(), lambda: torch.eye(3).mul(2).to_sparse()
)
equal(
    "the format of a sparse tensor",
    lambda: torch.eye(3).to_sparse(),
    lambda: torch.eye(3).to_sparse_csr(),
)


def frame(**changes):
    columns = {
        "a": [1.0, 2.0, 3.0],
        "b": pd.Categorical(["x", "y", "x"]),
        "c": ["one", "two", None],
        "d": pd.array([1, None, 3], dtype="Int64"),
        "e": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"]).tz_localize("UTC"),
    }
    return pd.DataFrame({**columns, **changes})


equal("frames", frame, lambda: frame().copy())
equal("the layout of a frame", lambda: pd.DataFrame(X), lambda: pd.DataFrame(np.asfortranarray(X)))
equal("how rows were numbered", frame, lambda: frame().set_index(np.array([7, 5, 3])))
equal("a series' name", lambda: pd.Series([1, 2], name="y"), lambda: pd.Series([1, 2], name="z"))
equal("a series or an array", lambda: pd.Series([1, 2]), lambda: np.array([1, 2]))
different("a column's value", frame, lambda: frame(a=[1.0, 2.0, 4.0]))
different("a column's type", frame, lambda: frame(a=[1, 2, 3]))
different("a column's name", frame, lambda: frame().rename(columns={"a": "A"}))
different("the order of columns", frame, lambda: frame()[["b", "a", "c", "d", "e"]])
different("a category", frame, lambda: frame(b=pd.Categorical(["x", "y", "y"])))
different(
    "the order of categories", frame, lambda: frame(b=pd.Categorical(["x", "y", "x"], ["y", "x"]))
)
different("a text", frame, lambda: frame(c=["one", "two", "three"]))
different("a nullable number", frame, lambda: frame(d=pd.array([1, 0, 3], dtype="Int64")))
different("a time", frame, lambda: frame(e=frame()["e"] + pd.Timedelta("1s")))
different("an index of texts", frame, lambda: frame().set_index(pd.Index(["p", "q", "r"])))
different("columns of one type", lambda: pd.DataFrame(X), lambda: pd.DataFrame(changed(X)))

# -- numbers, texts, containers ----------------------------------------------------------------

equal("a number of numpy's", lambda: 0.1, lambda: np.float64(0.1))
equal("a whole number of numpy's", lambda: [3, True], lambda: [np.int64(3), np.True_])
equal("a text of numpy's", lambda: "adam", lambda: np.str_("adam"))
equal("the order of a set", lambda: {"a", "b", "c"}, lambda: {"c", "b", "a"})
equal("the order of a mapping", lambda: {"a": 1, "b": X}, lambda: {"b": X, "a": 1})
equal("not a number", lambda: float("nan"), lambda: float("nan"))
different("1 or 1.0", lambda: 1, lambda: 1.0)
different("1 or True", lambda: 1, lambda: True)
different("1 or '1'", lambda: 1, lambda: "1")
different("None or 'None'", lambda: None, lambda: "None")
different("a list or a tuple", lambda: [1, 2], lambda: (1, 2))
different("a list of lists or of tuples", lambda: [[1], [2]], lambda: [(1,), (2,)])
different("a set's member", lambda: {"a", "b"}, lambda: {"a", "c"})
different(
    "the order of an ordered mapping", lambda: OrderedDict(a=1, b=2), lambda: OrderedDict(b=2, a=1)
)
different("the place of a number", lambda: [1, [2, 3]], lambda: [1, 2, 3])
different("a long list", lambda: list(range(5000)), lambda: [*range(4999), 0])
different("bytes", lambda: b"abc", lambda: b"abd")
different("a number deep inside", lambda: {"a": [{"b": (1, 2)}]}, lambda: {"a": [{"b": (1, 3)}]})
equal("counters", lambda: Counter("aab"), lambda: Counter("aba"))
different("a deque", lambda: deque([1, 2]), lambda: deque([2, 1]))
Point = namedtuple("Point", "x y")
different("a named tuple", lambda: Point(1, 2), lambda: Point(1, 3))


def circle(end):
    items = [1, end]
    items.append(items)
    return items


equal("a circle", lambda: circle(2), lambda: circle(2))
different("another circle", lambda: circle(2), lambda: circle(3))

# -- functions ---------------------------------------------------------------------------------


def f_score(beta):
    def score(estimator, X, y):
        return fbeta_score(y, estimator.predict(X), beta=beta)

    return score


def counting():
    calls, n = [], 0

    def score(estimator, X, y):
        nonlocal n
        n += 1
        calls.append(n)
        return 0.0

    return score


def counted():
    score = counting()
    score(None, None, None)
    return score


def keyword(*, beta):
    def score(estimator, X, y, *, b=beta):
        return b

    return score


def factorial(n):
    return 1 if n == 0 else n * factorial(n - 1)


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


def first_and_second():
    return [lambda x: x + 1, lambda x: x + 2]


def attributed(value):
    def score():
        return 0

    score.greater_is_better = value
    return score


equal("closures", lambda: f_score(2.0), lambda: f_score(2.0))
equal("a counter in a closure", counting, counted)
equal("functions that call themselves", lambda: factorial, lambda: factorial)
equal("functions that call each other", lambda: (even, odd), lambda: (even, odd))
equal("defaults", lambda: lambda x, b=2: b, lambda: lambda x, b=2: b)
equal(
    "keywords of a partial",
    lambda: functools.partial(dict, a=1, b=2),
    lambda: functools.partial(dict, b=2, a=1),
)
equal("a library's function", lambda: nn.functional.relu, lambda: nn.functional.relu)
equal("numpy's functions", lambda: np.log1p, lambda: np.log1p)
equal(
    "a cached function",
    lambda: functools.lru_cache(factorial),
    lambda: functools.lru_cache(factorial),
)
equal("bound to equal objects", lambda: StandardScaler().fit, lambda: StandardScaler().fit)
different("a closure", lambda: f_score(2.0), lambda: f_score(0.3))
different("an array in a closure", lambda: f_score(X), lambda: f_score(changed(X)))
different("a default", lambda: lambda x, b=1: b, lambda: lambda x, b=2: b)
different(
    "a default that a loop gave",
    lambda: [lambda b=b: b for b in (1, 2)],
    lambda: [lambda b=b: b for b in (2, 1)],
)
different("a keyword's default", lambda: keyword(beta=1), lambda: keyword(beta=2))
different("lambdas", lambda: lambda x: x + 1, lambda: lambda x: x + 2)
different("constants", lambda: lambda x: x in {"a", "b"}, lambda: lambda x: x in {"a", "c"})
different("names", lambda: lambda x: x.min(), lambda: lambda x: x.max())
different(
    "which of two lambdas",
    lambda: [*first_and_second(), first_and_second()[0]],
    lambda: [*first_and_second(), first_and_second()[1]],
)
different("an attribute of a function", lambda: attributed(True), lambda: attributed(False))
different(
    "partials",
    lambda: functools.partial(torch.optim.SGD, momentum=0.0),
    lambda: functools.partial(torch.optim.SGD, momentum=0.9),
)
different(
    "a partial's function",
    lambda: functools.partial(torch.optim.SGD),
    lambda: functools.partial(torch.optim.Adam),
)
different(
    "a partial of a partial",
    lambda: functools.partial(functools.partial(fbeta_score, beta=1), pos_label=0),
    lambda: functools.partial(functools.partial(fbeta_score, beta=2), pos_label=0),
)
different("functions of libraries", lambda: nn.functional.relu, lambda: nn.functional.gelu)
different("functions of numpy", lambda: np.log1p, lambda: np.log)
different("functions of torch in C", lambda: torch.relu, lambda: torch.sigmoid)
different("methods of texts", lambda: str.lower, lambda: str.upper)
different(
    "bound to other objects",
    lambda: StandardScaler(with_mean=False).fit,
    lambda: StandardScaler().fit,
)
different("another method", lambda: StandardScaler().fit, lambda: StandardScaler().transform)
different("bound methods in C", lambda: "a".join, lambda: "b".join)
different(
    "a cached function's", lambda: functools.lru_cache(even), lambda: functools.lru_cache(odd)
)

FUNCTION = """
import math
import numpy as np

WIDTHS = [8, 16]
SCALE = 2.0
CALLS = 0
SEEN = []

def helper(x):
    return x * SCALE

def deeper(x):
    return helper(x) + 1

def thing(x):
    "Return something."
    global CALLS
    CALLS += 1
    SEEN.append(x)
    result = deeper(x) + WIDTHS[0]  # a comment
    return [math.sqrt(r) for r in np.atleast_1d(result) if r > 0]
"""
edited("a comment", FUNCTION, "# a comment", "# another one", kind=EQUAL)
edited("a docstring", FUNCTION, "Return something.", "Return something else.", kind=EQUAL)
edited("no docstring", FUNCTION, '    "Return something."\n', "", kind=EQUAL)
edited("an empty line", FUNCTION, "    global", "\n    global", kind=EQUAL)
edited("a local name", FUNCTION, "result", "outcome", kind=EQUAL)
edited("a global that it changes", FUNCTION, "CALLS = 0", "CALLS = 5", kind=EQUAL)
edited("a list that it fills", FUNCTION, "SEEN = []", "SEEN = [1]", kind=EQUAL)
edited("a global that nobody reads", FUNCTION, "CALLS = 0", "CALLS = 0\nOTHER = 3", kind=EQUAL)
edited("an operation", FUNCTION, "+ WIDTHS", "- WIDTHS")
edited("a number", FUNCTION, "r > 0", "r > 1")
edited("a function that it calls", FUNCTION, "x * SCALE", "x / SCALE")
edited("a function called by one that it calls", FUNCTION, "helper(x) + 1", "helper(x) + 2")
edited("a global number", FUNCTION, "SCALE = 2.0", "SCALE = 3.0")
edited("a global list", FUNCTION, "[8, 16]", "[4, 16]")
ENVIRONMENT = """
import os, sys
from os import environ
os.environ["HPO_TEST_IDENTITY"] = "1"
sys.path.append("/nowhere")

def thing(x):
    return os.environ.get("HOME"), environ, sys.path, x + 1
"""
edited("the environment", ENVIRONMENT, '"1"', '"2"', kind=EQUAL)
edited("what is done in an environment", ENVIRONMENT, "x + 1", "x + 2")
edited("an imported module", FUNCTION, "import math", "import cmath as math")

# -- classes and their instances ---------------------------------------------------------------

CLASS = '''
import functools
from dataclasses import dataclass
from torch import nn

WIDTH = 16

class Block(nn.Module):
    def forward(self, x):
        return x + 1

class Base(nn.Module):
    scale = 2.0

    def __init__(self):
        """Make it."""
        super().__init__()
        self.block = Block()
        self.layer = nn.Linear(4, WIDTH)

    @property
    def width(self):
        return WIDTH + 1

    @staticmethod
    def cut(x):
        return x[:3]

    @classmethod
    def named(cls):
        return cls.__name__ + "1"

    @functools.cached_property
    def depth(self):
        return 3

class thing(Base):
    "A net."
    def forward(self, X):
        return self.layer(self.block(X)) * self.scale
'''
edited("a class", CLASS, "A net.", "A better net.", kind=EQUAL)
edited("a method's docstring", CLASS, "Make it.", "Make it well.", kind=EQUAL)
edited("a method", CLASS, "* self.scale", "/ self.scale")
edited("a method of a base", CLASS, "nn.Linear(4", "nn.Linear(5")
edited("a class that it uses", CLASS, "x + 1", "x + 2")
edited("an attribute", CLASS, "scale = 2.0", "scale = 3.0")
edited("a global that a class reads", CLASS, "WIDTH = 16", "WIDTH = 32")
edited("a property", CLASS, "WIDTH + 1", "WIDTH + 2")
edited("a static method", CLASS, "x[:3]", "x[:4]")
edited("a class method", CLASS, '"1"', '"2"')
edited("a cached property", CLASS, "return 3", "return 4")
edited("a base", CLASS, "class Base(nn.Module)", "class Base(nn.Sequential)")
edited("another name", CLASS + "\nthing = Base", "thing = Base", "thing = Block")

DECORATED = """
import contextlib, functools, torch

def twice(function):
    @functools.wraps(function)
    def inner(*args):
        return 2 * function(*args)
    return inner

@twice
@torch.no_grad()
def thing(x):
    return x + 1
"""
edited("a decorated function", DECORATED, "x + 1", "x + 2")
edited("a decorator", DECORATED, "return 2 *", "return 3 *")
edited("a decorator of a library", DECORATED, "@torch.no_grad()", "@torch.inference_mode()")

CLOSED = """
from torch import nn
def make(width):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, width)
    return Net
thing = make(8)
"""
edited("a class made by a function", CLOSED, "make(8)", "make(16)")

GIVEN = """
from dataclasses import dataclass, field
@dataclass
class Loss:
    weight: float = 1.0
    parts: list = field(default_factory=list)
    def __call__(self, a, b):
        return self.weight * (a - b)
thing = Loss(2.0)
"""
edited("a callable object", GIVEN, "(a - b)", "(b - a)")
edited("a callable object's state", GIVEN, "Loss(2.0)", "Loss(3.0)")
edited("how a field begins", GIVEN, "default_factory=list", "default_factory=tuple")


class Colour(Enum):
    RED = 1
    BLUE = 2


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a):
        self.a = a


class Unpicklable:
    def __init__(self, a):
        self.a, self.lock = a, threading.Lock()

    def __reduce__(self):
        raise TypeError("not picklable")


@dataclass
class Holder:
    value: object
    log: object = field(default_factory=lambda: logging.getLogger(__name__))


equal("dataclasses", lambda: Holder(X), lambda: Holder(X.copy()))
equal("unpicklable ones", lambda: Unpicklable(1), lambda: Unpicklable(1))
equal("locks", threading.Lock, threading.Lock)
equal("random streams", lambda: np.random.default_rng(3), lambda: np.random.default_rng(3))
equal("devices", lambda: torch.device("cpu"), lambda: torch.device("cpu"))
different("a held array", lambda: Holder(X), lambda: Holder(changed(X)))
different("members of an enum", lambda: Colour.RED, lambda: Colour.BLUE)
different("slots", lambda: Slotted(1), lambda: Slotted(2))
different("unpicklable state", lambda: Unpicklable(1), lambda: Unpicklable(2))
different("seeds", lambda: np.random.default_rng(3), lambda: np.random.default_rng(4))
different("old seeds", lambda: np.random.RandomState(3), lambda: np.random.RandomState(4))
different("seeds of Python", lambda: random.Random(3), lambda: random.Random(4))
different(
    "seeds of torch",
    lambda: torch.Generator().manual_seed(3),
    lambda: torch.Generator().manual_seed(4),
)
different("types of torch", lambda: torch.float32, lambda: torch.float16)
different("classes of libraries", lambda: torch.optim.SGD, lambda: torch.optim.Adam)

COUNTED = """
STEPS = {}
LAYERS = {}
LOG = []

def register(function):
    LAYERS[function.__name__] = function
    return function

@register
def small(x):
    return x + 1

class Base:
    calls = 0
    seen = []
    limit = 3

class Mixin:
    def note(self, x):
        self.seen.append(x)
        type(self).last = x

class thing(Mixin, Base):
    last = None
    width = 8

    def __init__(self):
        self.width = 9

    def __call__(self, x):
        thing.calls += 1
        STEPS[x] = 1
        LOG.append(x)
        return LAYERS["small"](x) + self.limit
"""
edited("a counter of a class", COUNTED, "calls = 0", "calls = 5", kind=EQUAL)
edited("a list that methods fill", COUNTED, "seen = []", "seen = [1]", kind=EQUAL)
edited("an attribute of the object's class", COUNTED, "last = None", "last = 4", kind=EQUAL)
edited("a mapping that it fills", COUNTED, "STEPS = {}", "STEPS = {2: 1}", kind=EQUAL)
edited("a log", COUNTED, "LOG = []", "LOG = [3]", kind=EQUAL)
edited("a constant of a class", COUNTED, "limit = 3", "limit = 4")
edited("what an object overrides", COUNTED, "width = 8", "width = 16")
edited("a function in a registry", COUNTED, "x + 1", "x + 2")

# -- scorers, estimators, nets -----------------------------------------------------------------


class Net(nn.Module):
    def __init__(self, n=4, k=2, width=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n, width), nn.ReLU(), nn.Linear(width, k))

    def forward(self, X):
        return self.layers(X)


class Own(BaseEstimator):
    def __init__(self, alpha=1.0):
        self.alpha = alpha


class OtherNet(Net):
    pass


def net(module=Net, **params):
    known = dict(criterion=nn.CrossEntropyLoss, max_epochs=3, lr=0.1, train_split=None, verbose=0)
    return NeuralNetClassifier(module, **{**known, **params})


def seeded(make, seed=0):
    torch.manual_seed(seed)
    return make()


def stack(p=0.2, width=8, depth=1):
    inner = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.Dropout(p))]
    return nn.Sequential(nn.Linear(4, width), *inner)


def frozen(module):
    module[0].weight.requires_grad_(False)
    return module


def hooked(module):
    module.register_forward_hook(first_and_second()[0])
    return module


def normed(mean):
    module = nn.BatchNorm1d(3)
    module.running_mean += mean
    return module


def fitted(C=1.0, **params):
    y = (X[:, 0] > 0).astype(int)
    return LogisticRegression(C=C, **params).fit(X, y)


equal(
    "scorers",
    lambda: make_scorer(fbeta_score, beta=0.3),
    lambda: make_scorer(fbeta_score, beta=0.3),
)
equal("nets", net, lambda: clone(net()))
equal("how much a net tells", net, lambda: net(verbose=1))
equal(
    "jobs of a forest",
    lambda: RandomForestClassifier(n_jobs=1),
    lambda: RandomForestClassifier(n_jobs=4, verbose=3),
)
equal("a fitted estimator, which is cloned", LogisticRegression, fitted)
equal(
    "a fitted one in a list",
    lambda: make_pipeline(LogisticRegression()),
    lambda: make_pipeline(fitted()),
)
equal("modules", lambda: seeded(stack), lambda: seeded(stack))
equal("a module that is evaluated", lambda: seeded(stack), lambda: seeded(stack).eval())
equal(
    "a weight of the criterion",
    lambda: net(criterion__weight=torch.tensor([1.0, 2.0])),
    lambda: net(criterion__weight=torch.tensor([1.0, 2.0])),
)
different(
    "another metric", lambda: make_scorer(recall_score), lambda: make_scorer(fbeta_score, beta=1.0)
)
different(
    "a keyword of a scorer",
    lambda: make_scorer(fbeta_score, beta=1),
    lambda: make_scorer(fbeta_score, beta=0.3),
)
different(
    "the sign of a scorer",
    lambda: make_scorer(log_loss, greater_is_better=True),
    lambda: make_scorer(log_loss, greater_is_better=False),
)
different(
    "what a scorer asks for",
    lambda: make_scorer(log_loss),
    lambda: make_scorer(log_loss, response_method="predict_proba"),
)
different(
    "a request of a scorer",
    lambda: make_scorer(recall_score),
    lambda: make_scorer(recall_score).set_score_request(sample_weight="w"),
)
different("a parameter", lambda: LogisticRegression(C=1.0), lambda: LogisticRegression(C=2.0))
different(
    "a request of an estimator",
    LogisticRegression,
    lambda: LogisticRegression().set_fit_request(sample_weight=True),
)
different("its output", StandardScaler, lambda: StandardScaler().set_output(transform="pandas"))
different("kinds of estimators", Ridge, LogisticRegression)
different("an own estimator", lambda: Own(1.0), lambda: Own(2.0))
different(
    "a step of a Pipeline",
    lambda: make_pipeline(StandardScaler(), Ridge(1.0)),
    lambda: make_pipeline(StandardScaler(), Ridge(2.0)),
)
different(
    "the steps of a Pipeline",
    lambda: make_pipeline(StandardScaler(), Ridge()),
    lambda: make_pipeline(Ridge()),
)
different(
    "a transformer's function",
    lambda: FunctionTransformer(np.log1p),
    lambda: FunctionTransformer(np.sqrt),
)
different(
    "a fitted one that stays so",
    lambda: FrozenEstimator(fitted()),
    lambda: FrozenEstimator(fitted(0.01)),
)
different(
    "a fitted Pipeline that stays so",
    lambda: FrozenEstimator(make_pipeline(StandardScaler()).fit(X)),
    lambda: FrozenEstimator(make_pipeline(StandardScaler()).fit(X * 2)),
)
different(
    "a fitted one in a closure", lambda: f_score(fitted()), lambda: f_score(LogisticRegression())
)
different(
    "a fitted one in a partial",
    lambda: functools.partial(even, fitted()),
    lambda: functools.partial(even, fitted(0.01)),
)
different("a net's parameter", net, lambda: net(lr=0.2))
different("a net's module", net, lambda: net(OtherNet))
different("a parameter of a module", net, lambda: net(module__width=16))
different(
    "a net's optimizer",
    lambda: net(optimizer=functools.partial(torch.optim.SGD, momentum=0.0)),
    lambda: net(optimizer=functools.partial(torch.optim.SGD, momentum=0.9)),
)
different(
    "a callback",
    lambda: net(callbacks=[EarlyStopping(patience=3)]),
    lambda: net(callbacks=[EarlyStopping(patience=5)]),
)
different(
    "a schedule",
    lambda: net(callbacks=[LRScheduler("StepLR", step_size=3)]),
    lambda: net(callbacks=[LRScheduler("StepLR", step_size=5)]),
)
different(
    "a scoring callback",
    lambda: net(callbacks=[EpochScoring(f_score(1))]),
    lambda: net(callbacks=[EpochScoring(f_score(2))]),
)
different(
    "a criterion's weight",
    lambda: net(criterion__weight=torch.tensor([1.0, 2.0])),
    lambda: net(criterion__weight=torch.tensor([1.0, 3.0])),
)
different("a split", lambda: net(train_split=ValidSplit(5)), lambda: net(train_split=ValidSplit(4)))
different("the weights of a module", lambda: seeded(stack), lambda: seeded(stack, 1))
different("a setting of a layer", lambda: seeded(stack), lambda: seeded(lambda: stack(p=0.3)))
different("the layers of a module", lambda: seeded(stack), lambda: seeded(lambda: stack(depth=2)))
different("frozen weights", lambda: seeded(stack), lambda: frozen(seeded(stack)))
different("a hook", lambda: seeded(stack), lambda: hooked(seeded(stack)))
different("a buffer", lambda: normed(0.0), lambda: normed(1.0))

# -- data sets of torch ------------------------------------------------------------------------


class Noisy(torch.utils.data.Dataset):
    def __init__(self, X, transform=None):
        self.X, self.transform = X, transform

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.transform(self.X[i])


def tensors(array):
    return TensorDataset(torch.from_numpy(array))


equal("data sets", lambda: tensors(X), lambda: tensors(np.asfortranarray(X).copy()))
equal("skorch's data sets", lambda: Dataset(X, X[:, 0]), lambda: Dataset(WIDE[:, :6], X[:, 0]))
different("the tensors of a data set", lambda: tensors(X), lambda: tensors(changed(X)))
different(
    "a part of a data set", lambda: Subset(tensors(X), [1, 2]), lambda: Subset(tensors(X), [1, 3])
)
different(
    "a slice of a data set",
    lambda: SliceDataset(tensors(X), 0),
    lambda: SliceDataset(tensors(changed(X)), 0),
)
different("an own data set", lambda: Noisy(X), lambda: Noisy(changed(X)))
different("a transform of a data set", lambda: Noisy(X, f_score(1)), lambda: Noisy(X, f_score(2)))

# -- what cannot be described ------------------------------------------------------------------

pair(UNKNOWN, "a generator", lambda: (x for x in [1]), lambda: (x for x in [1]))
pair(UNKNOWN, "an iterator", itertools.count, itertools.count)
pair(
    UNKNOWN,
    "a connection",
    lambda: sqlite3.connect(":memory:"),
    lambda: sqlite3.connect(":memory:"),
)
pair(
    UNKNOWN, "a parameter that is unknown", lambda: net(sink=iter([1])), lambda: net(sink=iter([1]))
)
pair(
    UNKNOWN, "an unknown value in a closure", lambda: f_score(iter([1])), lambda: f_score(iter([1]))
)


def marks():
    """Return the mark and the code of both values of each pair, and how they should compare."""
    found = {}
    for name, (kind, *makers) in PAIRS.items():
        with sklearn.config_context(enable_metadata_routing=True):
            found[name] = [*(_described(make()) for make in makers), kind]
    return found


def _described(value):
    of = Describer()
    return [of.describe(value).mark, of.code]


if __name__ == "__main__":
    json.dump(marks(), sys.stdout)
