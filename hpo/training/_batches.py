"""Whole minibatches at once for skorch's data loaders.

skorch's `Dataset` hands the loader one row at a time and the loader stacks the rows again,
which takes half of a small net's epoch. Torch's loader asks a dataset that has
``__getitems__`` for a whole batch. Returning the rows already stacked gives the same batches,
in the same order, from the same random numbers.

Only skorch's own loader gets such a dataset, and only if the original one is known to return
plain rows. Everything else that a net, a callback or a scorer loads is loaded as usual.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from skorch.dataset import Dataset
from torch.utils.data import DataLoader, Subset, default_collate

__all__ = ["BatchDataset", "BatchSubset", "load_whole_batches"]


class BatchDataset(Dataset):  # type: ignore[misc]  # skorch has no types
    """The same dataset, which returns a whole minibatch at once, as tensors.

    Both share their attributes, since a callback may replace the data during the training.
    """

    __slots__ = ("_source", "_tensors")

    def __init__(self, dataset: Dataset) -> None:
        self.__dict__ = dataset.__dict__  # type: ignore[misc]  # there are slots as well
        self._source: Any = ()
        self._tensors: Any = None

    def __getitems__(self, rows: list[int]) -> Any:
        """Return ``[X[rows], y[rows]]``; without y, skorch's placeholder column of zeros."""
        if not self._source or self._source[0] is not self.X or self._source[1] is not self.y:
            stackable = _is_stackable(self.X, self.y)
            self._tensors = (_as_tensor(self.X), _as_tensor(self.y)) if stackable else None
            self._source = self.X, self.y
        if self._tensors is None:
            return [self[i] for i in rows]
        X, y = self._tensors
        index = torch.as_tensor(rows)
        y = torch.zeros(len(rows), 1) if y is None else _rows(y, index)
        return _Stacked([_rows(X, index), y])


class BatchSubset(Subset[Any]):
    """The same subset of a dataset, which returns a whole minibatch at once, as tensors."""

    __slots__ = ("_whole",)

    def __init__(self, part: Subset[Any]) -> None:
        self.__dict__ = part.__dict__
        self._whole = BatchDataset(part.dataset)

    def __getitems__(self, indices: list[int]) -> Any:
        """Return the minibatch of these rows of the subset."""
        return self._whole.__getitems__([int(self.indices[i]) for i in indices])


class _Stacked(list[Any]):
    """A minibatch of rows that are stacked already."""


def _collate(rows: list[Any]) -> Any:
    return list(rows) if isinstance(rows, _Stacked) else default_collate(rows)


def _as_tensor(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _as_tensor(value) for key, value in data.items()}
    return None if data is None else torch.as_tensor(data)


def _rows(data: Any, index: torch.Tensor) -> Any:
    if data is None:
        return None
    if type(data) is dict:
        return {key: _rows(value, index) for key, value in data.items()}
    return data[index].contiguous()


def load_whole_batches(method: Any, dataset: Any, training: bool = False) -> Any:
    """Replace skorch's ``get_iterator``: load whole minibatches where nothing else changes.

    The dataset must be a `skorch.dataset.Dataset` or a subset of one. Its data must be arrays or
    tensors on the CPU (or a dict of them) whose rows collate to the same batch. The loader must
    be a `torch.utils.data.DataLoader` with the default ``collate_fn``.
    """
    batched = _batched(dataset)
    if batched is not None:
        loader = method(batched, training=training)
        if type(loader) is DataLoader and loader.collate_fn is default_collate:
            loader.collate_fn = _collate
            return loader
    return method(dataset, training=training)


def _batched(dataset: Any) -> Any:
    if type(dataset) is Subset and _is_plain(dataset.dataset):
        return BatchSubset(dataset)
    return BatchDataset(dataset) if _is_plain(dataset) else None


def _is_plain(dataset: Any) -> bool:
    overrides = {"transform", "__getitem__"}
    if type(dataset) is not Dataset or overrides & vars(dataset).keys():
        return False
    return _is_stackable(dataset.X, dataset.y)


def _is_stackable(X: Any, y: Any) -> bool:
    """Return whether stacking rows of X and y gives the same batch as collating them."""
    kinds = _kind(X), None if y is None else _kind(y)
    return False not in kinds and _collate_alike(*kinds)


def _kind(data: Any) -> Any:
    """Return the type, the dtype and the shape of a row of data; False if they are not plain."""
    if isinstance(data, Mapping):
        kinds = {key: _kind(value) for key, value in data.items()}
        return False if False in kinds.values() else tuple(kinds.items())
    if type(data) is torch.Tensor and data.device.type == "cpu" and data.ndim:
        return torch.Tensor, data.dtype, tuple(data.shape[1:])
    if type(data) in {np.ndarray, np.memmap} and data.ndim and data.flags.writeable:
        ascending = all(stride >= 0 for stride in data.strides)
        return (np.ndarray, data.dtype, data.shape[1:]) if ascending else False
    return False


@lru_cache(maxsize=64)
def _collate_alike(X: Any, y: Any) -> bool:
    """Return whether stacking two rows of these kinds gives the same as collating them."""
    dataset = Dataset(_example(X), None if y is None else _example(y))
    index = torch.as_tensor([0, 1])
    try:
        collated = default_collate([dataset[0], dataset[1]])
        stacked = [_rows(_as_tensor(part), index) for part in (dataset.X, dataset.y)]
    except (TypeError, ValueError, RuntimeError):
        return False
    return all(_equal(a, b) for a, b in zip(stacked, collated, strict=True) if a is not None)


def _example(kind: Any) -> Any:
    if isinstance(kind[0], type):
        cls, dtype, shape = kind
        make: Any = torch.ones if cls is torch.Tensor else np.ones
        return make((2, *shape), dtype=dtype)
    return {key: _example(kind_of_value) for key, kind_of_value in kind}


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and list(a) == list(b) and all(_equal(a[k], b[k]) for k in a)
    same = isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape
    return same and torch.equal(a, b)
