"""The locks of a journal: who appends to it, one process at a time."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileOpenLock

from hpo._own_files import mode_of

__all__ = ["LOCK_SECONDS", "AdvisoryLock", "ExistenceLock"]

LOCK_SECONDS = 60.0
"""How long a write waits for another process to release the lock; it takes less than 1 ms."""
OPTUNA_SECONDS = 30.0
"""Age at which Optuna takes a lock for that of a process that has died."""


class AdvisoryLock:
    """A lock that the operating system releases when its holder dies.

    It has a file of its own. Optuna's locks are the existence of ``FILE.lock``, a symbolic link to
    the journal by default: to open that one would be to open the journal, and were it left there,
    Optuna's writers would wait for 30 seconds and remove it. A writer of Optuna that is at work is
    waited for.

    Parameters
    ----------
    path : Path
        The journal.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock  # takes 60 ms, and one who only reads needs no lock

        self._theirs = Path(f"{path}.lock")
        self._lock = FileLock(f"{path}.hpo-lock", mode=mode_of(path), timeout=LOCK_SECONDS)

    def __enter__(self) -> None:
        self._lock.acquire()
        try:
            while self._theirs.is_symlink() and self._age() < OPTUNA_SECONDS:
                time.sleep(0.002)
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _age(self) -> float:
        try:
            return time.time() - self._theirs.lstat().st_mtime
        except OSError:  # it has just been released
            return 0.0


class ExistenceLock:
    """Optuna's lock: a file that exists while the lock is held."""

    def __init__(self, path: Path) -> None:
        self._lock = JournalFileOpenLock(str(path))

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: Any) -> None:
        with suppress(RuntimeError):  # another process has removed it after 30 seconds
            self._lock.release()
