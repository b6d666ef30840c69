"""Random, stratified parts of a data set."""

from collections.abc import Callable
from typing import Any

import numpy as np

from hpo.data._base import StudyData
from hpo.exceptions import DataError

__all__ = ["random_split", "seal_part", "search_on_part"]


def random_split(
    y: np.ndarray[Any, Any], size: int | float, seed: int, name: str, *, stratify: bool = True
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the indices of a random part of ``size`` samples, and of the rest.

    Parameters
    ----------
    y : array of shape (n_samples,)
        Class of each sample.
    size : int or float
        Number of samples of the part, or its share, between 0 and 1 exclusive.
    seed : int
        The same seed gives the same part.
    name : str
        Name of ``size`` in the message.
    stratify : bool, default=True
        Whether to stratify by ``y``.

    Returns
    -------
    part, rest : arrays of int
        Indices in ascending order.

    Raises
    ------
    DataError
        If ``size`` leaves one of them without samples, or with fewer samples than classes.
    """
    from sklearn.model_selection import train_test_split

    try:
        rest, part = train_test_split(
            np.arange(len(y)), test_size=size, stratify=y if stratify else None, random_state=seed
        )
    except ValueError as error:
        raise DataError(f"{name}={size} does not fit {len(y)} samples: {error}") from error
    return np.sort(part), np.sort(rest)


def seal_part(
    X: Any,
    y: np.ndarray[Any, Any],
    test_size: float,
    seed: int,
    *,
    stratify: bool = True,
    **fields: Any,
) -> StudyData:
    """Return data with a random share of the samples as the held-out test part.

    Parameters
    ----------
    X : array or data frame of n_samples rows
    y : array of n_samples rows
    test_size : float
        Share of the test part, between 0 and 1 exclusive.
    seed : int
        Seed of the choice of the held-out rows.
    stratify : bool, default=True
        Whether to stratify by ``y``.
    **fields
        Further fields of `StudyData`.

    Raises
    ------
    DataError
        If ``test_size`` is out of range.
    """
    test, search = random_split(y, test_size, seed, "test_size", stratify=stratify)
    X_search, X_test = (
        X.iloc[rows].reset_index(drop=True) if hasattr(X, "iloc") else X[rows]
        for rows in (search, test)
    )
    return StudyData(X=X_search, y=y[search], X_test=X_test, y_test=y[test], **fields)


def search_on_part(
    read: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]],
    y: np.ndarray[Any, Any],
    *,
    n_train: int | None,
    seed: int,
    refit_on_all: bool,
    **fields: Any,
) -> StudyData:
    """Return data with a stratified part of the training samples for the search.

    Parameters
    ----------
    read : callable
        Returns the rows of ``X`` with the given numbers; it is only called for needed rows.
    y : array of shape (n_samples,)
        Class of every training sample.
    n_train : int or None
        Number of samples of the part; None means all.
    seed : int
        Seed of the choice of the part.
    refit_on_all : bool
        Whether to refit the winner on all training samples, or only on the same part.
    **fields
        Further fields of `StudyData`.

    Raises
    ------
    DataError
        If ``n_train`` is out of range.
    """
    everything = np.arange(len(y))
    if n_train is None or n_train == len(y):
        return StudyData(X=read(everything), y=y, **fields)
    part, _ = random_split(y, n_train, seed, "n_train")
    if not refit_on_all:
        return StudyData(X=read(part), y=y[part], **fields)
    X = read(everything)
    return StudyData(X=X[part], y=y[part], X_refit=X, y_refit=y, **fields)
