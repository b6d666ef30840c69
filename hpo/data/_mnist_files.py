"""Find, unpack or download the four files of MNIST in the layout that torchvision reads."""

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
from typing import IO

from hpo.data._folder import cache_folder, data_folder
from hpo.exceptions import DataError

__all__ = ["FILES", "find_root"]

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
RAW = Path("MNIST") / "raw"
"""Where torchvision has the files, below its ``root``."""


def find_root(data_dir: str | Path | None = None) -> Path:
    """Return a folder that ``torchvision.datasets.MNIST`` takes as ``root``.

    Looked at in turn: ``data_dir`` alone if it is given, else ``$HPO_DATA`` and the cache
    folder. The first complete set of files counts, plain or gzipped. Gzipped ones are
    unpacked into the cache folder, and where there are none, the files are downloaded to it.

    Raises
    ------
    DataError
        If ``data_dir`` has no complete set of files, there is none and the download fails,
        a file is damaged, or the cache folder cannot be written.
    """
    folders = [Path(data_dir).expanduser()] if data_dir else [data_folder(), cache_folder()]
    roots = [root for folder in folders if folder for root in (folder / "mnist", folder)]
    for root in roots:
        if _complete(root / RAW):
            return root
        if _complete(root / RAW, ".gz"):
            return _unpacked(root / RAW)
    if data_dir:
        raise DataError(
            f"There is no complete MNIST in data_dir={str(data_dir)!r}. {_searched(roots)} Leave "
            "data_dir out to have it looked for in $HPO_DATA, then downloaded."
        )
    return _downloaded(roots)


def _searched(roots: list[Path]) -> str:
    places = " and ".join(str(root / RAW) for root in roots)
    return f"Looked in {places} for {', '.join(FILES)} (each plain or with .gz)."


def _complete(raw: Path, suffix: str = "") -> bool:
    return all((raw / (name + suffix)).is_file() for name in FILES)


def _unpacked(raw: Path) -> Path:
    """Unpack the gzipped files in ``raw`` into the cache folder, unless they are there already.

    The cache knows them by their contents, so that two sources never mix and a new version
    of a source is unpacked anew.
    """
    root = cache_folder() / "mnist" / f"unpacked-{_fingerprint(raw)}"
    for name in FILES:
        source, target = raw / f"{name}.gz", root / RAW / name
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


def _downloaded(roots: list[Path]) -> Path:
    """Download MNIST to the cache folder; return its root there."""
    from torchvision.datasets import MNIST

    root = cache_folder() / "mnist"
    with _cache_errors():
        root.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=root, prefix="download-"))
    try:
        # torchvision unpacks in place: only whole files may reach the place that is looked at
        MNIST(scratch, download=True)
        (root / RAW).mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (scratch / RAW / name).replace(root / RAW / name)
    except (RuntimeError, OSError, HTTPException) as error:
        raise DataError(
            f"MNIST is not on this machine and could not be downloaded. {_searched(roots)} Set "
            "HPO_DATA to a folder that holds mnist/MNIST/raw with these files, or try again with "
            f"a network.\n{error}"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return root
