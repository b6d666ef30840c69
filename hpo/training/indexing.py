"""Select rows of the types that skorch takes as X: arrays, frames, tensors, datasets."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from skorch.helper import SliceDataset

from hpo._private_parts import private_part

__all__ = ["as_numpy", "index_fit_params", "n_samples", "split_input", "take"]


def n_samples(data: Any) -> int:
    """Return the number of rows of ``data``, or of the first entry of a mapping or a tuple."""
    if isinstance(data, Mapping):
        return n_samples(next(iter(data.values())))
    if isinstance(data, tuple):
        return n_samples(data[0])
    shape = getattr(data, "shape", None)
    return int(shape[0]) if shape is not None and len(shape) else len(data)


def take(data: Any, rows: np.ndarray) -> Any:
    """Return the given rows of ``data``, of the same type; None stays None."""
    if data is None:
        return None
    if isinstance(data, Mapping):
        return {key: take(value, rows) for key, value in data.items()}
    if isinstance(data, tuple):
        return tuple(take(value, rows) for value in data)
    if isinstance(data, torch.Tensor):
        return data[torch.as_tensor(rows, device=data.device)]
    if isinstance(data, SliceDataset):
        return data[np.asarray(rows)]
    pick = private_part("sklearn.utils", "_safe_indexing", "rows are taken as NumPy and pandas do")
    return _rows(data, rows) if pick is None else pick(data, rows)


def _rows(data: Any, rows: np.ndarray) -> Any:
    if hasattr(data, "iloc"):
        return data.iloc[rows]
    if hasattr(data, "shape"):
        return data[rows]
    return [data[row] for row in rows]


def as_numpy(data: Any) -> Any:
    """Return a tensor as a NumPy array; anything else as it is."""
    return data.detach().cpu().numpy() if isinstance(data, torch.Tensor) else data


def split_input(data: Any, n: int) -> Any:
    """Return an array of n rows that a scikit-learn splitter takes instead of ``data``."""
    if isinstance(data, Mapping | tuple | SliceDataset):
        return np.zeros((n, 1))
    return as_numpy(data)


def index_fit_params(params: Mapping[str, Any], rows: np.ndarray, X: Any) -> dict[str, Any]:
    """Return ``params``, with entries that have one value per row of X cut to ``rows``."""
    n = n_samples(X)
    return {key: take(v, rows) if _has_one_value_per_row(v, n) else v for key, v in params.items()}


def _has_one_value_per_row(value: Any, n: int) -> bool:
    is_sequence = (
        hasattr(value, "__len__") and not isinstance(value, str | bytes) and len(value) > 0
    )
    return is_sequence and n_samples(value) == n
