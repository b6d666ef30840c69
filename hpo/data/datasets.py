"""Torch datasets as X and y, which folds can be cut from."""

import sys
from typing import Any

import numpy as np

from hpo.exceptions import DataError

__all__ = ["from_dataset", "is_dataset"]


def is_dataset(data: Any) -> bool:
    """Return whether ``data`` is a torch ``Dataset``; torch is not loaded for the question."""
    module = sys.modules.get("torch.utils.data")
    return module is not None and isinstance(data, module.Dataset)


def from_dataset(X: Any, y: Any = None, name: str = "X") -> tuple[Any, Any]:
    """Return ``X`` and ``y`` of a torch dataset; anything else as it is.

    Parameters
    ----------
    X : torch.utils.data.Dataset or object
        Of pairs (x, y); of x alone, where ``y`` is given. Samples are loaded when they are
        trained on.
    y : array-like of length n_samples or None
        None takes it from the dataset, which is gone through once for it, unless it has
        ``targets`` as those of torchvision have.
    name : str
        What X is called in messages.

    Returns
    -------
    tuple
        The tensors or arrays that the dataset holds, where it is a `TensorDataset` or
        skorch's; else a `skorch.helper.SliceDataset`, and y as an array.

    Raises
    ------
    DataError
        If the dataset cannot be asked for a sample by its number, or has no y and none is given.
    """
    if not is_dataset(X):
        return X, y
    _check(X, name)
    held = _held(X)
    if held is not None:
        return held[0], held[1] if y is None else y
    from skorch.helper import SliceDataset

    first = X[0]
    n_parts = len(first) if isinstance(first, tuple | list) else 0
    if n_parts > 2 or (y is None and n_parts != 2):
        what = f"{n_parts} parts" if n_parts else f"a {type(first).__name__}"
        raise DataError(
            f"The dataset given as {name} ({type(X).__name__}) must return pairs (x, y), but its "
            f"first sample is {what}. Several inputs of a module are a dict or a tuple as x; "
            "a y that the dataset has not is given beside it."
        )
    rows = SliceDataset(X if n_parts else _Alone(X))
    return rows, _targets(X) if y is None else y


def _check(dataset: Any, name: str) -> None:
    from torch.utils.data import IterableDataset

    told = f"The dataset given as {name} ({type(dataset).__name__})"
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise DataError(
            f"{told} can only be gone through, and folds are cut by the numbers of samples: give "
            "a map-style dataset, with __getitem__ and __len__."
        )
    if not len(dataset):
        raise DataError(f"{told} is empty.")


def _held(dataset: Any) -> tuple[Any, Any] | None:
    """Return the arrays that a dataset does nothing but hold, None for any other."""
    from skorch.dataset import Dataset
    from torch.utils.data import TensorDataset

    if type(dataset) is TensorDataset and len(dataset.tensors) == 2:
        return dataset.tensors[0], dataset.tensors[1]
    if type(dataset) is Dataset and dataset.y is not None:
        return dataset.X, dataset.y
    return None


def _targets(dataset: Any) -> Any:
    known = getattr(dataset, "targets", None)
    if known is not None and len(known) == len(dataset):
        values = _stacked(list(known))
        ends = (0, len(dataset) - 1)
        if all(np.array_equal(_plain(dataset[i][1]), values[i]) for i in ends):
            return values
    return _stacked([dataset[i][1] for i in range(len(dataset))])


def _stacked(values: list[Any]) -> Any:
    return np.asarray([_plain(value) for value in values])


def _plain(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


class _Alone:
    """A dataset of x alone, as one of tuples, of which skorch takes the first."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, i: int) -> tuple[Any]:
        return (self._dataset[i],)
