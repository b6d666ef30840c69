"""End what runs in this process when its time is over."""

import faulthandler
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import TextIO, cast

__all__ = ["TimeIsUp", "TimeLimits", "can_interrupt", "time_limit"]

_RESEND_SECONDS = 0.05
"""How often the signal is sent until it has raised `TimeIsUp`."""

_AGAIN_SECONDS = 2.0
"""Seconds after which code that has caught `TimeIsUp` is interrupted again."""

GRACE_SECONDS = 10.0
"""Seconds that code has to return after its deadline, before it counts as hanging."""

_DELICATE = {"hpo.training._held"}
"""Modules that must not be interrupted: a setting that they did not put back would stay."""


class TimeIsUp(BaseException):
    """Raised by `time_limit` where the code is at its deadline; no error of a trial."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """The limits by which an executor ends what it trains, even in the middle of a step.

    Parameters
    ----------
    deadline : float
        When the run must end, as `time.monotonic` counts; inf is never.
    trial_timeout : float
        Seconds that a trial may be in training; inf is no limit.
    on_hang : callable or None
        ``on_hang(numbers)`` is called from another thread when a step of these trials, in this
        process, has not returned long after its time was over.
    last_resort : bool
        Whether a step that does not even let other threads run may end this process.
    """

    deadline: float = math.inf
    trial_timeout: float = math.inf
    on_hang: Callable[[Collection[int]], None] | None = None
    last_resort: bool = False

    @contextmanager
    def step(self, numbers: Collection[int], seconds: float = 0.0) -> Iterator[None]:
        """Raise `TimeIsUp` in the block when the run, or these trials, have had their time.

        Parameters
        ----------
        numbers : collection of int
            The trials that make the step.
        seconds : float, default=0.0
            How long they have been in training before.
        """
        deadline = min(self.deadline, time.monotonic() + self.trial_timeout - seconds)
        on_hang = self.on_hang
        tell = None if on_hang is None else lambda: on_hang(numbers)
        with time_limit(deadline, tell, last_resort=self.last_resort):
            yield

    @property
    def run_is_over(self) -> bool:
        """Whether the run has reached its deadline."""
        return time.monotonic() >= self.deadline


def can_interrupt() -> bool:
    """Return whether code of this thread can be interrupted: signals reach the main one alone.

    Windows has no such signals.
    """
    main = threading.current_thread() is threading.main_thread()
    return main and hasattr(signal, "pthread_kill") and hasattr(signal, "SIGURG")


@contextmanager
def time_limit(
    deadline: float, on_hang: Callable[[], None] | None = None, *, last_resort: bool = False
) -> Iterator[None]:
    """Raise `TimeIsUp` in the block at its deadline, wherever its Python code is then.

    A call of C is waited for, unless a signal ends it (`time.sleep`, a lock). Where
    `can_interrupt` is false, nothing happens.

    Parameters
    ----------
    deadline : float
        As `time.monotonic` counts; inf is none.
    on_hang : callable or None
        Called in another thread if the block has not ended `GRACE_SECONDS` after its deadline.
    last_resort : bool, default=False
        End the process, with the stacks of its threads, if a call of C keeps all other threads
        from running, so that ``on_hang`` cannot be called either.
    """
    if math.isinf(deadline) or not can_interrupt():
        yield
        return
    watch = _Watch(deadline, on_hang)
    # Ignored by default, so one that comes late does no harm; timers and other signals may be
    # used by the block itself.
    before = signal.signal(signal.SIGURG, watch.on_signal)
    if last_resort:
        seconds = max(deadline - time.monotonic(), 0.0) + 2 * GRACE_SECONDS
        faulthandler.dump_traceback_later(seconds, exit=True, file=_standard_error())
    try:
        try:
            watch.start()
            yield
        finally:
            watch.armed = False
    finally:  # also if the signal has come at the very end
        watch.stop()
        signal.signal(signal.SIGURG, before)
        if last_resort:
            faulthandler.cancel_dump_traceback_later()


def _standard_error() -> TextIO:
    """Return where the stacks are written: a file of the system's, which a replaced one may not be.

    A process without one ends without a word.
    """
    for file in (sys.stderr, sys.__stderr__):
        with suppress(AttributeError, OSError, ValueError):  # None, without a number, closed
            file.fileno()  # type: ignore[union-attr]
            return cast(TextIO, file)
    return open(os.devnull, "w")  # noqa: PTH123  # as long as the process


class _Watch:
    """Sends signals to the main thread from a thread of its own, once a deadline is over."""

    def __init__(self, deadline: float, on_hang: Callable[[], None] | None) -> None:
        self.armed = True
        self._deadline = deadline
        self._on_hang = on_hang
        self._over = threading.Event()
        self._raises_from = -math.inf
        self._thread = threading.Thread(target=self._run, name="hpo-time-limit", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.armed = False
        self._over.set()
        self._thread.join()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.armed and now >= self._raises_from and not _is_delicate(frame):
            self._raises_from = now + _AGAIN_SECONDS
            raise TimeIsUp

    def _run(self) -> None:
        while (left := self._deadline - time.monotonic()) > 0:
            if self._over.wait(min(left, threading.TIMEOUT_MAX)):
                return
        main = threading.main_thread().ident
        assert main is not None
        while not self._over.is_set():
            signal.pthread_kill(main, signal.SIGURG)
            if self._over.wait(_RESEND_SECONDS):
                return
            if self._on_hang is not None and time.monotonic() > self._deadline + GRACE_SECONDS:
                self._on_hang()
                return


def _is_delicate(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") in _DELICATE:
            return True
        frame = frame.f_back
    return False
