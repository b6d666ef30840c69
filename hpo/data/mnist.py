"""MNIST, through torchvision."""

from pathlib import Path
from typing import Any

import numpy as np

from hpo.data._base import StudyData
from hpo.data._mnist_files import find_root
from hpo.data._partition import stratified_split
from hpo.exceptions import DataError

__all__ = ["load_mnist"]


def load_mnist(
    n_train: int | None = None, seed: int = 0, data_dir: str | Path | None = None
) -> StudyData:
    """Return MNIST: 60,000 digits of 28 x 28 pixels to train on, and the official 10,000 to test.

    Parameters
    ----------
    n_train : int, optional
        Search on that many of the 60,000, drawn at random with the shares of the classes
        kept; the winner is then refitted on all of them. None searches on all.
    seed : int, default=0
        Decides which samples those are.
    data_dir : path, optional
        Folder that holds ``mnist/MNIST/raw`` or ``MNIST/raw`` with the four files, plain or
        gzipped. None looks in ``$HPO_DATA``, then in the cache folder (``$HPO_CACHE``, else
        ``~/.cache/hpo``), and downloads to it what is in neither.

    Returns
    -------
    StudyData
        ``X`` float32 of shape (n_samples, 784), pixels from 0 (paper) to 1 (ink); ``y``
        int64 of shape (n_samples,), classes 0 to 9.

    Raises
    ------
    DataError
        If the files are nowhere and cannot be downloaded, one is damaged, or ``n_train`` is
        out of range.
    """
    root = find_root(data_dir)
    X, y = _read(root, train=True)
    X_test, y_test = _read(root, train=False)
    if n_train is None:
        return StudyData(X=X, y=y, X_test=X_test, y_test=y_test)
    part, _ = stratified_split(y, n_train, seed, "n_train")
    return StudyData(X=X[part], y=y[part], X_test=X_test, y_test=y_test, X_refit=X, y_refit=y)


def _read(root: Path, *, train: bool) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    from torchvision.datasets import MNIST

    try:
        dataset = MNIST(root, train=train)
        images, labels = dataset.data.numpy(), dataset.targets.numpy()
        X = images.reshape(len(labels), 28 * 28).astype(np.float32)
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(
            f"The files in {root / 'MNIST' / 'raw'} cannot be read as MNIST "
            f"({type(error).__name__}: {error}). Delete them, and they will be made anew, or "
            "replace them by whole copies."
        ) from error
    X /= 255.0
    return X, labels.astype(np.int64)
