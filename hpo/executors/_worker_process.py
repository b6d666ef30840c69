"""The driver's end of a worker process, and the server that workers are forked from."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any

from hpo._stop_signal import signals_ignored
from hpo.executors import _worker
from hpo.executors._payload import Payload, hidden_main
from hpo.executors._settings import THREADS, Settings
from hpo.executors.base import Ended, Event, Failed, LoadError, PutAside, Revoked
from hpo.trial import Trial

__all__ = ["WorkerProcess", "end_all", "next_ready", "start_server"]

_SECONDS_TO_DIE = 10.0
_SECONDS_TO_EXIT = 1.0


class WorkerProcess:
    """The driver's end of one worker process.

    Parameters
    ----------
    payload : Payload
        Holds the objective.
    device : str
    n_threads : int
    settings : Settings
        The driver's settings.
    """

    def __init__(self, payload: Payload, device: str, n_threads: int, settings: Settings) -> None:
        context = multiprocessing.get_context("forkserver" if start_server() else "spawn")
        self.connection, worker_connection = context.Pipe()
        self.device = device
        self.process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=_worker.main,
            args=(worker_connection, payload.address, device, n_threads, settings),
            name="hpo-worker",
            daemon=True,
        )
        with hidden_main(), _children_allowed():
            self.process.start()
        worker_connection.close()
        # Runs before multiprocessing ends its daemons, which would leave their children alive.
        self._at_exit = Finalize(self, _kill_group, args=(self.process.pid,), exitpriority=0)
        self.name = ""
        """For people: ``process 1``."""
        self.number: int | None = None
        self.last_number: int | None = None
        """Number of the last trial that it was given, also once that has ended."""
        self.is_training = False
        """Whether it has begun its trial."""
        self.has_reported = False
        self._awaits_answer = False

    def start(self, trial: Trial) -> None:
        """Begin ``trial``; if the worker has just died, the next `receive` raises."""
        self.number, self.is_training = trial.number, False
        self.last_number = trial.number
        self._awaits_answer = False
        self._send(("start", trial))

    def go_on(self) -> None:
        """Answer the last report: let the trial make its next step."""
        if self._awaits_answer:
            self._awaits_answer = False
            self._send(("step", None))

    def stop(self) -> None:
        """End this trial, in answer to its last report or between two reports."""
        self.number = None
        self._awaits_answer = False
        self._send(("stop", None))

    def put_aside(self) -> None:
        """Have the trial put aside after the step that it makes, and ended; `PutAside` answers."""
        self._awaits_answer = False
        self._send(("put_aside", None))

    def _send(self, message: tuple[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def receive(self) -> Event | LoadError | PutAside | None:
        """Return the next event; None if a trial has begun, or has been stopped meanwhile.

        Raises
        ------
        EOFError, OSError
            If the worker has died.
        """
        if not self.connection.poll():
            raise EOFError  # the process has ended and sent nothing
        event: Event | LoadError | PutAside | tuple[str, int] = self.connection.recv()
        if isinstance(event, tuple):
            _, number = event
            self.is_training = number == self.number
            return None
        self.has_reported = True
        if event.number != self.number:
            return None
        if isinstance(event, Ended | Failed | Revoked | PutAside):
            self.number = None
        else:
            self._awaits_answer = True
        return event

    def cause_of_death(self) -> str:
        """Wait for the process that closed its pipe, and return how it ended."""
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

    def hang_up(self) -> None:
        """Let the process end by itself, which it does once it waits for its next command."""
        with contextlib.suppress(OSError):
            self.connection.close()

    def kill(self) -> None:
        """End the process now, with all processes that it has started."""
        self.hang_up()
        self._at_exit()
        self.process.kill()
        self.process.join()
        self._at_exit.cancel()


def end_all(workers: Sequence[WorkerProcess]) -> None:
    """End workers: together, they have a second to exit by themselves if they train nothing."""
    for worker in workers:
        worker.hang_up()
    idle = [worker.process.sentinel for worker in workers if worker.number is None]
    deadline = time.monotonic() + _SECONDS_TO_EXIT
    while idle and (left := deadline - time.monotonic()) > 0:
        ended = set(wait(idle, left))
        idle = [sentinel for sentinel in idle if sentinel not in ended]
    for worker in workers:
        worker.kill()


def _kill_group(pid: int) -> None:
    """Kill a worker and all processes that it has started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):  # the group does not exist yet, or is empty
            os.killpg(pid, signal.SIGKILL)


def next_ready(workers: list[WorkerProcess], timeout: float) -> list[WorkerProcess]:
    """Return the workers that have sent something, or died, within ``timeout`` seconds.

    The sentinel of the process is waited for too: a child that it leaves behind would keep its
    end of the pipe open.
    """
    ready = set(wait([w.connection for w in workers], 0))
    if not ready:
        sources = [source for w in workers for source in (w.connection, w.process.sentinel)]
        ready = set(wait(sources, timeout))
    return [w for w in workers if ready & {w.connection, w.process.sentinel}]


def start_server() -> bool:
    """Start the server that workers are forked from; it loads torch in the background.

    It is started with one thread per library, as libraries read these variables when they are
    loaded; a worker that may use more threads sets that itself.

    Returns
    -------
    bool
        Whether there is a server. There is none on some platforms, and none where this process was
        forked from one that had a server, which serves only the original process.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return False
    from multiprocessing import forkserver

    # The first step of a torch optimizer imports torch._dynamo: two seconds per process.
    forkserver.set_forkserver_preload(
        ["hpo.executors._worker", "hpo.training.objective", "torch._dynamo"]
    )
    before = {name: os.environ[name] for name in THREADS if name in os.environ}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        with hidden_main(), signals_ignored():
            forkserver.ensure_running()
    except ChildProcessError:
        return False
    finally:
        for name in THREADS:
            del os.environ[name]
        os.environ.update(before)
    return True


@contextlib.contextmanager
def _children_allowed() -> Iterator[None]:
    """Let a daemon (a worker of a `multiprocessing.Pool`) start processes inside the block.

    multiprocessing forbids it, as nothing would end them; hpo's workers end with their driver.
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
