"""Read images from a folder for each class, resize them once, and convert them to floats."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from hpo.data._npz import read_npz
from hpo.data.folder import atomic_folder, cache_folder
from hpo.exceptions import DataError

__all__ = ["as_pixels", "read_images"]


def as_pixels(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Convert images of bytes to the format of torch's convolutions.

    Parameters
    ----------
    images : array of uint8, shape (n_samples, height, width, 3)

    Returns
    -------
    array of float32, shape (n_samples, 3, height, width)
        Pixels from 0 to 1.
    """
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)
    pixels /= 255.0
    return pixels


def read_images(
    folder: Path, size: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], tuple[str, ...]]:
    """Return the images of a folder with a subfolder for each class, as squares of one size.

    An image is scaled so that its shorter side fits, and cropped at its center. The squares are
    cached in the cache folder, by the names, sizes and times of the files.

    Parameters
    ----------
    folder : path
    size : int
        Height and width, in pixels.

    Returns
    -------
    images : array of uint8, shape (n_samples, size, size, 3)
    labels : array of int64, shape (n_samples,)
    class_names : tuple of str
        The names of the subfolders, in alphabetic order.

    Raises
    ------
    DataError
        If there are no classes, a class has no images, a file is not an image, or the cache folder
        cannot be written.
    """
    from torchvision.datasets import ImageFolder

    if size < 1:
        raise DataError(f"The size of images must be at least 1 pixel. Got {size!r} instead.")
    try:
        # the loader is called with the path, and the transform with its result
        dataset = ImageFolder(str(folder), loader=lambda path: _square(path, size))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{folder} cannot be read as images by class: {error}\n"
            "It must hold a subfolder for each class with its images in it."
        ) from error
    cached = cache_folder() / "images" / _fingerprint(folder, dataset.samples, size)
    if not cached.is_dir():
        with atomic_folder(cached) as scratch:
            squares = np.stack([image for image, _ in dataset])
            np.savez(scratch / "images.npz", images=squares)
    (images,) = read_npz(cached / "images.npz", "images")
    return images, np.asarray(dataset.targets, dtype=np.int64), tuple(dataset.classes)


def _square(path: str, size: int) -> np.ndarray[Any, Any]:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            image.draft("RGB", (2 * size, 2 * size))  # a JPEG need not be decoded at full size
            square = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.LANCZOS)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as an image ({error}). Remove it.") from error
    return np.asarray(square)


def _fingerprint(folder: Path, samples: list[tuple[str, int]], size: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    for path, _ in samples:
        facts = Path(path).stat()
        digest.update(
            f"{Path(path).relative_to(folder)} {facts.st_size} {facts.st_mtime_ns}\n".encode()
        )
    return digest.hexdigest()[:16]
