"""The data of a study."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.data.datasets import from_dataset
from hpo.exceptions import DataError

__all__ = ["StudyData"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StudyData:
    """The data of a study: for the search, for the refit of the winner, and a held-out test part.

    ``X`` may be a numpy array, a pandas frame, a torch tensor, a list, or a dict of these
    (skorch passes a dict's entries to the module by name). It may also be a torch ``Dataset`` of
    pairs (x, y), without ``y``. Samples are then loaded when they are needed.

    Parameters
    ----------
    X, y : array-like, length n_samples
        The data of the search, which cross-validation splits. y may be omitted if X is a torch
        dataset: then it is read from the dataset once.
    groups : array-like of length n_samples, optional
        Group of each sample, for splitters that keep groups together.
    sample_weight : array-like of length n_samples, optional
        Weight of each sample, for estimators and scorers that take it.
    X_test, y_test : array-like, optional
        The held-out test part, scored once after the winner has been selected and refitted.
    X_refit, y_refit : array-like, optional
        Data of the refit of the winner; None means ``X`` and ``y``. Give them if the search uses
        only a part of the training data. They must not contain test samples.
    class_names : tuple of str, optional
        Name of each class, in the order of the classes' numbers; for plots.
    source : str, optional
        A short description of the data, if every reported result has to mention it (a part of a
        well-known data set, a lossy copy, a substitute).

    Raises
    ------
    DataError
        If one of a pair is missing, or lengths differ. Test and refit parts are checked here, as
        they are only used after the search.
    """

    X: Any
    y: Any = None
    groups: Any = None
    sample_weight: Any = None
    X_test: Any = None
    y_test: Any = None
    X_refit: Any = None
    y_refit: Any = None
    class_names: tuple[str, ...] | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        for part in ("", "_test", "_refit"):
            names = f"X{part}", f"y{part}"
            X, y = (getattr(self, name) for name in names)
            arrays = from_dataset(X, y, names[0])
            for name, value in zip(names, arrays, strict=True):
                object.__setattr__(self, name, value)
        _check_pair("X", self.X, "y", self.y, required=True)
        _check_pair("X_test", self.X_test, "y_test", self.y_test)
        _check_pair("X_refit", self.X_refit, "y_refit", self.y_refit)
        for name in ("groups", "sample_weight"):
            values = getattr(self, name)
            if values is not None:
                _check_pair(name, values, "y", self.y)

    def __repr__(self) -> str:
        """Return the sizes of the parts; their contents may be of any size."""
        names = ("X", "y", "groups", "sample_weight", "X_test", "y_test", "X_refit", "y_refit")
        parts = {name: getattr(self, name) for name in names}
        texts = [f"{name} {_shape(part)}" for name, part in parts.items() if part is not None]
        return f"StudyData({', '.join(texts)})"


def _shape(values: Any) -> str:
    if isinstance(values, Mapping):
        return "{" + ", ".join(f"{name}: {_shape(item)}" for name, item in values.items()) + "}"
    shape = getattr(values, "shape", None)
    return " x ".join(f"{n:,}" for n in (shape or (_length("data", values),)))


def _check_pair(name_a: str, a: Any, name_b: str, b: Any, *, required: bool = False) -> None:
    if a is None and b is None and not required:
        return
    if a is None or b is None:
        missing, present = (name_a, name_b) if a is None else (name_b, name_a)
        raise DataError(f"{present} was given without {missing}. Give both or neither.")
    lengths = {**_lengths(name_a, a), **_lengths(name_b, b)}
    if len(set(lengths.values())) > 1:
        details = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise DataError(
            f"{name_a} and {name_b} must have one entry for each sample, but their lengths "
            f"differ ({details})."
        )


def _lengths(name: str, values: Any) -> dict[str, int]:
    """Return the number of samples of ``values``, or of each entry of a dict."""
    if isinstance(values, Mapping):
        return {f"{name}[{key!r}]": _length(name, item) for key, item in values.items()}
    return {name: _length(name, values)}


def _length(name: str, values: Any) -> int:
    # a scipy sparse matrix has a shape but no len()
    shape = getattr(values, "shape", None)
    try:
        return int(shape[0]) if shape else len(values)
    except TypeError:
        raise DataError(
            f"{name} must be an array, a data frame, a tensor, a list or a dict of them. "
            f"Got {type(values).__name__} instead."
        ) from None
