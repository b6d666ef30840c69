"""The data of all folds, prepared once for all trials of an objective."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.pipeline import Pipeline

from hpo.executors.fused.data import cast, cast_target
from hpo.executors.fused.splits import HeldOut, held_out_of, predefined, split_rows
from hpo.fused import NotFusibleError
from hpo.training.adapters import last_step
from hpo.training.callbacks import copy_of
from hpo.training.fold import configure
from hpo.training.indexing import as_numpy, take
from hpo.training.objective import Objective
from hpo.training.random_stream import RandomStream
from hpo.trial import derive_seed

__all__ = ["FoldArrays", "fold_arrays"]


@dataclass(frozen=True)
class FoldArrays:
    """The data of all folds, as the module is given them.

    Parameters
    ----------
    X, y : tensors of shape (n_samples, ...)
    train : sequence of int64 tensor
        Rows that each fold trains on.
    fitted : sequence of int64 tensor
        Rows that each fold's ``fit`` is given: the training rows and those that the net holds out.
    X_valid : tensor of shape (n_folds, n_longest, ...)
        Validation parts, the shorter ones padded with rows.
    y_valid : sequence of array
        Labels of the validation parts, without padding.
    held_out : HeldOut or None
        The nets' own validation parts (``train_split``), if there are any.
    """

    X: torch.Tensor
    y: torch.Tensor
    train: Sequence[torch.Tensor]
    fitted: Sequence[torch.Tensor]
    X_valid: torch.Tensor
    y_valid: Sequence[Any]
    held_out: HeldOut | None = None

    def of_folds(self, folds: Sequence[int]) -> "FoldArrays":
        """Return the data of some of the folds; X and y are shared."""
        y_valid = [self.y_valid[i] for i in folds]
        longest = max(map(len, y_valid))
        return FoldArrays(
            self.X,
            self.y,
            [self.train[i] for i in folds],
            [self.fitted[i] for i in folds],
            self.X_valid[list(folds), :longest],
            y_valid,
            self.held_out.of_folds(folds) if self.held_out else None,
        )


def fold_arrays(objective: Objective, device: str) -> FoldArrays:
    """Prepare each fold's data once: the preprocessing is the same for all trials.

    Parameters
    ----------
    objective : Objective
    device : str
        The torch device that the data are moved to.

    Raises
    ------
    NotFusibleError
        If the data are not arrays or tensors of numbers, or the net's own split is not supported.
    """
    estimator = objective.estimator
    net = last_step(estimator)
    split = copy_of(net.train_split)
    fixed = predefined(split) if split else None
    parts, train, valid, labels, start = [], [], [], [], 0
    used, set_aside = list[torch.Tensor](), list[torch.Tensor]()
    pipeline = isinstance(estimator, Pipeline) and len(estimator.steps) > 1
    if not pipeline:
        parts = [_rows(net, objective.X)]
    for i, (rows, held_out) in enumerate(objective.splits):
        labels.append(as_numpy(take(objective.y, held_out)))
        if pipeline:
            seed = derive_seed("fused", "fold", i)
            with RandomStream(seed).active():
                preprocessing = configure(estimator, {}, None)[:-1]
                Xt = preprocessing.fit_transform(take(objective.X, rows), take(objective.y, rows))
                Xv = preprocessing.transform(take(objective.X, held_out))
            parts.append(_rows(net, Xt))
            train.append(torch.arange(start, start + len(rows)))
            start += len(rows)
            valid.append(_rows(net, Xv))
        else:
            train.append(torch.as_tensor(rows))
            valid.append(parts[0][torch.as_tensor(held_out)])
            Xt = take(objective.X, rows)
        if split and fixed is None:
            train_rows, valid_rows = split_rows(split, Xt, take(objective.y, rows))
            used.append(train[-1][torch.as_tensor(train_rows)])
            set_aside.append(train[-1][torch.as_tensor(valid_rows)])
    y = cast_target(net, _tensor(objective.y))
    if pipeline:
        y = torch.cat([y[torch.as_tensor(rows)] for rows, _ in objective.splits])
    if fixed is not None:
        X_fixed, y_fixed = _rows(net, fixed[0]), _tensor(fixed[1])
        set_aside = [torch.arange(len(X_fixed)) + sum(map(len, parts))] * len(train)
        parts.append(_check_alike(parts[0], X_fixed, "X"))
        y = torch.cat([y, _check_alike(y, y_fixed, "y")])
    longest = max(map(len, valid))
    padded = [torch.cat([X, X[:1].expand(longest - len(X), *X.shape[1:])]) for X in valid]
    X, X_valid = torch.cat(parts).to(device), torch.stack(padded).to(device)
    y = y.to(device)
    held_out_data = held_out_of(X, y, set_aside) if set_aside else None
    return FoldArrays(X, y, used or train, train, X_valid, labels, held_out_data)


def _rows(net: Any, data: Any) -> torch.Tensor:
    return cast(net, _tensor(data))


def _tensor(data: Any) -> torch.Tensor:
    if isinstance(data, Mapping | tuple):
        raise NotFusibleError(
            f"X is a {type(data).__name__} of several arrays, and a batch of models is given one"
        )
    if not isinstance(data, np.ndarray | torch.Tensor):
        raise NotFusibleError(
            f"the module is given a {type(data).__name__} (give X and y as arrays or tensors)"
        )
    if isinstance(data, np.ndarray) and data.dtype.kind not in "fiub":
        raise NotFusibleError(f"the data are of type {data.dtype} (make them numbers)")
    return torch.as_tensor(data)


def _check_alike(reference: torch.Tensor, data: torch.Tensor, name: str) -> torch.Tensor:
    """Return data of a predefined split; raise if their type or shape is not the folds'."""
    if data.dtype != reference.dtype or data.shape[1:] != reference.shape[1:]:
        raise NotFusibleError(f"{name} of the net's predefined_split is of another type or shape")
    return data
