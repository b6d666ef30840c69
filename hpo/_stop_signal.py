"""Ctrl-C as a request that the driver handles between two steps, not as an exception.

skorch treats `KeyboardInterrupt` as a normal end of training and continues with the next net, so a
study handles the signal itself.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["SecondCtrlC", "StopSignal", "is_ctrl_c"]


class SecondCtrlC(KeyboardInterrupt):
    """Raised by a second Ctrl-C; user code never raises it, so it does not fail a trial."""


def is_ctrl_c(error: BaseException) -> bool:
    """Return whether an error was caused by Ctrl-C, and not raised by code of a trial.

    A `KeyboardInterrupt` is due to Ctrl-C only if Python itself turns Ctrl-C into one: in the
    main thread, while no `StopSignal` is listening.
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
        ``on_signal(first)`` is called first inside the signal handler, where ``first`` is whether
        this is the first Ctrl-C. It may only do what is safe in a handler (`os.write`).
    """

    def __init__(
        self, *, exit_on_second: bool = False, on_signal: Callable[[bool], None] | None = None
    ) -> None:
        self.reason = ""
        self._raised = False
        self._exit_on_second = exit_on_second
        self._on_signal = on_signal

    def request(self, reason: str) -> None:
        """Ask the study to end; the first reason is kept."""
        self.reason = self.reason or reason

    def raise_again(self) -> None:
        """Raise `SecondCtrlC` if a second Ctrl-C has raised it before.

        For after a net's ``fit``, which takes the exception for a normal end of the training.
        """
        if self._raised:
            raise SecondCtrlC

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Treat Ctrl-C (and SIGTERM) as a request inside the block, in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = [signal.SIGINT, signal.SIGTERM]
        previous_handlers = {
            number: signal.signal(number, self._on_signal_received) for number in signals
        }
        try:
            yield
        finally:
            for number, handler in previous_handlers.items():
                signal.signal(number, handler)

    def _on_signal_received(self, number: int, frame: FrameType | None) -> None:
        if self._on_signal is not None:
            self._on_signal(not self.reason)
        if self.reason and self._exit_on_second:
            os._exit(128 + number)
        if self.reason:
            self._raised = True
            raise SecondCtrlC
        self.request("Ctrl-C" if number == signal.SIGINT else "terminated")
