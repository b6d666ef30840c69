"""Random parts of a data set that keep the shares of the classes."""

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
        What the caller's user knows ``size`` as; for the message.
    stratify : bool, default=True
        Whether both have the shares of the classes.

    Returns
    -------
    part, rest : arrays of int
        Both in ascending order.

    Raises
    ------
    DataError
        If ``size`` leaves one of them without samples, or with fewer than there are classes.
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
    """Return data of which a random share is the held-out test part.

    Parameters
    ----------
    X : array or data frame of n_samples rows
    y : array of n_samples rows
    test_size : float
        Between 0 and 1 exclusive.
    seed : int
        Decides which rows are held out.
    stratify : bool, default=True
        Whether both parts have the shares of the classes.
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
    """Return data whose search sees a stratified part of the training samples.

    Parameters
    ----------
    read : callable
        Returns the rows of ``X`` whose numbers it is given; only the needed ones are asked for.
    y : array of shape (n_samples,)
        Class of every training sample.
    n_train : int or None
        Samples of the part; None means all.
    seed : int
        Decides which those are.
    refit_on_all : bool
        Whether the winner is refitted on all training samples, or on the same part.
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
