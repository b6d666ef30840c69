"""URLs of storages: what they mean, and which is the default. Loads no library."""

from pathlib import Path

from hpo._redaction import redact

__all__ = ["JOURNAL", "SQLITE", "default_storage", "file_of", "is_there", "shown"]

JOURNAL = "journal:///"
SQLITE = "sqlite:///"

_DEFAULT = f"{JOURNAL}hpo.journal"
_OLDER_DEFAULT = f"{SQLITE}hpo.db"
"""Default of version 0.2 and before."""


def default_storage() -> str:
    """Return the storage of studies that name none: a file in the current folder.

    It is ``journal:///hpo.journal``, or ``sqlite:///hpo.db`` if only this is there, since a
    version of hpo before 0.3 has made it.
    """
    older = is_there(_OLDER_DEFAULT) and not is_there(_DEFAULT)
    return _OLDER_DEFAULT if older else _DEFAULT


def file_of(url: str) -> Path | None:
    """Return the file of a storage, or None for a database server."""
    for scheme in (SQLITE, JOURNAL):
        if url.startswith(scheme):
            return Path(url.removeprefix(scheme).partition("?")[0])
    return None


def is_there(url: str | None) -> bool:
    """Return whether a storage may already contain studies; always true for a server."""
    path = file_of(url) if url is not None else None
    return url is not None and (path is None or path.exists())


def shown(url: str | None) -> str:
    """Return ``url`` for display, without its password."""
    return "in memory" if url is None else redact(url)
