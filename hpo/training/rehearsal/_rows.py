"""Select rows on which a training may fail although it works on others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hpo.training.indexing import n_samples

__all__ = [
    "Special",
    "cut_batch",
    "filled",
    "first_of",
    "last_batch_size",
    "leaves",
    "rows_with_nan",
    "special_rows",
]


def leaves(data: Any) -> Iterator[Any]:
    """Yield the arrays and tensors in ``data``, as arrays."""
    if isinstance(data, Mapping):
        data = tuple(data.values())
    if isinstance(data, tuple):
        for value in data:
            yield from leaves(value)
    elif isinstance(data, torch.Tensor) and data.layout is torch.strided:
        if data.dtype != torch.bfloat16:
            yield data.detach().cpu().numpy()
    elif isinstance(data, np.ndarray):
        yield data
    elif hasattr(data, "to_numpy"):
        yield data.to_numpy()


def rows_with_nan(data: Any) -> np.ndarray:
    """Return which rows contain NaN."""
    has_nan = np.zeros(n_samples(data), dtype=bool)
    for leaf in leaves(data):
        if leaf.dtype.kind == "f" and len(leaf) == len(has_nan):
            has_nan |= np.isnan(leaf.reshape(len(leaf), -1)).any(axis=1)
    return has_nan


def first_of(classes: np.ndarray, n: int) -> np.ndarray:
    """Return the first ``n`` rows of each class, which are numbered from 0."""
    order = np.argsort(classes, kind="stable")
    starts = np.searchsorted(classes[order], np.arange(classes.max() + 1))
    place = np.arange(len(classes)) - starts[classes[order]]
    rows: np.ndarray = order[place < n]
    return rows


def last_batch_size(loader: Any) -> int:
    """Return the size of the last training batch of an epoch; 0 if it is a full one."""
    size, n = getattr(loader, "batch_size", None), len(getattr(loader, "dataset", ()))
    if not isinstance(size, int) or size < 1 or getattr(loader, "drop_last", True):
        return 0
    return n % size if n > size else 0


def cut_batch(batch: Any, n: int, size: int) -> Any:
    """Return the first ``n`` rows of a batch of ``size`` rows.

    Raises
    ------
    ValueError
        If it contains anything but tensors with that number of rows.
    """
    if isinstance(batch, torch.Tensor) and len(batch) == size:
        return batch[:n]
    if isinstance(batch, Mapping):
        return {key: cut_batch(value, n, size) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)([cut_batch(value, n, size) for value in batch])
    raise ValueError(f"a batch that holds a {type(batch).__name__}")


@dataclass(frozen=True)
class Special:
    """Rows that may be missing from the first batch.

    Parameters
    ----------
    what : str
        What is special about the rows.
    rows : ndarray of int
    ordinary : sequence of ndarray of int
        Groups of rows for which that is not true, or less true; none may be empty.
    """

    what: str
    rows: np.ndarray
    ordinary: Sequence[np.ndarray]


def special_rows(X: Any, y: Any, seen: Any, *, integers: bool) -> list[Special]:
    """Return the rows with the extreme values of y and, optionally, of whole numbers in X.

    Parameters
    ----------
    X, y : training data
    seen : pair
        X and y of the first batch; extremes that it contains are left out.
    integers : bool
        Whether to look at X.
    """
    n, specials = n_samples(X), []
    sources = [(y, seen[1], "y", "iuf")] if y is not None else []
    sources += [(X, seen[0], "X", "iu")] if integers else []
    for data, batch, name, kinds in sources:
        seen_leaves = list(leaves(batch))
        for i, leaf in enumerate(leaves(data)):
            fits = leaf.dtype.kind in kinds and len(leaf) == n and leaf.size
            if (
                not fits
                or _all_nan(leaf)
                or (i < len(seen_leaves) and _reaches(seen_leaves[i], leaf))
            ):
                continue
            specials.append(_extremes(leaf, f"the smallest and the greatest number in {name}"))
    return specials


def _reaches(batch: np.ndarray, values: np.ndarray) -> bool:
    """Return whether a batch contains the extremes of all values."""
    if batch.dtype.kind not in "iuf" or not batch.size:
        return False
    ends = [(np.nanmin(part), np.nanmax(part)) for part in (batch, values)]
    return bool(ends[0] == ends[1])


def _all_nan(values: np.ndarray) -> bool:
    return bool(values.dtype.kind == "f" and np.isnan(values).all())


def _extremes(values: np.ndarray, what: str) -> Special:
    flat = values.reshape(len(values), -1)
    low, high = np.fmin.reduce(flat, axis=1), np.fmax.reduce(flat, axis=1)
    minimum, maximum = np.nanmin(low), np.nanmax(high)
    rows = np.unique([np.nanargmin(low), np.nanargmax(high)])
    masks = [(low > minimum) & (high < maximum), high < maximum, low > minimum]
    return Special(what, rows, [np.flatnonzero(mask) for mask in masks if mask.any()])


def filled(rows: np.ndarray, candidates: np.ndarray, size: int) -> np.ndarray:
    """Return ``rows``, filled up with some of ``candidates`` to ``size`` rows."""
    remaining = np.setdiff1d(candidates, rows)
    n_missing = max(0, min(size - len(rows), len(remaining)))
    chosen = np.linspace(0, max(0, len(remaining) - 1), n_missing).astype(int)
    return np.concatenate([rows[:size], remaining[chosen]]).astype(int)
