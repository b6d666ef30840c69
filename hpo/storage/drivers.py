"""Names of the processes that drive a study, and a check whether one is still alive."""

import math
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["STALE_SECONDS", "at_work", "driver_lives", "host_of", "name_of", "new_driver"]

_SILENT_SECONDS = 300.0
"""A driver on another machine is dead if this process has seen no new heartbeat for so long."""

STALE_SECONDS = 900.0
"""It is dead, too, if its last heartbeat is as old as this, though clocks may differ by minutes."""

_SAME_START_SECONDS = 5.0
"""Two starts of a process that are nearer than this are one: a system tells it in coarse units."""

_AT_WORK: set[str] = set()
"""The drivers in this process that are running trials."""

_SEEN: dict[str, tuple[float, float]] = {}
"""The last heartbeat of each driver on another machine, and when it was first seen.

The first by the other machine's clock, the second by `time.monotonic` here.
"""


@contextmanager
def at_work(driver: str) -> Iterator[None]:
    """Have a driver in this process be alive as long as the block runs."""
    _AT_WORK.add(driver)
    try:
        yield
    finally:
        _AT_WORK.discard(driver)


def new_driver() -> str:
    """Return a unique name for a driver in this process.

    It has the time at which the process was started, in seconds since the machine was: its number
    alone may be that of another process once this one has ended.
    """
    pid = os.getpid()
    return f"{socket.gethostname()}/{pid}@{_start_of(pid) or 0.0:.1f}/{uuid.uuid4().hex[:8]}"


def host_of(driver: str) -> str:
    """Return the name of the machine of a driver."""
    return driver.partition("/")[0]


def name_of(driver: str) -> str:
    """Return a driver's name for people: ``process 4711 on node3``."""
    if driver.count("/") != 2:
        return "another program"
    host, process, _ = driver.split("/")
    return f"process {process.partition('@')[0]} on {host}"


def driver_lives(driver: str, last: float) -> bool:
    """Return whether another driver is alive; ``last`` is the time of its last heartbeat."""
    host, process, _ = driver.rsplit("/", 2)
    if host != socket.gethostname():
        return _is_heard_of(driver, last)
    pid, _, start = process.partition("@")
    if int(pid) == os.getpid():
        return driver in _AT_WORK
    now = _start_of(int(pid))
    if now is None:
        return False
    # Version 0.3 and before stored no start.
    return not start or abs(float(start) - now) < _SAME_START_SECONDS


def _is_heard_of(driver: str, last: float) -> bool:
    now = time.monotonic()
    seen, since = _SEEN.get(driver, (-math.inf, now))
    if last > seen:
        _SEEN[driver] = last, now
        since = now
    return now - since < _SILENT_SECONDS and time.time() - last < STALE_SECONDS


def _start_of(pid: int) -> float | None:
    """Return when a process was started, in seconds since the machine was; None if it is over.

    Not in seconds since the epoch: setting the clock would make it another process.
    """
    import psutil  # 20 ms, and one who only lists studies needs none of it

    try:
        process = psutil.Process(pid)
        with suppress(psutil.AccessDenied):
            if process.status() == psutil.STATUS_ZOMBIE:  # dead, and its parent has not looked yet
                return None
        return float(process.create_time() - psutil.boot_time())
    except psutil.NoSuchProcess:
        return None
