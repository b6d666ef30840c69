"""Where data sets are looked for, and where unpacked or downloaded ones are kept."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpo.exceptions import DataError

__all__ = ["cache_folder", "data_folder", "made_whole"]


def data_folder() -> Path | None:
    """Return the folder of ready data sets that ``$HPO_DATA`` names, if it names one.

    It may be read-only: nothing is ever written there.
    """
    return _from_environment("HPO_DATA")


def cache_folder() -> Path:
    """Return ``$HPO_CACHE``, or ``~/.cache/hpo`` where that is not set. It may not exist yet."""
    return _from_environment("HPO_CACHE") or Path("~/.cache/hpo").expanduser()


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
