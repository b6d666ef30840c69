"""The handwritten digits of scikit-learn."""

import numpy as np

from hpo.data._base import StudyData
from hpo.data._partition import seal_part

__all__ = ["load_digits"]


def load_digits(test_size: float = 0.2, seed: int = 0) -> StudyData:
    """Return the 1,797 digits of 8 x 8 pixels that scikit-learn ships (nothing is downloaded).

    Parameters
    ----------
    test_size : float, default=0.2
        Share of the samples to hold out as the test part, between 0 and 1 exclusive,
        drawn at random, stratified by class.
    seed : int, default=0
        Seed of the choice of these samples.

    Returns
    -------
    StudyData
        ``X`` float32 of shape (n_samples, 64), from 0 (paper) to 1 (ink); ``y`` int64 of
        shape (n_samples,), classes 0 to 9.

    Raises
    ------
    DataError
        If ``test_size`` is out of range.
    """
    import sklearn.datasets

    X, y = sklearn.datasets.load_digits(return_X_y=True)
    X = (X / 16.0).astype(np.float32)
    y = y.astype(np.int64)
    return seal_part(X, y, test_size, seed, class_names=tuple("0123456789"))
