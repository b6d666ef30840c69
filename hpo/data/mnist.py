"""MNIST and Fashion-MNIST, through torchvision."""

from pathlib import Path
from typing import Any

import numpy as np

from hpo.data._base import StudyData
from hpo.data._mnist_files import download_root, find_root, read_root
from hpo.data._npz import read_npz
from hpo.data._partition import search_on_part
from hpo.data.folder import folders_to_search

__all__ = ["load_fashion_mnist", "load_mnist"]

FASHION = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
PART = "fashion_mnist_part/fashion_mnist_part.npz"


def load_mnist(
    n_train: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    *,
    refit_on_all: bool = True,
    flat: bool = True,
) -> StudyData:
    """Return MNIST: 60,000 training digits of 28 x 28 pixels, and the official 10,000 test digits.

    Parameters
    ----------
    n_train : int, optional
        Number of samples to search on, drawn at random, stratified by
        class. If None, all are used.
    seed : int, default=0
        Seed of the choice of these samples.
    data_dir : path, optional
        Folder that holds ``mnist/MNIST/raw`` or ``MNIST/raw`` with the four files, plain or
        gzipped. If None, it searches ``$HPO_DATA``, then the cache folder (``$HPO_CACHE``, else
        ``~/.cache/hpo``), else downloads the files to the latter.
    refit_on_all : bool, default=True
        Whether to refit the winner on all samples, or only on those of the search.
    flat : bool, default=True
        Whether a sample is a row of 784 pixels, or else an image of one channel.

    Returns
    -------
    StudyData
        ``X`` float32 of shape (n_samples, 784) or (n_samples, 1, 28, 28), pixels from 0
        (paper) to 1 (ink); ``y`` int64 of shape (n_samples,), classes 0 to 9.

    Raises
    ------
    DataError
        If the files are not found and cannot be downloaded, one is damaged, or ``n_train`` is
        out of range.
    """
    root = find_root(data_dir) or download_root()
    arrays = [a for train in (True, False) for a in read_root(root, "MNIST", train=train)]
    names = tuple("0123456789")
    return _study_data(arrays, n_train, seed, refit_on_all, flat, class_names=names)


def load_fashion_mnist(
    n_train: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    *,
    refit_on_all: bool = True,
    flat: bool = True,
) -> StudyData:
    """Return Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): ten kinds of clothes, 28 x 28 pixels.

    Parameters
    ----------
    n_train, seed, refit_on_all, flat
        As in `load_mnist`.
    data_dir : path, optional
        Folder that holds ``fashion_mnist/FashionMNIST/raw`` or ``FashionMNIST/raw``. If None,
        it searches ``$HPO_DATA`` and the cache folder, then for the first 8,517 training and
        4,443 test images in ``$HPO_DATA/fashion_mnist_part`` (``source`` then says so), else
        downloads the files.

    Returns
    -------
    StudyData
        As from `load_mnist`.

    Raises
    ------
    DataError
        As in `load_mnist`.
    """
    source = None
    root = find_root(data_dir, "FashionMNIST")
    parts = [folder / PART for folder in folders_to_search() if (folder / PART).is_file()]
    if root is None and parts:
        arrays = list(read_npz(parts[0], "x_train", "y_train", "x_test", "y_test"))
        source = f"the first {len(arrays[0]):,} + {len(arrays[2]):,} images of Fashion-MNIST"
    else:
        root = root or download_root("FashionMNIST")
        arrays = [a for t in (True, False) for a in read_root(root, "FashionMNIST", train=t)]
    return _study_data(
        arrays, n_train, seed, refit_on_all, flat, class_names=FASHION, source=source
    )


def _study_data(
    arrays: list[np.ndarray[Any, Any]],
    n_train: int | None,
    seed: int,
    refit_on_all: bool,
    flat: bool,
    **fields: Any,
) -> StudyData:
    shape = (784,) if flat else (1, 28, 28)

    def pixels(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return images.reshape(-1, *shape).astype(np.float32) / np.float32(255)

    images, labels, images_test, labels_test = arrays
    return search_on_part(
        lambda rows: pixels(images[rows]),
        labels.astype(np.int64),
        n_train=n_train,
        seed=seed,
        refit_on_all=refit_on_all,
        X_test=pixels(images_test),
        y_test=labels_test.astype(np.int64),
        **fields,
    )
