"""Temporary folders of a process; the folders of dead processes are removed.

::

    <temporary folder>/hpo-files-<random>/    one for each process, created on demand
        lock        held while the process lives
        <random>/   what `new_folder` returned
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.exceptions import StorageError

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["new_folder", "temporary_files"]

_PREFIX = "hpo-files-"
_LOCK = "lock"


def new_folder() -> Path:
    """Return a new empty folder of this process; it is removed with the process, if not before.

    Its location is that of `tempfile`, which ``$TMPDIR`` sets.

    Raises
    ------
    StorageError
        If it cannot be made.
    """
    with temporary_files():
        return Path(tempfile.mkdtemp(dir=_root(os.getpid())))


@contextmanager
def temporary_files() -> Iterator[None]:
    """Convert an `OSError` in the block, which writes temporary files, to a `StorageError`."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"hpo cannot write its temporary files: {error}. Free some space there, allow writing, "
            "or name another folder with $TMPDIR (a short name: sockets need one)."
        ) from error


@cache
def _root(pid: int) -> Path:
    """Return the folder of this process, whose id is ``pid``; a fork has a different one."""
    _sweep(Path(tempfile.gettempdir()))
    from filelock import FileLock  # takes 60 ms, and most processes need no folder

    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = FileLock(folder / _LOCK)
        # Another process may have removed it as stale before the lock was held.
        if _acquired(lock) and (folder / _LOCK).exists():
            atexit.register(_remove, folder, lock, pid)
            return folder
        lock.release()


def _acquired(lock: "BaseFileLock") -> bool:
    from filelock import Timeout

    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):  # another user's, or its folder is gone
        return False
    return True


def _remove(folder: Path, lock: "BaseFileLock", pid: int) -> None:
    if os.getpid() == pid:  # a fork also runs the handlers of its parent
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _sweep(parent: Path) -> None:
    """Remove the folders of processes that have died."""
    from filelock import FileLock

    for path in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        lock = FileLock(path)
        if _acquired(lock):
            shutil.rmtree(path.parent, ignore_errors=True)
            lock.release()
