"""Files and folders of hpo's own: they are made for the user alone.

Names, parameters and scores may be nobody else's business, and a file that another user can write
is none to load a pickle from. What is there already keeps its mode, so that users who want to
share a storage may set it.
"""

import os
import stat
from pathlib import Path

__all__ = ["is_own", "make_file", "make_folder", "mode_of"]


def make_file(path: Path) -> None:
    """Make an empty file for the user alone, unless there is one; raise `OSError` if that fails."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT, 0o600))


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """Make a folder, and those above it that are missing, for the user alone.

    Parameters
    ----------
    folder : Path
    mode : int, default=0o700
        Permissions of those that are made.

    Raises
    ------
    OSError
        If that fails.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode, exist_ok=True)


def mode_of(path: Path, *, folder: bool = False) -> int:
    """Return the permissions for what stands beside a file: those of the file.

    Parameters
    ----------
    path : Path
        The file; if there is none, it is the user's alone.
    folder : bool, default=False
        Whether it is a folder, which who may read the file may search.
    """
    mode = 0o600 | (stat.S_IMODE(path.stat().st_mode) & 0o666 if path.exists() else 0)
    return mode | (mode & 0o444) >> 2 if folder else mode


def is_own(path: Path) -> bool:
    """Return whether nobody but the user (and root) can have written a file.

    Neither the file nor its folder may belong to another user, or be writable by others. Without
    POSIX permissions, it is not known and taken for granted.
    """
    if not hasattr(os, "getuid"):
        return True
    for each in (path, path.parent):
        status = each.lstat()
        if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return False
    return True
