"""The processes that drive a study, and whether one still lives."""

import os
import socket
import time
import uuid

__all__ = ["driver_lives", "new_driver"]

_SILENT_SECONDS = 3600.0
"""After this long without a sign, a driver on another machine is taken for dead."""


def new_driver() -> str:
    """Return a name for a driver in this process, which no other one has."""
    return f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"


def driver_lives(driver: str, last: float) -> bool:
    """Return whether another driver lives; ``last`` is when it was heard of on other machines."""
    host, pid, _ = driver.rsplit("/", 2)
    if host == socket.gethostname():
        return int(pid) != os.getpid() and _process_exists(int(pid))
    return time.time() - last < _SILENT_SECONDS


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
