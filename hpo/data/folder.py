"""Where data sets are looked for, and where unpacked or downloaded ones are kept."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpo.exceptions import DataError

__all__ = ["cache_folder", "data_folder", "find_data", "folders_to_search", "made_whole"]


def data_folder() -> Path | None:
    """Return the folder of ready data sets that ``$HPO_DATA`` names, if it names one.

    It may be read-only: nothing is ever written there.
    """
    return _from_environment("HPO_DATA")


def cache_folder() -> Path:
    """Return ``$HPO_CACHE``, or ``~/.cache/hpo`` where that is not set. It may not exist yet."""
    return _from_environment("HPO_CACHE") or Path("~/.cache/hpo").expanduser()


def folders_to_search(data_dir: str | Path | None = None) -> list[Path]:
    """Return ``data_dir`` alone if it is given, else ``$HPO_DATA`` and the cache folder."""
    if data_dir is not None:
        return [Path(data_dir).expanduser()]
    return [folder for folder in (data_folder(), cache_folder()) if folder]


def find_data(what: str, *names: str, data_dir: str | Path | None = None, hint: str = "") -> Path:
    """Return the first file or folder there is of some names in `folders_to_search`.

    Parameters
    ----------
    what : str
        The data set, for the message.
    *names : str
        Paths below a data folder; an earlier one counts before a later one.
    data_dir : path, optional
    hint : str, default=""
        What else can be done, in a sentence.

    Raises
    ------
    DataError
        If there is none.
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
def made_whole(folder: Path) -> Iterator[Path]:
    """Give a scratch folder that becomes ``folder`` at the end of the block, or goes with an error.

    Of several processes that make the same folder, the first one's is kept.

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
        scratch.chmod(0o755)  # mkdtemp's is its owner's alone
        scratch.rename(folder)
    except OSError:
        if not folder.is_dir():  # another process was faster
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _from_environment(variable: str) -> Path | None:
    text = os.environ.get(variable, "").strip()
    return Path(text).expanduser() if text else None
