"""Read arrays of an ``.npz`` file."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hpo._discovery import did_you_mean
from hpo.exceptions import DataError

__all__ = ["npz_names", "read_npz"]


def npz_names(path: Path) -> list[str]:
    """Return the names of the arrays in an ``.npz`` file.

    Raises
    ------
    DataError
        If the file does not exist or is not an ``.npz`` file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except FileNotFoundError:
        raise DataError(f"There is no file {str(path)!r}.") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as an .npz file: {error}") from error


def read_npz(path: Path, *names: str) -> tuple[np.ndarray[Any, Any], ...]:
    """Return some arrays of an ``.npz`` file.

    Raises
    ------
    DataError
        If the file cannot be read, or one of the arrays is not in it.
    """
    available = npz_names(path)
    for name in names:
        if name not in available:
            hint = did_you_mean(name, available) or "."
            raise DataError(
                f"{path} holds no array '{name}'{hint} It holds: {', '.join(available)}."
            )
    try:
        with np.load(path, allow_pickle=False) as archive:
            return tuple(archive[name] for name in names)
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged ({error}). Replace it by a whole copy.") from error
