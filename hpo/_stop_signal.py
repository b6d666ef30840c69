"""Ctrl-C as a request that the driver handles between two steps, not as an exception.

skorch treats `KeyboardInterrupt` as a normal end of training and continues with the next net, so a
study handles the signal itself.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from hpo._time_limits import TimeIsUp

__all__ = ["HUNG", "SecondCtrlC", "StopSignal", "exit_code", "is_signal", "signals_ignored"]

_TERMINATED, HUNG_UP = "terminated", "the terminal was closed"

HUNG = 124
"""Exit code of a process whose training did not return in time, as that of ``timeout``."""

_GRACE = 0.3
"""Seconds that the main thread has to handle a second Ctrl-C before another thread does."""


class SecondCtrlC(KeyboardInterrupt):
    """Raised by a second Ctrl-C; user code never raises it, so it does not fail a trial."""


def is_signal(error: BaseException) -> bool:
    """Return whether an error came from outside (Ctrl-C, a time limit), not from a trial's code.

    A `KeyboardInterrupt` is due to Ctrl-C only if Python itself turns Ctrl-C into one: in the
    main thread, while no `StopSignal` is listening.
    """
    if type(error) is not KeyboardInterrupt:
        return isinstance(error, SecondCtrlC | TimeIsUp)
    by_python = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return by_python and threading.current_thread() is threading.main_thread()


def exit_code(reason: str) -> int:
    """Return the exit code of a process whose `StopSignal` gave this reason, as a shell would."""
    return 128 + {_TERMINATED: 15, HUNG_UP: 1}.get(reason, 2)


def _end_signals() -> list[signal.Signals]:
    """Return the signals that ask a process to end; Windows has no hang-up."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


@contextmanager
def signals_ignored() -> Iterator[None]:
    """Make processes started inside the block ignore Ctrl-C and the like.

    The terminal sends these signals to every process of a group, but only the driver handles them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _end_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
        self.listens = False
        self._raised = False
        self._exit_on_second = exit_on_second
        self._on_signal = on_signal
        self._exiting = threading.Lock()

    @property
    def owns_process(self) -> bool:
        """Whether the process is there for the study alone, and may be ended."""
        return self._exit_on_second

    def request(self, reason: str) -> None:
        """Ask the study to end; the first reason is kept."""
        self.reason = self.reason or reason

    @property
    def at_once(self) -> bool:
        """Whether a second Ctrl-C has asked the study to end without further ado."""
        return self._raised

    def raise_again(self) -> None:
        """Raise `SecondCtrlC` if a second Ctrl-C has raised it before.

        For after a net's ``fit``, which takes the exception for a normal end of the training.
        """
        if self._raised:
            raise SecondCtrlC

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Treat Ctrl-C (and SIGTERM, SIGHUP) as a request inside the block.

        In the main thread only; a block inside such a block changes nothing.
        """
        if self.listens or threading.current_thread() is not threading.main_thread():
            yield
            return
        # nohup has a process ignore that its terminal is closed; this is left so.
        numbers = [n for n in _end_signals() if n == signal.SIGINT or not _is_ignored(n)]
        before = {number: signal.signal(number, self._on_signal_received) for number in numbers}
        self.listens = True
        try:
            with self._watched():
                yield
        finally:
            self.listens = False
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal_received(self, number: int, frame: FrameType | None) -> None:
        if number not in {signal.SIGINT, signal.SIGTERM}:  # a shell and the kernel both send it
            self.request(HUNG_UP)
            return
        if self.reason and self._exit_on_second:
            self._exit(128 + number)
        if self._on_signal is not None:
            self._on_signal(not self.reason)
        if self.reason:
            self._raised = True
            raise SecondCtrlC
        self.request("Ctrl-C" if number == signal.SIGINT else _TERMINATED)

    def end_process(self, why: str) -> None:
        """End the process at once, from whatever thread, because its training does not return."""
        os.write(2, f"\n{why}\n".encode())
        self._exit(HUNG)

    def _exit(self, code: int) -> None:
        if self._exiting.acquire(blocking=False):
            if self._on_signal is not None:
                self._on_signal(False)
            os._exit(code)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """End the process at a second Ctrl-C even if the main thread is in a long call of C.

        Python runs handlers of signals in the main thread, between two instructions.
        """
        if not self._exit_on_second:
            yield
            return
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        thread = threading.Thread(target=self._watch, args=(reader,), name="hpo-stop", daemon=True)
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            writer.close()
            thread.join()
            reader.close()

    def _watch(self, reader: socket.socket) -> None:
        n_received = int(bool(self.reason))
        while numbers := reader.recv(64):
            for number in numbers:
                n_received += number in {signal.SIGINT, signal.SIGTERM}
                if n_received > 1:
                    threading.Event().wait(_GRACE)
                    self._exit(128 + number)


def _is_ignored(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN
