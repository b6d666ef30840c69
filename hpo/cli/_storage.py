"""Determine the storage to use, and check that it can be read."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.exceptions import StorageError
from hpo.storage.studies import versioned_name
from hpo.storage.urls import SQLITE, default_storage, file_of, is_there

if TYPE_CHECKING:
    from hpo.study import Study

__all__ = ["exists", "named_storage", "readable_storage", "storage_of", "stored_name"]


def named_storage(option: str | None) -> str:
    """Return the storage to use: the option, else ``$HPO_STORAGE``, else the default."""
    return option or os.environ.get("HPO_STORAGE") or default_storage()


def storage_of(study: "Study", option: str | None) -> str | None:
    """Return the storage of ``study``; its file takes precedence over ``$HPO_STORAGE``."""
    if option is None and "storage" in study.model_fields_set:
        return study.storage
    return named_storage(option)


def exists(storage: str | None) -> bool:
    """Return whether ``storage`` may already hold studies; always true for a server."""
    return is_there(storage)


def readable_storage(option: str | None) -> str:
    """Return the storage to read from, without creating anything.

    Raises
    ------
    StorageError
        If its file does not exist, or is a database of something else.
    """
    storage = named_storage(option)
    path = file_of(storage)
    if path is None:
        return storage
    if not path.exists():
        raise StorageError(
            f"There is no file {path} (storage {storage}), so there are no studies to read. Run a "
            "study here first (`hpo run STUDY.py`), or name its storage with --storage."
        )
    if storage.startswith(SQLITE) and path.is_file():
        _check_tables(path, storage)
    return storage


def _check_tables(path: Path, storage: str) -> None:
    """Raise for a database without studies: opening it as a storage would add tables."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = {name for (name,) in rows}
    except sqlite3.Error:
        return  # damaged, locked or not a database: opening it raises a full error
    if not {"studies", "study_user_attributes"} <= tables:
        raise StorageError(
            f"{path} is a database without studies of hpo (storage {storage}). "
            "Name the file that a study was run with by --storage."
        )


def stored_name(name: str, url: str) -> str:
    """Return the name of a study in the storage ``url``; names are those of `load_result`."""
    first = name.removesuffix("@1")
    return first if first != name else versioned_name(name, url, fresh=False)
