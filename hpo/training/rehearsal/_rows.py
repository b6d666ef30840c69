"""Rows on which a training may fail though it does not on others."""

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
    """Yield the arrays and tensors that ``data`` is made of, as arrays."""
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
    """Return which rows hold NaN, among those whose type can."""
    found = np.zeros(n_samples(data), dtype=bool)
    for leaf in leaves(data):
        if leaf.dtype.kind == "f" and len(leaf) == len(found):
            found |= np.isnan(leaf.reshape(len(leaf), -1)).any(axis=1)
    return found


def first_of(classes: np.ndarray, n: int) -> np.ndarray:
    """Return the first ``n`` rows of each class, which are numbered from 0."""
    order = np.argsort(classes, kind="stable")
    starts = np.searchsorted(classes[order], np.arange(classes.max() + 1))
    place = np.arange(len(classes)) - starts[classes[order]]
    rows: np.ndarray = order[place < n]
    return rows


def last_batch_size(loader: Any) -> int:
    """Return how many rows the last training batch of an epoch has; 0 if it is a whole one."""
    size, n = getattr(loader, "batch_size", None), len(getattr(loader, "dataset", ()))
    if not isinstance(size, int) or size < 1 or getattr(loader, "drop_last", True):
        return 0
    return n % size if n > size else 0


def cut_batch(batch: Any, n: int, whole: int) -> Any:
    """Return the first ``n`` rows of a batch of ``whole`` rows.

    Raises
    ------
    ValueError
        If it is made of something else than tensors with that many rows.
    """
    if isinstance(batch, torch.Tensor) and len(batch) == whole:
        return batch[:n]
    if isinstance(batch, Mapping):
        return {key: cut_batch(value, n, whole) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)([cut_batch(value, n, whole) for value in batch])
    raise ValueError(f"a batch that holds a {type(batch).__name__}")


@dataclass(frozen=True)
class Special:
    """Rows that the first batch may lack.

    Parameters
    ----------
    what : str
        What is special of them.
    rows : ndarray of int
    ordinary : sequence of ndarray of int
        Rows of which that is not so, or less so; none may be empty.
    """

    what: str
    rows: np.ndarray
    ordinary: Sequence[np.ndarray]


def special_rows(X: Any, y: Any, seen: Any, *, integers: bool) -> list[Special]:
    """Return the rows with the extreme values of y and, if asked, of whole numbers in X.

    Parameters
    ----------
    X, y : training data
    seen : pair
        X and y of the first batch: extremes that it has are left out.
    integers : bool
        Whether to look at X.
    """
    n, found = n_samples(X), []
    looks = [(y, seen[1], "y", "iuf")] if y is not None else []
    looks += [(X, seen[0], "X", "iu")] if integers else []
    for data, batch, name, kinds in looks:
        known = list(leaves(batch))
        for i, leaf in enumerate(leaves(data)):
            fits = leaf.dtype.kind in kinds and len(leaf) == n and leaf.size
            if not fits or _all_nan(leaf) or (i < len(known) and _reaches(known[i], leaf)):
                continue
            found.append(_extremes(leaf, f"the smallest and the greatest number in {name}"))
    return found


def _reaches(batch: np.ndarray, values: np.ndarray) -> bool:
    """Return whether a batch has the extremes of all values."""
    if batch.dtype.kind not in "iuf" or not batch.size:
        return False
    ends = [(np.nanmin(part), np.nanmax(part)) for part in (batch, values)]
    return bool(ends[0] == ends[1])


def _all_nan(values: np.ndarray) -> bool:
    return bool(values.dtype.kind == "f" and np.isnan(values).all())


def _extremes(values: np.ndarray, what: str) -> Special:
    flat = values.reshape(len(values), -1)
    low, high = np.fmin.reduce(flat, axis=1), np.fmax.reduce(flat, axis=1)
    least, most = np.nanmin(low), np.nanmax(high)
    rows = np.unique([np.nanargmin(low), np.nanargmax(high)])
    masks = [(low > least) & (high < most), high < most, low > least]
    return Special(what, rows, [np.flatnonzero(mask) for mask in masks if mask.any()])


def filled(rows: np.ndarray, among: np.ndarray, size: int) -> np.ndarray:
    """Return ``rows``, and others of those ``among``, so that there are ``size``."""
    others = np.setdiff1d(among, rows)
    wanted = max(0, min(size - len(rows), len(others)))
    chosen = np.linspace(0, max(0, len(others) - 1), wanted).astype(int)
    return np.concatenate([rows[:size], others[chosen]]).astype(int)
