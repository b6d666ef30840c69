"""A user's own images, in a folder for each class."""

from pathlib import Path
from typing import Any

import numpy as np

from hpo.data._base import StudyData
from hpo.data._images import as_pixels, read_images
from hpo.data._partition import random_split, search_on_part
from hpo.exceptions import DataError

__all__ = ["load_image_folder"]

TEST_FOLDERS = ("test", "val")


def load_image_folder(
    path: str | Path,
    size: int = 32,
    *,
    test_size: float = 0.2,
    n_train: int | None = None,
    seed: int = 0,
    refit_on_all: bool = True,
    source: str | None = None,
) -> StudyData:
    """Return images that lie in one folder for each class.

    Parameters
    ----------
    path : path
        Holds a folder for each class (``path/cat/1.jpg``), or the folders ``train`` and
        ``test`` (else ``val``) which do; then the latter is the held-out part. Where there are
        all three, ``val`` is searched on with ``train``.
    size : int, default=32
        Height and width to which images are scaled and cut, in pixels.
    test_size : float, default=0.2
        Share of the images that is held out where they have no test folder, between 0 and 1
        exclusive, drawn at random with the shares of the classes kept.
    n_train : int, optional
        Search on that many of the training images, drawn likewise. None searches on all.
    seed : int, default=0
        Decides which images those are.
    refit_on_all : bool, default=True
        Whether the winner is refitted on all training images, or on those of the search.
    source : str, optional
        See `StudyData`.

    Returns
    -------
    StudyData
        ``X`` float32 of shape (n_samples, 3, size, size), from 0 to 1; ``y`` int64 of shape
        (n_samples,), the number of the class in ``class_names``.

    Raises
    ------
    DataError
        If there are no such folders, one is empty, a file is no image, the classes of the two
        parts differ, or a number is out of range.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DataError(f"There is no folder {str(folder)!r}. Give one that holds images by class.")
    held_out = [folder / name for name in TEST_FOLDERS if (folder / name).is_dir()]
    if (folder / "train").is_dir() and held_out:
        images, labels, names = _joined([folder / "train", *held_out[1:]], size)
        images_test, labels_test, _ = _joined([held_out[0]], size, names)
    else:
        everything, classes, names = read_images(folder, size)
        test, search = random_split(classes, test_size, seed, "test_size")
        images, labels = everything[search], classes[search]
        images_test, labels_test = everything[test], classes[test]
    return search_on_part(
        lambda rows: as_pixels(images[rows]),
        labels,
        n_train=n_train,
        seed=seed,
        refit_on_all=refit_on_all,
        X_test=as_pixels(images_test),
        y_test=labels_test,
        class_names=names,
        source=source,
    )


def _joined(
    folders: list[Path], size: int, names: tuple[str, ...] | None = None
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], tuple[str, ...]]:
    """Return the images of several folders, all with the same classes."""
    parts = [read_images(folder, size) for folder in folders]
    names = names or parts[0][2]
    for folder, (_, _, found) in zip(folders, parts, strict=True):
        if found != names:
            raise DataError(
                f"{folder} has the classes {', '.join(found)}, but the training part has "
                f"{', '.join(names)}. Both must have the same folders."
            )
    images, labels, _ = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels), names
