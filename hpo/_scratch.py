"""Folders for what is written while something runs; what a dead process left there is swept away.

::

    <temporary folder>/hpo-files-<random>/    one for each process, made at its first need
        lock        held while the process lives
        <random>/   what `new_folder` returned
"""

import atexit
import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from hpo._lock import FileLock

__all__ = ["new_folder"]

_PREFIX = "hpo-files-"
_LOCK = "lock"


def new_folder() -> Path:
    """Return a new empty folder of this process; it goes with the process, if not before.

    It lies where `tempfile` says, which ``$TMPDIR`` decides.
    """
    return Path(tempfile.mkdtemp(dir=_root(os.getpid())))


@cache
def _root(pid: int) -> Path:
    """Return the folder of the process ``pid``, which is this one: a fork has one of its own."""
    _sweep(Path(tempfile.gettempdir()))
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = FileLock(folder / _LOCK)
        # Another process may have taken it for a dead one's, before the lock was held.
        if lock.acquire() and lock.path.exists():
            atexit.register(_remove, folder, lock, pid)
            return folder
        lock.release()


def _remove(folder: Path, lock: FileLock, pid: int) -> None:
    if os.getpid() == pid:  # a fork ends with the handlers of its parent
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _sweep(place: Path) -> None:
    """Remove the folders of processes that have died."""
    for path in place.glob(f"{_PREFIX}*/{_LOCK}"):
        lock = FileLock(path)
        with suppress(OSError):  # another user's
            if lock.acquire():
                shutil.rmtree(path.parent, ignore_errors=True)
                lock.release()
