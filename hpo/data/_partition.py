"""Random parts of a data set that keep the shares of the classes."""

from typing import Any

import numpy as np

from hpo.exceptions import DataError

__all__ = ["stratified_split"]


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
