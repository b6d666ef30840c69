"""Ctrl-C as a wish that the driver grants between two steps, not as an exception in the middle.

skorch takes `KeyboardInterrupt` for a normal end of training and goes on with the next net,
so a study listens to the signal itself.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["SecondCtrlC", "StopSignal", "is_ctrl_c"]


class SecondCtrlC(KeyboardInterrupt):
    """What a second Ctrl-C raises: no code of the user's raises it, so it fails no trial."""


def is_ctrl_c(error: BaseException) -> bool:
    """Return whether an error comes from the terminal, and not from code that a trial runs.

    A `KeyboardInterrupt` is the terminal's only where Python itself turns Ctrl-C into one: in
    the main thread, while no `StopSignal` listens.
    """
    if type(error) is not KeyboardInterrupt:
        return isinstance(error, SecondCtrlC)
    by_python = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return by_python and threading.current_thread() is threading.main_thread()


class StopSignal:
    """Whether, and why, the study should end before its budget is spent.

    Parameters
    ----------
    exit_on_second : bool, default=False
        What a second Ctrl-C does: end the process at once (a command line), or raise
        `KeyboardInterrupt` (a notebook; see `SecondCtrlC`).
    on_signal : callable or None
        ``on_signal(first)`` is called inside the signal handler before anything else happens, with
        whether this is the first Ctrl-C; it may do no more than a handler may (`os.write`).
    """

    def __init__(
        self, *, exit_on_second: bool = False, on_signal: Callable[[bool], None] | None = None
    ) -> None:
        self.reason = ""
        self._exit_on_second = exit_on_second
        self._on_signal = on_signal

    def request(self, reason: str) -> None:
        """Ask the study to end; the first reason stays."""
        self.reason = self.reason or reason

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C (and SIGTERM) as a request inside the block, in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = [signal.SIGINT, signal.SIGTERM]
        before = {number: signal.signal(number, self._hear) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._on_signal is not None:
            self._on_signal(not self.reason)
        if self.reason and self._exit_on_second:
            os._exit(128 + number)
        if self.reason:
            raise SecondCtrlC
        self.request("Ctrl-C" if number == signal.SIGINT else "terminated")
