"""Find, unpack or download the four files of an MNIST in the layout that torchvision reads."""

import contextlib
import gzip
import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Generator
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

import numpy as np

from hpo.data.folder import cache_folder, folders_to_search
from hpo.exceptions import DataError

__all__ = ["FILES", "download_root", "find_root", "read_root"]

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
FOLDERS = {"MNIST": "mnist", "FashionMNIST": "fashion_mnist"}
"""Name of the data sets in torchvision, and of their folders among our data."""


def read_root(
    root: Path, dataset: str, *, train: bool
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the images and labels in a folder that torchvision takes as ``root``.

    Returns
    -------
    images : array of uint8, shape (n_samples, 28, 28)
    labels : array of int64, shape (n_samples,)

    Raises
    ------
    DataError
        If a file is damaged.
    """
    from torchvision import datasets

    try:
        data = getattr(datasets, dataset)(root, train=train)
        images, labels = data.data.numpy(), data.targets.numpy()
        return images.reshape(len(labels), 28, 28), labels.astype(np.int64)
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(
            f"The files in {root / dataset / 'raw'} cannot be read as {dataset} "
            f"({type(error).__name__}: {error}). Delete them, and they will be made anew, or "
            "replace them by whole copies."
        ) from error


def find_root(data_dir: str | Path | None = None, dataset: str = "MNIST") -> Path | None:
    """Return a folder that ``torchvision.datasets.MNIST`` takes as ``root``, if there is one.

    Looked at in turn: ``data_dir`` alone if it is given, else ``$HPO_DATA`` and the cache
    folder. The first complete set of files counts, plain or gzipped. Gzipped ones are
    unpacked into the cache folder.

    Raises
    ------
    DataError
        If ``data_dir`` has no complete set of files, a file is damaged, or the cache folder
        cannot be written.
    """
    raws = _places(data_dir, dataset)
    for raw in raws:
        if _complete(raw):
            return raw.parents[1]
        if _complete(raw, ".gz"):
            return _unpacked(raw, dataset)
    if data_dir:
        raise DataError(
            f"There is no complete {dataset} in data_dir={str(data_dir)!r}. {_searched(raws)} "
            "Leave data_dir out to have it looked for in $HPO_DATA, then downloaded."
        )
    return None


def _places(data_dir: str | Path | None, dataset: str) -> list[Path]:
    """Return where torchvision's files may be: below its ``root``, they are in MNIST/raw."""
    folders = folders_to_search(data_dir or None)
    roots = [root for folder in folders for root in (folder / FOLDERS[dataset], folder)]
    return [root / dataset / "raw" for root in roots]


def _searched(raws: list[Path]) -> str:
    places = " and ".join(map(str, raws))
    return f"Looked in {places} for {', '.join(FILES)} (each plain or with .gz)."


def _complete(raw: Path, suffix: str = "") -> bool:
    return all((raw / (name + suffix)).is_file() for name in FILES)


def _unpacked(raw: Path, dataset: str) -> Path:
    """Unpack the gzipped files in ``raw`` into the cache folder, unless they are there already.

    The cache knows them by their contents, so that two sources never mix and a new version
    of a source is unpacked anew.
    """
    root = cache_folder() / FOLDERS[dataset] / f"unpacked-{_fingerprint(raw)}"
    for name in FILES:
        source, target = raw / f"{name}.gz", root / dataset / "raw" / name
        if target.is_file():
            continue
        try:
            with gzip.open(source) as packed, _new_file(target) as plain:
                shutil.copyfileobj(packed, plain)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{source} is damaged ({error}). Replace it by a whole copy."
            ) from error
    return root


def _fingerprint(raw: Path) -> str:
    """Return a name for the contents of the gzipped files: a hash of their sizes and trailers.

    The last eight bytes of a gzip file are the checksum and length of what it holds.
    """
    digest = hashlib.sha256()
    for name in FILES:
        with (raw / f"{name}.gz").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 8))
            digest.update(b"%d" % size + file.read())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def _new_file(target: Path) -> Generator[IO[bytes]]:
    """Open a file for writing that appears as ``target`` only when it is whole."""
    with _cache_errors():
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(part).replace(target)
    finally:
        Path(part).unlink(missing_ok=True)


@contextlib.contextmanager
def _cache_errors() -> Generator[None]:
    """Say what to do where the cache folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"The cache folder {cache_folder()} cannot be written ({error}). "
            "Set HPO_CACHE to a folder that can."
        ) from error


def download_root(dataset: str = "MNIST") -> Path:
    """Download the files to the cache folder; return the ``root`` of torchvision there.

    Raises
    ------
    DataError
        If there is no network, or the cache folder cannot be written.
    """
    from torchvision import datasets

    root = cache_folder() / FOLDERS[dataset]
    raw = Path(dataset) / "raw"
    with _cache_errors():
        root.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=root, prefix="download-"))
    try:
        # torchvision unpacks in place: only whole files may reach the place that is looked at
        getattr(datasets, dataset)(scratch, download=True)
        (root / raw).mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (scratch / raw / name).replace(root / raw / name)
    except (RuntimeError, OSError, HTTPException) as error:
        raise DataError(
            f"{dataset} is not on this machine and could not be downloaded. "
            f"{_searched(_places(None, dataset))} Set HPO_DATA to a folder that holds "
            f"{FOLDERS[dataset]}/{raw} with these files, or try again with a network.\n{error}"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return root
