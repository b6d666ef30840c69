"""CIFAR-10, in one of several formats."""

import io
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from hpo.data._base import StudyData
from hpo.data._images import as_pixels
from hpo.data._npz import read_npz
from hpo.data._partition import random_split, search_on_part
from hpo.data.folder import atomic_folder, cache_folder, folders_to_search
from hpo.exceptions import DataError

__all__ = ["load_cifar10"]

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
JPEG = Path("cifar10_jpeg")
ORIGINAL = Path("cifar-10-batches-py")


def load_cifar10(
    n_train: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    *,
    lossless: bool = False,
    refit_on_all: bool = True,
) -> StudyData:
    """Return CIFAR-10 (Krizhevsky 2009): 50,000 training and the official 10,000 test images.

    The original files are used if they are on this machine, else a copy that is compressed as
    JPEG. Nets score worse on that copy, so its results must not be compared with published ones,
    and ``source`` says so.

    Parameters
    ----------
    n_train : int, optional
        Number of training images to search on, drawn at random, stratified
        by class. If None, all are used.
    seed : int, default=0
        Seed of the choice of these images.
    data_dir : path, optional
        Folder that holds ``cifar-10-batches-py`` (or ``cifar10/cifar-10-batches-py``), or
        ``cifar10_jpeg/{train,test,lossless4000}.npz``. If None, it searches ``$HPO_DATA``, then
        the cache folder (``$HPO_CACHE``, else ``~/.cache/hpo``), else downloads the files.
    lossless : bool, default=False
        Whether to never use the JPEG copy. If the original files are missing, use the first 4,000
        training images, of which a fifth is held out.
    refit_on_all : bool, default=True
        Whether to refit the winner on all training images, or only on those of the search.

    Returns
    -------
    StudyData
        ``X`` float32 of shape (n_samples, 3, 32, 32), from 0 to 1; ``y`` int64 of shape
        (n_samples,).

    Raises
    ------
    DataError
        If the files are not found and cannot be downloaded, one is damaged, or ``n_train`` is
        out of range.
    """
    options = {"n_train": n_train, "seed": seed, "refit_on_all": refit_on_all}
    folders = folders_to_search(data_dir)
    roots = [root for folder in folders for root in (folder / "cifar10", folder)]
    copies = [folder / JPEG for folder in folders]
    if root := _first(roots, ORIGINAL):
        return _original(root, options)
    if lossless and (copy := _first(copies, "lossless4000.npz")):
        return _lossless(copy / "lossless4000.npz", options)
    if not lossless and (copy := _first(copies, "train.npz")):
        return _jpeg(copy, options)
    searched_paths = [root / ORIGINAL for root in roots] + copies
    return _original(_download(searched_paths, download=data_dir is None), options)


def _first(folders: list[Path], name: str | Path) -> Path | None:
    return next((folder for folder in folders if (folder / name).exists()), None)


def _original(root: Path, options: dict[str, Any]) -> StudyData:
    from torchvision.datasets import CIFAR10

    try:
        train, test = CIFAR10(root, train=True), CIFAR10(root, train=False)
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise DataError(
            f"{root / ORIGINAL} is damaged ({error}). Replace it by a whole copy."
        ) from error
    return search_on_part(
        lambda rows: as_pixels(train.data[rows]),
        np.asarray(train.targets, dtype=np.int64),
        X_test=as_pixels(test.data),
        y_test=np.asarray(test.targets, dtype=np.int64),
        class_names=CLASSES,
        source="CIFAR-10",
        **options,
    )


def _jpeg(folder: Path, options: dict[str, Any]) -> StudyData:
    train = _Compressed(folder / "train.npz")
    test = _Compressed(folder / "test.npz")
    return search_on_part(
        lambda rows: as_pixels(train.images(rows)),
        train.labels,
        X_test=as_pixels(test.images(np.arange(len(test.labels)))),
        y_test=test.labels,
        class_names=CLASSES,
        source="CIFAR-10 re-encoded as JPEG (lossy): not to be compared with published figures",
        **options,
    )


def _lossless(file: Path, options: dict[str, Any]) -> StudyData:
    images, labels = read_npz(file, "images", "labels")
    y = labels.astype(np.int64)
    test, search = random_split(y, 0.2, options["seed"], "the test share")
    return search_on_part(
        lambda rows: as_pixels(images[search[rows]]),
        y[search],
        X_test=as_pixels(images[test]),
        y_test=y[test],
        class_names=CLASSES,
        source="the first 4,000 training images of CIFAR-10, a fifth of them held out",
        **options,
    )


class _Compressed:
    """A stream of concatenated JPEG images; only requested images are decoded."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stream, sizes, labels = read_npz(file, "jpeg", "sizes", "labels")
        self._ends = np.cumsum(sizes, dtype=np.int64)
        self._sizes = sizes.astype(np.int64)
        self.labels = labels.astype(np.int64)

    def images(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the images of some rows, uint8 of shape (n_rows, 32, 32, 3)."""
        from PIL import Image

        images = np.empty((len(rows), 32, 32, 3), dtype=np.uint8)
        try:
            for i, row in enumerate(rows):
                end = self._ends[row]
                file = self._stream[end - self._sizes[row] : end].tobytes()
                images[i] = np.asarray(Image.open(io.BytesIO(file)))
        except (OSError, ValueError) as error:
            raise DataError(
                f"Image {row} of {self._file} cannot be decoded ({error}). Replace the file by a "
                "whole copy."
            ) from error
        return images


def _download(searched_paths: list[Path], *, download: bool) -> Path:
    """Download CIFAR-10 to the cache folder; return its root there."""
    from torchvision.datasets import CIFAR10

    where = f"Looked for {' and '.join(map(str, searched_paths))}."
    root = cache_folder() / "cifar10"
    if not download:
        raise DataError(f"There is no CIFAR-10 in the given data_dir. {where}")
    try:
        with atomic_folder(root) as scratch:
            CIFAR10(scratch, download=True)
            (scratch / CIFAR10.filename).unlink()
    except (RuntimeError, OSError, HTTPException) as error:
        raise DataError(
            f"CIFAR-10 is not on this machine and could not be downloaded. {where} Set HPO_DATA to "
            f"a folder that holds one of them, or try again with a network.\n{error}"
        ) from error
    return root
