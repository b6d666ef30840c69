"""Names of the processes that drive a study, and a check whether one is still alive."""

import os
import socket
import time
import uuid

__all__ = ["driver_lives", "new_driver"]

_SILENT_SECONDS = 3600.0
"""A driver on another machine is considered dead after this long without a heartbeat."""


def new_driver() -> str:
    """Return a unique name for a driver in this process."""
    return f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"


def driver_lives(driver: str, last: float) -> bool:
    """Return whether another driver is alive; ``last`` is the time of its last heartbeat."""
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
