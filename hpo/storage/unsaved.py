"""Storages of studies that are kept nowhere and yet tracked: another process must read them."""

import re
import uuid
from pathlib import Path

from hpo._own_files import make_folder
from hpo.data.folder import cache_folder
from hpo.storage.urls import file_of

__all__ = ["is_unsaved", "unsaved_storage"]


def unsaved_storage(name: str) -> str:
    """Return the URL of a new storage in the cache folder for a study of this name.

    It is removed once the tracker's target has everything.
    """
    folder = _folder()
    make_folder(folder)
    readable = re.sub(r"[^\w.-]+", "_", name)[:40].strip(".")
    return f"journal:///{folder / f'{readable}-{uuid.uuid4().hex[:8]}.log'}"


def is_unsaved(url: str) -> bool:
    """Return whether a storage was made by `unsaved_storage`."""
    path = file_of(url)
    return path is not None and path.parent == _folder()


def _folder() -> Path:
    return (cache_folder() / "unsaved").absolute()
