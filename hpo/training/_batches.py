"""Whole minibatches at once for skorch's data loaders.

skorch's `Dataset` hands the loader one row at a time and the loader stacks the rows again:
half of a small net's epoch. Torch's loader asks a dataset that has ``__getitems__`` for a
whole batch; answering with the rows already stacked gives the same batches, in the same
order, from the same random numbers.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from skorch.dataset import Dataset
from torch.utils.data import DataLoader, default_collate

__all__ = ["BatchDataset", "batch_whole_rows"]


class BatchDataset(Dataset):  # type: ignore[misc]  # skorch has no types
    """A skorch dataset that answers with a whole minibatch, as tensors.

    Its ``X`` and ``y`` are tensors that share memory with the arrays given.
    """

    def __init__(self, X: Any, y: Any = None, length: int | None = None) -> None:
        super().__init__(X, y, length)
        self._tensors = _as_tensor(X), _as_tensor(y)

    def __getitems__(self, rows: list[int]) -> tuple[Any, Any]:
        """Return ``(X[rows], y[rows])``; without y, skorch's placeholder column of zeros."""
        X, y = self._tensors
        index = torch.as_tensor(rows)
        return _rows(X, index), torch.zeros(len(rows), 1) if y is None else y[index]


def _as_tensor(data: Any) -> Any:
    if data is None or isinstance(data, torch.Tensor):
        return data
    if isinstance(data, Mapping):
        return {key: _as_tensor(value) for key, value in data.items()}
    return torch.as_tensor(data)


def _rows(data: Any, index: torch.Tensor) -> Any:
    if isinstance(data, Mapping):
        return {key: value[index] for key, value in data.items()}
    return data[index]


def _stacked(batch: Any) -> Any:
    """Collate a batch that is stacked already."""
    return batch


def batch_whole_rows(net: Any, X: Any, y: Any) -> None:
    """Make ``net`` load whole minibatches, where that changes nothing but the time.

    It is left alone if it has a dataset, a loader or a ``collate_fn`` of its own, if X or y
    are neither arrays nor tensors on the CPU (nor a dict of them), or if a stacked batch
    differs from a collated one in type, shape or value.
    """
    loaders = ("iterator_train", "iterator_valid")
    if net.dataset is not Dataset or not _plain(X) or not (y is None or _plain(y)):
        return
    if any(
        getattr(net, loader) is not DataLoader or "collate_fn" in net.get_params_for(loader)
        for loader in loaders
    ):
        return
    if _same_batches(net, X, y):
        net.set_params(dataset=BatchDataset, **{f"{x}__collate_fn": _stacked for x in loaders})


def _plain(data: Any) -> bool:
    if isinstance(data, Mapping):
        return all(_plain(value) for value in data.values())
    if isinstance(data, torch.Tensor):
        return data.device.type == "cpu"
    return isinstance(data, np.ndarray) and data.dtype.kind in "fiub" and data.ndim > 0


def _same_batches(net: Any, X: Any, y: Any) -> bool:
    kwargs = net.get_params_for("dataset")
    rows = list(range(min(2, len(Dataset(X, y, **kwargs)))))
    try:
        plain = Dataset(X, y, **kwargs)
        collated = default_collate([plain[i] for i in rows])
        stacked = BatchDataset(X, y, **kwargs).__getitems__(rows)
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False
    return _equal(collated[0], stacked[0]) and _equal(collated[1], stacked[1])


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and list(a) == list(b) and all(_equal(a[k], b[k]) for k in a)
    return (
        isinstance(a, torch.Tensor)
        and isinstance(b, torch.Tensor)
        and a.dtype == b.dtype
        and a.shape == b.shape
        and torch.allclose(a.double(), b.double(), rtol=0, atol=0, equal_nan=True)
    )
