"""Random parts of a data set that keep the shares of the classes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from hpo.data._base import StudyData
from hpo.exceptions import DataError

__all__ = ["search_on_part", "stratified_split"]


def stratified_split(
    y: np.ndarray[Any, Any], size: int | float, seed: int, name: str
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the indices of a stratified random part of ``size`` samples, and of the rest.

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

    Returns
    -------
    part, rest : arrays of int
        Both in ascending order.

    Raises
    ------
    DataError
        If ``size`` leaves the part or the rest with fewer samples than there are classes.
    """
    from sklearn.model_selection import train_test_split

    try:
        rest, part = train_test_split(
            np.arange(len(y)), test_size=size, stratify=y, random_state=seed
        )
    except ValueError as error:
        raise DataError(f"{name}={size} does not fit {len(y)} samples: {error}") from error
    return np.sort(part), np.sort(rest)


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
    part, _ = stratified_split(y, n_train, seed, "n_train")
    if not refit_on_all:
        return StudyData(X=read(part), y=y[part], **fields)
    X = read(everything)
    return StudyData(X=X[part], y=y[part], X_refit=X, y_refit=y, **fields)
