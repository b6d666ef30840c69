"""Load images of the user from a folder for each class."""

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
    """Return images from one folder for each class.

    Parameters
    ----------
    path : path
        A folder that contains a folder for each class (``path/cat/1.jpg``), or the folders
        ``train`` and ``test`` (or ``val``) that do. In that case ``test`` (or ``val``) is the
        held-out part. If there are all three, the search uses ``val`` together with ``train``.
    size : int, default=32
        Height and width to which images are scaled and cropped, in pixels.
    test_size : float, default=0.2
        Share of the images to hold out if there is no test folder, between 0 and 1 exclusive,
        drawn at random, stratified by class.
    n_train : int, optional
        Number of training images to search on, drawn in the same way. If None, all are used.
    seed : int, default=0
        Seed of the choice of these images.
    refit_on_all : bool, default=True
        Whether to refit the winner on all training images, or only on those of the search.
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
        If there are no such folders, one is empty, a file is not an image, the classes of the two
        parts differ, or a number is out of range.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DataError(f"There is no folder {str(folder)!r}. Give one that holds images by class.")
    held_out = [folder / name for name in TEST_FOLDERS if (folder / name).is_dir()]
    if (folder / "train").is_dir() and held_out:
        images, labels, names = _read_folders([folder / "train", *held_out[1:]], size)
        images_test, labels_test, _ = _read_folders([held_out[0]], size, names)
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


def _read_folders(
    folders: list[Path], size: int, names: tuple[str, ...] | None = None
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], tuple[str, ...]]:
    """Return the images of several folders, all with the same classes."""
    parts = [read_images(folder, size) for folder in folders]
    names = names or parts[0][2]
    for folder, (_, _, classes) in zip(folders, parts, strict=True):
        if classes != names:
            raise DataError(
                f"{folder} has the classes {', '.join(classes)}, but the training part has "
                f"{', '.join(names)}. Both must have the same folders."
            )
    images, labels, _ = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels), names
