"""The driver's end of a worker process, and the server that workers are forked from."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any

from hpo.executors import _worker
from hpo.executors._payload import Payload, hidden_main
from hpo.executors._settings import THREADS, Settings
from hpo.executors.base import Ended, Event, Failed, LoadError
from hpo.trial import Trial

__all__ = ["WorkerProcess", "next_ready", "start_server"]

_SECONDS_TO_DIE = 10.0


class WorkerProcess:
    """The driver's end of one worker process.

    Parameters
    ----------
    payload : Payload
        Holds the objective.
    device : str
    n_threads : int
    settings : Settings
        The driver's.
    """

    def __init__(self, payload: Payload, device: str, n_threads: int, settings: Settings) -> None:
        context = multiprocessing.get_context("forkserver" if start_server() else "spawn")
        self.connection, theirs = context.Pipe()
        self.device = device
        self.process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=_worker.main,
            args=(theirs, payload.address, device, n_threads, settings),
            name="hpo-worker",
            daemon=True,
        )
        with hidden_main(), _allowed_to_have_children():
            self.process.start()
        theirs.close()
        # Run before multiprocessing ends its daemons, of which it would leave the children alive.
        self._at_exit = Finalize(self, _kill_group, args=(self.process.pid,), exitpriority=0)
        self.number: int | None = None
        self.has_reported = False
        self._waits = False

    def start(self, trial: Trial) -> None:
        """Begin ``trial``; a worker that has just died says so at the next `receive`."""
        self.number = trial.number
        self._waits = False
        self._send(("start", trial))

    def go_on(self) -> None:
        """Answer the last report: make the next step."""
        if self._waits:
            self._waits = False
            self._send(("step", None))

    def stop(self) -> None:
        """Answer the last report, or cut in between two: end this trial."""
        self.number = None
        self._waits = False
        self._send(("stop", None))

    def _send(self, message: tuple[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def receive(self) -> Event | LoadError | None:
        """Return the next event, or None if it is of a trial that was stopped meanwhile.

        Raises
        ------
        EOFError, OSError
            If the worker has died.
        """
        if not self.connection.poll():
            raise EOFError  # only the end of the process was heard of
        event: Event | LoadError = self.connection.recv()
        self.has_reported = True
        if event.number != self.number:
            return None
        if isinstance(event, Ended | Failed):
            self.number = None
        else:
            self._waits = True
        return event

    def cause_of_death(self) -> str:
        """Wait for the process that closed its pipe and say how it ended."""
        self.process.join(timeout=_SECONDS_TO_DIE)
        code = self.process.exitcode
        self._at_exit()
        if code is None:
            self.process.kill()
            return "it closed its connection"
        if code < 0:
            hint = " (often the system being out of memory)" if code == -9 else ""
            return f"killed by signal {-code}{hint}"
        return f"exit code {code}"

    def close(self) -> None:
        """End the process, gently for a moment."""
        with contextlib.suppress(OSError):
            self.connection.close()
        self.process.join(timeout=0 if self.number is not None else 1)
        if self.process.is_alive():
            self._at_exit()
            self.process.kill()
            self.process.join()
        self._at_exit.cancel()


def _kill_group(pid: int) -> None:
    """Kill a worker with what it has started, of which nothing may be left over."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):  # it has no group yet, or no process in it
            os.killpg(pid, signal.SIGKILL)


def next_ready(workers: list[WorkerProcess], timeout: float) -> list[WorkerProcess]:
    """Return the workers that have said something, or died, within ``timeout`` seconds.

    The end of the process is listened for too: a child that it leaves behind holds its end of
    the pipe open.
    """
    ready = set(wait([w.connection for w in workers], 0))
    if not ready:
        everything = [place for w in workers for place in (w.connection, w.process.sentinel)]
        ready = set(wait(everything, timeout))
    return [w for w in workers if ready & {w.connection, w.process.sentinel}]


def start_server() -> bool:
    """Start the server that workers are forked from; it loads torch while the driver goes on.

    It is started with one thread a library, which is what the libraries read when they are
    loaded; a worker that is given more says so to them itself.

    Returns
    -------
    bool
        Whether there is one: not on every platform, and not where this process was forked from
        one that had a server, which answers to that one alone.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return False
    from multiprocessing import forkserver

    # The first step of any torch optimizer imports torch._dynamo, two seconds a process.
    forkserver.set_forkserver_preload(
        ["hpo.executors._worker", "hpo.training.objective", "torch._dynamo"]
    )
    before = {name: os.environ[name] for name in THREADS if name in os.environ}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        with hidden_main(), _ignore_sigint():
            forkserver.ensure_running()
    except ChildProcessError:
        return False
    finally:
        for name in THREADS:
            del os.environ[name]
        os.environ.update(before)
    return True


@contextlib.contextmanager
def _ignore_sigint() -> Iterator[None]:
    """Let processes started inside the block ignore Ctrl-C, also while they still load torch."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _allowed_to_have_children() -> Iterator[None]:
    """Let a daemon (a worker of a `multiprocessing.Pool`) start processes inside the block.

    multiprocessing forbids it, as nobody would end them: ours end when their driver does.
    """
    this = multiprocessing.current_process()
    daemon = this.daemon
    if daemon:
        this.daemon = False
    try:
        yield
    finally:
        if daemon:
            this.daemon = True
