"""Convert torch datasets to X and y that can be split into folds."""

import sys
from typing import Any

import numpy as np

from hpo.exceptions import DataError

__all__ = ["from_dataset", "is_dataset"]


def is_dataset(data: Any) -> bool:
    """Return whether ``data`` is a torch ``Dataset``; torch is not imported for that."""
    module = sys.modules.get("torch.utils.data")
    return module is not None and isinstance(data, module.Dataset)


def from_dataset(X: Any, y: Any = None, name: str = "X") -> tuple[Any, Any]:
    """Return ``X`` and ``y`` of a torch dataset; other inputs are returned unchanged.

    Parameters
    ----------
    X : torch.utils.data.Dataset or object
        A dataset of pairs (x, y), or of x alone if ``y`` is given. Samples are loaded when they
        are needed.
    y : array-like of length n_samples or None
        If None, it is read from the dataset, by iterating over it once unless it has ``targets``
        like the datasets of torchvision.
    name : str
        Name of X in messages.

    Returns
    -------
    tuple
        The tensors or arrays of a `TensorDataset` or a skorch dataset; else a
        `skorch.helper.SliceDataset`, and y as an array.

    Raises
    ------
    DataError
        If the dataset is not indexable, or has no y and none is given.
    """
    if not is_dataset(X):
        return X, y
    _check(X, name)
    arrays = _arrays_of(X)
    if arrays is not None:
        return arrays[0], arrays[1] if y is None else y
    from skorch.helper import SliceDataset

    first = X[0]
    n_parts = len(first) if isinstance(first, tuple | list) else 0
    if n_parts > 2 or (y is None and n_parts != 2):
        what = f"{n_parts} parts" if n_parts else f"a {type(first).__name__}"
        raise DataError(
            f"The dataset given as {name} ({type(X).__name__}) must return pairs (x, y), but its "
            f"first sample is {what}. Several inputs of a module are a dict or a tuple as x; "
            "if the dataset has no y, give it separately."
        )
    rows = SliceDataset(X if n_parts else _Alone(X))
    return rows, _targets(X) if y is None else y


def _check(dataset: Any, name: str) -> None:
    from torch.utils.data import IterableDataset

    subject = f"The dataset given as {name} ({type(dataset).__name__})"
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise DataError(
            f"{subject} can only be gone through, and folds are cut by the numbers of samples: "
            "give a map-style dataset, with __getitem__ and __len__."
        )
    if not len(dataset):
        raise DataError(f"{subject} is empty.")


def _arrays_of(dataset: Any) -> tuple[Any, Any] | None:
    """Return the arrays of a dataset that only wraps arrays; None for other datasets."""
    from skorch.dataset import Dataset
    from torch.utils.data import TensorDataset

    if type(dataset) is TensorDataset and len(dataset.tensors) == 2:
        return dataset.tensors[0], dataset.tensors[1]
    if type(dataset) is Dataset and dataset.y is not None:
        return dataset.X, dataset.y
    return None


def _targets(dataset: Any) -> Any:
    targets = getattr(dataset, "targets", None)
    if targets is not None and len(targets) == len(dataset):
        values = _stack(list(targets))
        ends = (0, len(dataset) - 1)
        if all(np.array_equal(_to_numpy(dataset[i][1]), values[i]) for i in ends):
            return values
    return _stack([dataset[i][1] for i in range(len(dataset))])


def _stack(values: list[Any]) -> Any:
    return np.asarray([_to_numpy(value) for value in values])


def _to_numpy(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


class _Alone:
    """A dataset of x alone, wrapped to return tuples, of which skorch uses the first item."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, i: int) -> tuple[Any]:
        return (self._dataset[i],)
