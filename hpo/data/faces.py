"""Faces of animals: AFHQ, and a small data set as a substitute."""

from pathlib import Path

import numpy as np

from hpo._discovery import did_you_mean
from hpo.data._base import StudyData
from hpo.data._images import as_pixels
from hpo.data._npz import read_npz
from hpo.data._partition import search_on_part
from hpo.data.folder import find_data, folders_to_search
from hpo.data.image_folder import load_image_folder
from hpo.exceptions import DataError

__all__ = ["load_afhq", "load_animal_faces", "load_faces"]

AFHQ = "afhq"
AFHQ_CLASSES = ("cat", "dog", "wild")
ANIMAL_FACES = "lhi_animal_faces/lhi_animal_faces_32.npz"
LABELS = ("cat_dog_wild", "species")


def load_faces(
    n_train: int | None = None, seed: int = 0, *, size: int = 32, refit_on_all: bool = True
) -> StudyData:
    """Return faces of cats, dogs and wild animals: `load_afhq`, else `load_animal_faces`.

    Parameters
    ----------
    n_train, seed, refit_on_all
        As in `load_animal_faces`.
    size : int, default=32
        Height and width of the images of AFHQ; the animal faces only have 32 pixels.

    Returns
    -------
    StudyData
        Its ``source`` says which of the two it is.

    Raises
    ------
    DataError
        If neither is on this machine, or a number is out of range.
    """
    if any((folder / AFHQ).is_dir() for folder in folders_to_search()):
        return load_afhq(n_train, seed, size=size, refit_on_all=refit_on_all)
    if size != 32:
        raise DataError(
            f"There is no AFHQ on this machine, and the animal faces only have a size of 32. "
            f"Got size={size!r}. Set HPO_DATA to a folder that holds {AFHQ}/train."
        )
    return load_animal_faces(n_train, seed, refit_on_all=refit_on_all)


def load_afhq(
    n_train: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    *,
    size: int = 32,
    refit_on_all: bool = True,
) -> StudyData:
    """Return AFHQ (Choi et al. 2020, *StarGAN v2*): faces of cats, dogs and wild animals.

    Parameters
    ----------
    n_train, seed, refit_on_all
        As in `load_animal_faces`.
    data_dir : path, optional
        Folder that holds ``afhq/train/{cat,dog,wild}`` and ``afhq/val`` or ``afhq/test`` with
        the same. If None, it searches ``$HPO_DATA`` and the cache folder.
    size : int, default=32
        Height and width to which the images are scaled, in pixels.

    Returns
    -------
    StudyData
        As from `load_image_folder`; ``val`` or ``test`` is the held-out part.

    Raises
    ------
    DataError
        If the folders are not found or have other classes, a file is not an image, or a number is
        out of range.
    """
    folder = find_data("AFHQ", f"{AFHQ}/train", data_dir=data_dir).parent
    data = load_image_folder(
        folder,
        size,
        n_train=n_train,
        seed=seed,
        refit_on_all=refit_on_all,
        source=f"AFHQ, {size} x {size} pixels",
    )
    if data.class_names != AFHQ_CLASSES:
        raise DataError(
            f"{folder} must hold the classes {', '.join(AFHQ_CLASSES)}. "
            f"Got {', '.join(data.class_names or ())} instead."
        )
    return data


def load_animal_faces(
    n_train: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    *,
    label: str = "cat_dog_wild",
    refit_on_all: bool = True,
) -> StudyData:
    """Return the LHI animal faces (Si and Zhu 2012), scaled to 32 x 32 pixels.

    Parameters
    ----------
    n_train : int, optional
        Number of training images to search on, drawn at random, stratified
        by class. If None, all are used.
    seed : int, default=0
        Seed of the choice of these images.
    data_dir : path, optional
        Folder that holds ``lhi_animal_faces/lhi_animal_faces_32.npz``. If None, it
        searches ``$HPO_DATA`` and the cache folder.
    label : {"cat_dog_wild", "species"}, default="cat_dog_wild"
        The classes: those of AFHQ (773 training images, 193 held out; the wild ones are bears,
        lions, tigers and wolves, other animals are left out), or 19 species (1,849 and 462).
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
        If the file is not found or damaged, or an argument is out of range.
    """
    if label not in LABELS:
        hint = did_you_mean(label, LABELS) or "."
        raise DataError(f"label must be one of: {', '.join(LABELS)}. Got '{label}' instead{hint}")
    file = find_data("The set of animal faces", ANIMAL_FACES, data_dir=data_dir)
    images, species, three, test, classes = read_npz(
        file, "images", "labels", "cat_dog_wild", "test", "classes"
    )
    names = tuple(map(str, classes)) if label == "species" else AFHQ_CLASSES
    labels = (species if label == "species" else three).astype(np.int64)
    search, held_out = (np.flatnonzero((labels >= 0) & part) for part in (~test, test))
    return search_on_part(
        lambda rows: as_pixels(images[search[rows]]),
        labels[search],
        n_train=n_train,
        seed=seed,
        refit_on_all=refit_on_all,
        X_test=as_pixels(images[held_out]),
        y_test=labels[held_out],
        class_names=names,
        source=f"LHI animal faces ({label}), 32 x 32 pixels",
    )
