"""End what runs in this process when its time is over."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["TimeIsUp", "Watchdog", "alarm"]

_AGAIN = 5.0
"""Seconds after which code that has caught `TimeIsUp` is interrupted again."""

_GRACE = 10.0
"""Seconds that a step has to return once its time is over, before its process is ended."""

_LOOK = 0.5


class TimeIsUp(BaseException):
    """Raised by `alarm` where the code is at its deadline; no error of a trial."""


@contextmanager
def alarm(deadline: float) -> Iterator[None]:
    """Raise `TimeIsUp` inside the block at its deadline, wherever its Python code is then.

    A call of C is waited for. Outside the main thread, on systems without timers, and where
    another alarm is set already, the block is not interrupted.

    Parameters
    ----------
    deadline : float
        As `time.monotonic` counts; inf is none.
    """
    main = threading.current_thread() is threading.main_thread()
    if math.isinf(deadline) or not main or not hasattr(signal, "setitimer"):
        yield
        return
    if any(signal.getitimer(signal.ITIMER_REAL)):
        yield
        return
    armed = True

    def on_alarm(number: int, frame: FrameType | None) -> None:
        if armed:
            raise TimeIsUp

    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(deadline - time.monotonic(), 1e-3), _AGAIN)
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Watchdog:
    """Calls a function from a thread of its own when guarded code does not return in time.

    Parameters
    ----------
    on_hang : callable or None
        Ends the process, as nothing else ends a call of C in it. None guards nothing.
    """

    def __init__(self, on_hang: Callable[[], None] | None) -> None:
        self._on_hang = on_hang
        self._deadline = math.inf
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def guarding(self, deadline: float) -> Iterator[None]:
        """Guard the block, which must return soon after its deadline (see `alarm`)."""
        if self._on_hang is not None and not math.isinf(deadline) and self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="hpo-watchdog", daemon=True)
            self._thread.start()
        self._deadline = deadline
        try:
            yield
        finally:
            self._deadline = math.inf

    def _watch(self) -> None:
        while not self._closed.wait(_LOOK):
            if time.monotonic() > self._deadline + _GRACE and self._on_hang is not None:
                self._on_hang()
                return

    def __enter__(self) -> "Watchdog":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
