"""Loaded by every Python below: notes each file that is written, and has some of them fail.

``$AUDIT_LOG`` is the file that gets their names; ``$AUDIT_FAIL`` a regular expression of names
that cannot be written, and ``$AUDIT_ERROR`` the name of the error by which they cannot.
"""

import errno
import os
import re
import sys

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _written(event, args):
    """Return the path that an event writes, or None."""
    if event == "open":
        path, _, flags = args
        return path if flags & _WRITING else None
    if event in {"os.rename", "os.link", "os.symlink"}:
        return args[1]
    return args[0] if event in {"os.mkdir", "sqlite3.connect"} else None


def _watch():
    log = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    fails = re.compile(os.environ.get("AUDIT_FAIL") or "(?!)")
    number = getattr(errno, os.environ.get("AUDIT_ERROR") or "ENOSPC")

    def hook(event, args):
        if event not in {"open", "os.rename", "os.link", "os.symlink", "os.mkdir"} and (
            event != "sqlite3.connect"
        ):
            return
        path = _written(event, args)
        if not isinstance(path, str | bytes | os.PathLike):
            return
        path = os.path.realpath(os.fsdecode(path))
        os.write(log, f"{path}\n".encode(errors="replace"))
        if fails.search(path):
            raise OSError(number, os.strerror(number), path)

    sys.addaudithook(hook)


if "AUDIT_LOG" in os.environ:
    _watch()
