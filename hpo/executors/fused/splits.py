"""The validation part that a net holds out of its training rows: `train_split`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold, StratifiedShuffleSplit
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split
from torch.utils.data import Subset

from hpo.fused import NotFusibleError
from hpo.training.callbacks import copy_of
from hpo.training.indexing import as_numpy
from hpo.training.random_stream import RandomStream

__all__ = ["HeldOut", "held_out_of", "predefined", "split_rows"]

_SPLITTERS = (KFold, ShuffleSplit, StratifiedKFold, StratifiedShuffleSplit)

_PREDEFINED: Any = predefined_split(None)


@dataclass(frozen=True)
class HeldOut:
    """The nets' own validation parts, one per fold, the shorter ones padded.

    Parameters
    ----------
    X, y : tensor of shape (n_folds, n_longest, ...)
    n : int64 tensor of shape (n_folds,)
        Number of samples of each part.
    labels : sequence of array
        Labels for the net's own scorers.
    """

    X: torch.Tensor
    y: torch.Tensor
    n: torch.Tensor
    labels: Sequence[Any]

    def of_folds(self, folds: Sequence[int]) -> "HeldOut":
        """Return the parts of some of the folds."""
        i = list(folds)
        longest = int(self.n[i].max())
        labels = [self.labels[fold] for fold in folds]
        return HeldOut(self.X[i, :longest], self.y[i, :longest], self.n[i], labels)

    def part(self, fold: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return X and y of a fold's part."""
        n = int(self.n[fold])
        return self.X[fold, :n], self.y[fold, :n]


def held_out_of(X: torch.Tensor, y: torch.Tensor, rows: Sequence[torch.Tensor]) -> HeldOut:
    """Return the validation parts that consist of these rows of the data."""
    n = torch.tensor([len(part) for part in rows])
    padded = torch.zeros(len(rows), int(n.max()), dtype=torch.int64)
    for row, part in zip(padded, rows, strict=True):
        row[: len(part)] = part
    padded = padded.to(X.device)
    return HeldOut(X[padded], y[padded], n, [as_numpy(y[part.to(y.device)]) for part in rows])


def _check_split(split: Any) -> None:
    """Raise `NotFusibleError` unless a net splits its data in a supported way."""
    if type(split) is ValidSplit:
        cv = split.cv
        if not (isinstance(cv, int | float) or type(cv) in _SPLITTERS):
            raise NotFusibleError(f"the net's ValidSplit has a {type(cv).__name__} for its cv")
    elif not _is_predefined(split):
        name = getattr(split, "__name__", type(split).__name__)
        raise NotFusibleError(
            f"the net sets a validation part aside by a train_split of its own ({name}; pass "
            "train_split=None: the folds have theirs)"
        )


def _is_predefined(split: Any) -> bool:
    return (
        type(split) is partial
        and split.func is _PREDEFINED.func
        and not split.args
        and split.keywords.keys() == _PREDEFINED.keywords.keys()
    )


def predefined(split: Any) -> tuple[Any, Any] | None:
    """Return X and y of a `predefined_split`, or None for any other split.

    Raises
    ------
    NotFusibleError
        If the split is not supported, or has no dataset of X and y.
    """
    _check_split(split)
    if not _is_predefined(split):
        return None
    (data,) = split.keywords.values()
    if type(data) is not Dataset or data.y is None:
        raise NotFusibleError(
            "the predefined_split of the net has no skorch Dataset of X and y "
            f"({type(data).__name__})"
        )
    return data.X, data.y


def split_rows(split: Any, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows of a fold's training part the net trains on, and which it validates on.

    Parameters
    ----------
    split : callable
        The ``train_split`` of a net.
    X, y
        Data of the fold, as the net is given them.

    Raises
    ------
    NotFusibleError
        If the split is random, so that each trial would have a different one.
    """
    indices = []
    for seed in (0, 1):
        with RandomStream(seed).active():
            parts = copy_of(split)(Dataset(X, y), y)
        if not all(type(part) is Subset for part in parts):
            raise NotFusibleError("the net's train_split makes no subsets of its data")
        indices.append([np.asarray(part.indices) for part in parts])
    (train, valid), again = indices
    if not (np.array_equal(train, again[0]) and np.array_equal(valid, again[1])):
        raise NotFusibleError(
            "the net's train_split draws another validation part for each trial (give it a "
            "random_state)"
        )
    if not (len(train) and len(valid)):
        raise NotFusibleError("the net's train_split leaves one of its parts empty")
    return train, valid
