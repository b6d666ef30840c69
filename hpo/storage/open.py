"""Open the storage of a study, and turn database errors into understandable messages.

SQLAlchemy is imported only when a database is opened: a study in memory does not need it.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage, get_storage

from hpo._own_files import make_file
from hpo.exceptions import StorageError
from hpo.storage.journal import Journal, JournalFile
from hpo.storage.urls import JOURNAL, SQLITE, shown

__all__ = ["open_cached", "open_storage", "storage_errors"]

_LOCKS = {"": "advisory", "lock=advisory": "advisory", "lock=file": "file"}
"""The query of a journal's URL, and how the file is locked."""

LOCK_SECONDS = 60.0
"""How long a write waits for another process to release the lock of an SQLite file."""

_ADVICE = {
    "could not be acquired": "Another process holds it for long, and may be suspended (Ctrl-Z, "
    "kill -STOP): let it go on or end it, and run the same command again.",
    "locked": "Another process holds it: wait for it to end, or use a PostgreSQL URL for many.",
    "readonly": "It is read-only: allow writing to the file and its folder, or choose another.",
    "no such file": "Its folder does not exist, or the file was removed meanwhile.",
    "no space": "The disk is full: free some space and run the same command again.",
    "permission denied": "Allow writing to the file and its folder, or choose another.",
    "not a database": "The file is something else or damaged: move it away, or choose another.",
    "malformed": "The file is damaged: move it away, or restore it from a copy.",
    "full": "The disk is full: free some space and run the same command again.",
    "unable to open": "Its folder does not exist or may not be written to: create it first.",
    "disk i/o": "The disk refuses to read or write it: free some space or choose another place.",
    "no such table": "It was not made by Optuna: choose another file.",
}


@contextmanager
def storage_errors(url: str | None) -> Iterator[None]:
    """Convert database errors in the block to a `StorageError` that says what to do."""
    try:
        yield
    except _database_errors() as error:
        text = f"{error} {error.__cause__ or ''}"
        lowered = text.lower()
        advice = next((message for key, message in _ADVICE.items() if key in lowered), "")
        cause = str(getattr(error, "orig", None) or error.__cause__ or error).strip()
        raise StorageError(
            f"The study's storage {shown(url)} cannot be used: {cause}. {advice}"
        ) from error
    except ImportError as error:
        raise StorageError(
            f"The study's storage {shown(url)} needs a database driver that is not installed: "
            f"{error.__cause__ or error}. For PostgreSQL: pip install 'hpo-torch[postgres]'."
        ) from error
    except optuna.exceptions.UpdateFinishedTrialError:
        raise  # the storage is sound: another driver was faster
    except RuntimeError as error:
        raise StorageError(f"The study's storage {shown(url)} cannot be used: {error}") from error


def _database_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of databases; called only when something has been raised."""
    from sqlalchemy.exc import SQLAlchemyError

    return SQLAlchemyError, optuna.exceptions.StorageInternalError, sqlite3.Error, OSError


def open_storage(url: str | None) -> BaseStorage:
    """Return the Optuna storage at ``url``.

    Parameters
    ----------
    url : str or None
        None keeps the study in memory; ``journal:///FILE`` is a journal of Optuna, which several
        processes, and machines with a shared disk, may use at a time (``journal:///FILE?lock=file``
        if that disk has no advisory locks); anything else is a URL of SQLAlchemy
        (``sqlite:///FILE``, ``postgresql://...``).

    Raises
    ------
    StorageError
        If it cannot be opened.
    """
    if url is None:
        return InMemoryStorage()
    try:
        with storage_errors(url):
            if url.startswith(JOURNAL):
                return _open_journal(url)
            if url.startswith(SQLITE):
                return _open_sqlite(url)
            return _make_tables(url)
    except (TypeError, ValueError) as error:  # of a path, SQLAlchemy or a driver of a database
        raise StorageError(
            f"The study's storage {shown(url)} cannot be used: {error}. Write journal:///FILE, "
            "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."
        ) from error


def open_cached(url: str | None) -> BaseStorage:
    """Return the Optuna storage at ``url``, with Optuna's cache if it is a database."""
    return get_storage(open_storage(url))


def _open_journal(url: str) -> Journal:
    path, _, query = url.removeprefix(JOURNAL).partition("?")
    if query not in _LOCKS:
        raise StorageError(
            f"The study's storage {shown(url)} has the option '{query}'. There is only "
            "lock=file, for network file systems without advisory locks."
        )
    if Path(path).is_dir():
        raise StorageError(f"The study's storage {shown(url)} is a directory: name a file in it.")
    try:
        return Journal(JournalFile(path, lock=_LOCKS[query]))
    except ValueError as error:
        raise StorageError(
            f"The study's storage {shown(url)} cannot be used: {error}. Move it away, or choose "
            "another file."
        ) from error


def _make_tables(url: str, **options: Any) -> RDBStorage:
    """Open a database; Optuna creates its tables if there are none.

    If two drivers open a new database at the same moment, both try to create the tables and one
    of them fails; it finds the tables when it tries again.
    """
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    url = url.replace("{", "{{").replace("}", "}}")  # Optuna takes it for a template
    for wait in (0.1, 0.5, 1.0):
        try:
            return RDBStorage(url, **options)
        except (IntegrityError, ProgrammingError):
            time.sleep(wait)
        except OperationalError as error:
            if "already exists" not in str(error):
                raise
            time.sleep(wait)
    return RDBStorage(url, **options)


def _open_sqlite(url: str) -> RDBStorage:
    """Open an SQLite file in WAL mode: readers never wait, and a commit needs no disk flush.

    A killed process loses no data; a power cut may lose the last steps, but does not damage the
    file.
    """
    from sqlalchemy import event

    path = Path(url.removeprefix(SQLITE))
    if path.is_dir():
        raise StorageError(f"The study's storage {shown(url)} is a directory: name a file in it.")
    if path.name and not path.name.startswith((":", "file:")):
        with suppress(OSError):  # SQLite says why it cannot be made
            make_file(path.with_name(path.name.partition("?")[0]))
        url = f"{SQLITE}{path.absolute()}"  # a trial may change the current folder
    storage = _make_tables(url, engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}})
    storage.engine.dispose()

    @event.listens_for(storage.engine, "connect")
    def tune(connection: Any, _: Any) -> None:
        with suppress(sqlite3.OperationalError):  # a read-only file fails at the first write
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

    return storage
