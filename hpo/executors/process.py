"""Several trials at a time, each in a worker process with its own device and threads."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

import joblib

from hpo.exceptions import ExecutorError
from hpo.executors import _worker
from hpo.executors._base import BaseExecutor, Ended, Event, Failed
from hpo.executors._payload import Payload, hidden_main
from hpo.training import BaseObjective
from hpo.trial import Trial

__all__ = ["ProcessExecutor"]

_MAX_STILLBORN = 3
"""Workers in a row that may die before they have taken a trial."""


class ProcessExecutor(BaseExecutor):
    """Worker processes that each train one trial at a time.

    Workers are forked from a server process that has imported torch and nothing else has
    happened in (``forkserver``; spawned where the platform has none), so they start in
    milliseconds after the first. They get the objective once. A worker that dies fails its
    trial and is replaced.

    Parameters
    ----------
    objective : BaseObjective
        Carried to the workers by value, with the classes of the file or notebook it is from.
    n_jobs : int or None
        Number of workers: None or -1 is one a CPU core, or one a GPU where there are any.
    n_threads : int, default=1
        Threads of torch and BLAS in each worker.
    device : str or None
        Torch device of all workers; by default all GPUs round robin, else the CPU.

    Raises
    ------
    ExecutorError
        If the objective cannot be carried over, or workers die as soon as they start.
    """

    def __init__(
        self,
        objective: BaseObjective,
        *,
        n_jobs: int | None = None,
        n_threads: int = 1,
        device: str | None = None,
    ) -> None:
        super().__init__(objective)
        if n_jobs is not None and n_jobs < 1 and n_jobs != -1:
            raise ValueError(f"n_jobs must be a positive number or -1. Got {n_jobs} instead.")
        from hpo.training._threads import devices

        self._devices = devices(device)
        gpus = sum(name.startswith("cuda") for name in self._devices)
        self._n_jobs = (gpus or joblib.cpu_count()) if n_jobs in {None, -1} else int(n_jobs or 1)
        self._n_threads = n_threads
        self._payload: Payload | None = None
        self._workers: list[_Worker] = []
        self._stillborn = 0
        _start_server()

    @property
    def capacity(self) -> int:
        """Number of workers."""
        return self._n_jobs

    def start(self, trials: Sequence[Trial]) -> None:
        """Hand each trial to a free worker, starting workers as they are needed."""
        for trial in trials:
            self._free_worker().start(trial)

    def _free_worker(self) -> "_Worker":
        for worker in self._workers:
            if worker.number is None:
                return worker
        if self._payload is None:
            self._payload = Payload(self.objective)
        used = [worker.device for worker in self._workers]
        device = min(self._devices, key=used.count)
        self._workers.append(_Worker(self._payload, device, self._n_threads))
        return self._workers[-1]

    def poll(self, timeout: float = 0.1) -> list[Event]:
        """Let the trials that reported go on; return what the workers send within ``timeout`` s."""
        busy = {worker.connection: worker for worker in self._workers if worker.number is not None}
        for worker in busy.values():
            worker.go_on()
        ready = wait(list(busy), timeout)
        events = [self._receive(busy[connection]) for connection in busy if connection in ready]
        return [event for event in events if event is not None]

    def _receive(self, worker: "_Worker") -> Event | None:
        try:
            event = worker.receive()
        except (EOFError, OSError):
            return self._bury(worker)
        self._stillborn = 0
        return event

    def _bury(self, worker: "_Worker") -> Event:
        """Report the trial of a dead worker as failed; a new worker takes its place when needed."""
        number, cause = worker.number, worker.cause_of_death()
        assert number is not None
        self._stillborn += not worker.has_spoken
        self._workers.remove(worker)
        if self._stillborn >= _MAX_STILLBORN:
            raise ExecutorError(
                f"{self._stillborn} worker processes in a row died before their first report: "
                f"{cause}. Run with --executor serial to see the error itself."
            )
        return Failed(number, f"the worker process died: {cause}", cause)

    def stop(self, numbers: Iterable[int]) -> None:
        """End these trials; their workers are free at once and finish closing by themselves."""
        ended = set(numbers)
        for worker in self._workers:
            if worker.number in ended:
                worker.stop()

    def close(self) -> None:
        """End all workers and remove what they shared."""
        for worker in self._workers:
            worker.close()
        self._workers = []
        if self._payload is not None:
            self._payload.close()
            self._payload = None


class _Worker:
    """The driver's end of one worker process."""

    def __init__(self, payload: Payload, device: str, n_threads: int) -> None:
        context = _context()
        self.connection, theirs = context.Pipe()
        self.device = device
        with hidden_main():
            self.process: BaseProcess = context.Process(  # type: ignore[attr-defined]
                target=_worker.main,
                args=(theirs, payload.address, device, n_threads, list(sys.path)),
                name="hpo-worker",
                daemon=True,
            )
            self.process.start()
        theirs.close()
        self.number: int | None = None
        self.has_spoken = False
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

    def receive(self) -> Event | None:
        """Return the next event, or None if it is of a trial that was stopped meanwhile."""
        event: Event = self.connection.recv()
        self.has_spoken = True
        if event.number != self.number:
            return None
        if isinstance(event, Ended | Failed):
            self.number = None
        else:
            self._waits = True
        return event

    def cause_of_death(self) -> str:
        """Wait for the process that closed its pipe and say how it ended."""
        self.process.join(timeout=10)
        code = self.process.exitcode
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
            self.process.kill()
            self.process.join()


def _context() -> BaseContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # The first step of any torch optimizer imports torch._dynamo, two seconds a process.
    context.set_forkserver_preload(
        ["hpo.executors._worker", "hpo.training.objective", "torch._dynamo"]
    )
    return context


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Let processes started inside the block ignore Ctrl-C, also while they still load torch."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start_server() -> None:
    """Start the server that workers are forked from; it loads torch while the driver goes on.

    It is started with one thread a library, which is what the libraries read when they are
    loaded; a worker that is given more says so to them itself.
    """
    if _context().get_start_method() != "forkserver":
        return
    from multiprocessing import forkserver

    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        with hidden_main(), _deaf_to_ctrl_c():
            forkserver.ensure_running()
    finally:
        for name in names:
            del os.environ[name]
        os.environ.update(before)
