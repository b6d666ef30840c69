"""The folders of data sets, and the cache for unpacked or downloaded ones."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpo.exceptions import DataError

__all__ = ["atomic_folder", "cache_folder", "data_folder", "find_data", "folders_to_search"]


def data_folder() -> Path | None:
    """Return the folder of existing data sets in ``$HPO_DATA``, if that is set.

    It may be read-only, as nothing is ever written there.
    """
    return _from_environment("HPO_DATA")


def cache_folder() -> Path:
    """Return ``$HPO_CACHE``, or ``~/.cache/hpo`` if that is not set; it may not exist yet."""
    return _from_environment("HPO_CACHE") or Path("~/.cache/hpo").expanduser()


def folders_to_search(data_dir: str | Path | None = None) -> list[Path]:
    """Return only ``data_dir`` if it is given, else ``$HPO_DATA`` and the cache folder."""
    if data_dir is not None:
        return [Path(data_dir).expanduser()]
    return [folder for folder in (data_folder(), cache_folder()) if folder]


def find_data(what: str, *names: str, data_dir: str | Path | None = None, hint: str = "") -> Path:
    """Return the first existing file or folder of some names in `folders_to_search`.

    Parameters
    ----------
    what : str
        The data set, for the message.
    *names : str
        Paths below a data folder; earlier ones take precedence.
    data_dir : path, optional
    hint : str, default=""
        An alternative for the user, appended to the message.

    Raises
    ------
    DataError
        If none exists.
    """
    places = [folder / name for name in names for folder in folders_to_search(data_dir)]
    for place in places:
        if place.exists():
            return place
    raise DataError(
        f"{what} is not on this machine. Looked for {' and '.join(map(str, places))}. "
        f"Set HPO_DATA to a folder that holds it{f', or {hint}' if hint else ''}."
    )


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Provide a temporary folder that becomes ``folder`` if the block succeeds.

    If several processes make the same folder, that of the first one is kept. If the block raises
    an exception, the temporary folder is removed.

    Raises
    ------
    DataError
        If the cache folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix="making-"))
    except OSError as error:
        raise DataError(
            f"The cache folder {cache_folder()} cannot be written ({error}). "
            "Set HPO_CACHE to a folder that can."
        ) from error
    try:
        yield scratch
        scratch.chmod(0o755)  # mkdtemp makes it accessible only to its owner
        scratch.rename(folder)
    except OSError:
        if not folder.is_dir():  # another process was faster
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _from_environment(variable: str) -> Path | None:
    text = os.environ.get(variable, "").strip()
    return Path(text).expanduser() if text else None
