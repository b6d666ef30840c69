"""Find a change of the data with which a net can train, by trying several."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse

from hpo.training.indexing import as_numpy
from hpo.training.objective import Objective
from hpo.training.rehearsal._attempt import Attempt, Part
from hpo.training.rehearsal._rows import leaves

__all__ = ["cure"]

_MAX_SECONDS = 15.0
"""Maximum seconds for trying cures."""
_MAX_LABELS = 4
"""Maximum number of labels in a message."""


@dataclass(frozen=True)
class _Cure:
    """A change of X or of y.

    Parameters
    ----------
    reasons : tuple of str
        Why the change is needed; empty if nothing is changed.
    express : callable
        Maps the Python expression of the data to that of the changed data.
    change : callable
        Applies the change to data.
    """

    reasons: tuple[str, ...]
    express: Callable[[str], str]
    change: Callable[[Any], Any]

    def then(self, other: "_Cure") -> "_Cure":
        """Return the cure that applies this one and then the other."""
        return _Cure(
            (*self.reasons, *other.reasons),
            lambda expression: other.express(self.express(expression)),
            lambda data: other.change(self.change(data)),
        )

    def sentence(self, name: str) -> str:
        """Return a sentence that says why and how to change the data named ``name``."""
        return f"{'; '.join(self.reasons)}: give {self.express(name)}."


_NO_CHANGE = _Cure((), lambda expression: expression, lambda data: data)


def cure(part: Part, objective: Objective, *, training: bool) -> str:
    """Return advice that lets the net train on a part on which it fails; empty if none is known.

    It is the smallest change of the data with which training on a batch and scoring work. If the
    ``training`` fails and no change makes scoring work too, it is the smallest change with which
    training works, since the scorer may have a separate problem.
    """
    advice_for_training, began = "", time.monotonic()
    cures_of_x = [_NO_CHANGE, *_cures_of_x(part)]
    cures_of_y = [_NO_CHANGE] if part.y is None else list(_cures_of_y(objective.y))
    scored = part.pipeline is None or objective.scoring.looks_at_predictions_only
    for cure_of_x, cure_of_y in sorted(product(cures_of_x, cures_of_y), key=_size)[1:]:
        if time.monotonic() - began > _MAX_SECONDS:
            break
        try:
            changed = part.with_changes(cure_of_x.change, cure_of_y.change)
        except (TypeError, ValueError):
            continue  # this change is impossible for these data
        outcome = Attempt(changed, objective, scored=scored).run()
        if outcome.passed:
            return _advice(cure_of_x, cure_of_y, part)
        if training and outcome.where == "scoring":
            advice_for_training = advice_for_training or _advice(cure_of_x, cure_of_y, part)
    return advice_for_training


def _size(pair: tuple[_Cure, _Cure]) -> int:
    return sum(len(change.reasons) for change in pair)


def _advice(cure_of_x: _Cure, cure_of_y: _Cure, part: Part) -> str:
    sentences = [cure_of_y.sentence("y")] if cure_of_y.reasons else []
    if cure_of_x.reasons and part.pipeline is None:
        sentences.insert(0, cure_of_x.sentence("X"))
    elif cure_of_x.reasons:
        sentences.insert(
            0,
            f"{'; '.join(cure_of_x.reasons)}, as the steps before the net return it: put one more "
            "step there, sklearn.preprocessing.FunctionTransformer(f) with a function f(X) that "
            f"returns {cure_of_x.express('X')}.",
        )
    return " ".join(sentences)


# -- X --


def _cures_of_x(part: Part) -> Iterator[_Cure]:
    X = part.X
    if isinstance(X, pd.DataFrame):
        yield _Cure(
            ("X is a data frame, whose columns skorch hands to the module one by one by name",),
            lambda e: f"{e}.to_numpy(dtype='float32')",
            lambda data: data.to_numpy(dtype="float32"),
        )
    elif issparse(X):
        yield _Cure(
            ("X is a sparse matrix",),
            lambda e: f"{e}.toarray().astype('float32')",
            lambda data: data.toarray().astype("float32"),
        )
    elif isinstance(X, list):
        yield _Cure(
            ("X is a list, which skorch takes for several inputs",),
            lambda e: f"np.asarray({e}, dtype='float32')",
            lambda data: np.asarray(data, dtype="float32"),
        )
    else:
        yield from _casts_of_x(X)


def _casts_of_x(X: Any) -> Iterator[_Cure]:
    types = {leaf.dtype for leaf in leaves(X)}
    names = ", ".join(sorted(map(str, types)))
    if any(dtype != np.float32 for dtype in types):
        yield _cast(X, f"X is {names}, and the module computes in float32", "float32")
    if any(dtype.kind in "fiu" and dtype != np.int64 for dtype in types):
        why = f"X is {names}, and the module takes whole numbers (int64), as an embedding does"
        yield _cast(X, why, "int64")


def _cast(data: Any, reason: str, name: str) -> _Cure:
    """Return a cast of arrays or tensors, or of a dict or tuple of them."""

    def change(data: Any) -> Any:
        if isinstance(data, dict):
            return {key: change(value) for key, value in data.items()}
        if isinstance(data, tuple):
            return tuple(change(value) for value in data)
        if isinstance(data, torch.Tensor):
            return data.to(getattr(torch, name))
        changed = np.asarray(data).astype(name)
        if name == "int64" and not (changed == np.asarray(data)).all():
            raise ValueError("not whole numbers")
        return changed

    if isinstance(data, torch.Tensor):
        method = {"float32": "float()", "int64": "long()"}[name]
    else:
        method = f"astype('{name}')"
    several = isinstance(data, dict | tuple)
    return _Cure(
        (reason,),
        lambda e: f"{e} with each part as {e}[...].{method}" if several else f"{e}.{method}",
        change,
    )


# -- y --


def _cures_of_y(y: Any) -> Iterator[_Cure]:
    """Yield changes of the container, the type and the shape of y, and combinations of them."""
    container = _container(y)
    values = container.change(y)
    labels = np.asarray(as_numpy(values))
    for kind, shape in product(_kinds(values, labels), _shapes(labels)):
        changes = kind.then(shape)
        if not container.reasons:
            yield changes
        else:
            yield container.then(changes)
    if container.reasons:
        yield _NO_CHANGE


def _container(y: Any) -> _Cure:
    if isinstance(y, np.ndarray | torch.Tensor):
        return _NO_CHANGE
    if isinstance(y, pd.DataFrame | pd.Series):
        kind = "data frame" if isinstance(y, pd.DataFrame) else "series"
        return _Cure((f"y is a {kind}",), lambda e: f"{e}.to_numpy()", np.asarray)
    return _Cure((f"y is a {type(y).__name__}",), lambda e: f"np.asarray({e})", np.asarray)


def _shapes(labels: np.ndarray) -> Iterator[_Cure]:
    yield _NO_CHANGE
    if labels.ndim == 1:
        yield _Cure(
            ("y is flat, of shape (n_samples,), and the module returns a column",),
            lambda e: f"{e}.reshape(-1, 1)",
            lambda data: data.reshape(-1, 1),
        )
    elif labels.ndim == 2 and labels.shape[1] == 1:
        yield _Cure(
            ("y is a column, of shape (n_samples, 1), and a flat one is wanted",),
            lambda e: f"{e}.ravel()",
            lambda data: data.ravel(),
        )


def _kinds(y: Any, labels: np.ndarray) -> Iterator[_Cure]:
    yield _NO_CHANGE
    coded = _codes(labels)
    if coded is not None:
        yield coded
    if labels.dtype.kind in "iufb":
        for name, why in (
            ("int64", "classes are numbered in int64"),
            ("float32", "the loss takes float32"),
        ):
            if labels.dtype != name:
                yield _cast(y, f"y is {labels.dtype}, and {why}", name)
    if coded is not None:
        yield coded.then(_cast(labels, "the loss takes float32", "float32"))


def _codes(y: np.ndarray) -> _Cure | None:
    """Return the change to class indices from 0 on; None if y has these already."""
    if y.ndim > 2 or (y.dtype.kind == "f" and not (y == np.round(y)).all()):
        return None
    classes = np.unique(y.astype(str) if y.dtype.kind == "O" else y)
    if np.array_equal(classes, np.arange(len(classes))) and y.dtype.kind in "iu":
        return None
    examples = [repr(value) for value in classes[:_MAX_LABELS].tolist()]
    rest = f" and {len(classes) - _MAX_LABELS} others" if len(classes) > _MAX_LABELS else ""
    reason = (
        f"y has the labels {', '.join(examples)}{rest}, and classes are numbered from 0 to "
        f"{len(classes) - 1}"
    )

    def change(data: Any) -> Any:
        array = np.asarray(as_numpy(data))
        return np.searchsorted(classes, array.astype(classes.dtype)).astype("int64")

    return _Cure(
        (reason,), lambda e: f"sklearn.preprocessing.LabelEncoder().fit_transform({e})", change
    )
