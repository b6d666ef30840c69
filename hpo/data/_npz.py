"""Arrays of an ``.npz`` file."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hpo._discovery import did_you_mean
from hpo.exceptions import DataError

__all__ = ["open_npz", "read_npz"]


def open_npz(path: Path) -> Any:
    """Open an ``.npz`` file; its arrays are read when they are asked for, by `read_npz`.

    Raises
    ------
    DataError
        If it does not exist or is none.
    """
    try:
        archive = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"There is no file {str(path)!r}.") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as an .npz file: {error}") from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise DataError(f"{path} holds one array, not an archive of arrays (numpy.savez).")
    return archive


def read_npz(path: Path, *names: str) -> tuple[np.ndarray[Any, Any], ...]:
    """Return some arrays of an ``.npz`` file.

    Raises
    ------
    DataError
        If the file cannot be read, or one of the arrays is not in it.
    """
    with open_npz(path) as archive:
        for name in names:
            if name not in archive.files:
                hint = did_you_mean(name, archive.files) or "."
                raise DataError(
                    f"{path} holds no array '{name}'{hint} It holds: {', '.join(archive.files)}."
                )
        try:
            return tuple(archive[name] for name in names)
        except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is damaged ({error}). Replace it by a whole copy.") from error
