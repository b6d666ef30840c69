"""Find, unpack or download the four files of MNIST or Fashion-MNIST in torchvision's layout."""

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
"""Names of the data sets in torchvision, and of their folders below a data folder."""


def read_root(
    root: Path, dataset: str, *, train: bool
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the images and labels in a folder that is a ``root`` of torchvision.

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
            f"({type(error).__name__}: {error}). Delete them, and they will be made again, or "
            "replace them by whole copies."
        ) from error


def find_root(data_dir: str | Path | None = None, dataset: str = "MNIST") -> Path | None:
    """Return a folder that is a ``root`` of ``torchvision.datasets.MNIST``, if there is one.

    It searches only ``data_dir`` if that is given, else ``$HPO_DATA`` and the cache folder, and
    uses the first complete set of files, plain or gzipped. Gzipped files are unpacked into the
    cache folder.

    Raises
    ------
    DataError
        If ``data_dir`` has no complete set of files, a file is damaged, or the cache folder
        cannot be written.
    """
    raws = _raw_folders(data_dir, dataset)
    for raw in raws:
        if _complete(raw):
            return raw.parents[1]
        if _complete(raw, ".gz"):
            return _unpack(raw, dataset)
    if data_dir:
        raise DataError(
            f"There is no complete {dataset} in data_dir={str(data_dir)!r}. "
            f"{_search_message(raws)} "
            "Leave data_dir out to have it looked for in $HPO_DATA, then downloaded."
        )
    return None


def _raw_folders(data_dir: str | Path | None, dataset: str) -> list[Path]:
    """Return the folders that may have torchvision's files: ``root/MNIST/raw``."""
    folders = folders_to_search(data_dir or None)
    roots = [root for folder in folders for root in (folder / FOLDERS[dataset], folder)]
    return [root / dataset / "raw" for root in roots]


def _search_message(raws: list[Path]) -> str:
    places = " and ".join(map(str, raws))
    return f"Looked in {places} for {', '.join(FILES)} (each plain or with .gz)."


def _complete(raw: Path, suffix: str = "") -> bool:
    return all((raw / (name + suffix)).is_file() for name in FILES)


def _unpack(raw: Path, dataset: str) -> Path:
    """Unpack the gzipped files in ``raw`` into the cache folder, unless they are there already.

    The folder in the cache depends on their contents, so that two sources never mix and a new
    version of a source is unpacked again.
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
    """Return a hash of the sizes and trailers of the gzipped files, to identify their contents.

    The last eight bytes of a gzip file are the checksum and length of its contents.
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
    """Open a file for writing that becomes ``target`` only when it is complete."""
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
    """Raise a helpful `DataError` if the cache folder cannot be written."""
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
        # torchvision unpacks in place, but only complete files may be found in ``root``
        getattr(datasets, dataset)(scratch, download=True)
        (root / raw).mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (scratch / raw / name).replace(root / raw / name)
    except (RuntimeError, OSError, HTTPException) as error:
        raise DataError(
            f"{dataset} is not on this machine and could not be downloaded. "
            f"{_search_message(_raw_folders(None, dataset))} Set HPO_DATA to a folder that holds "
            f"{FOLDERS[dataset]}/{raw} with these files, or try again with a network.\n{error}"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return root
