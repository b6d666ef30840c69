"""Several trials at a time, each in a worker process with its own device and threads."""

import itertools
import time
from collections.abc import Iterable, Sequence

import joblib

from hpo._scratch import temporary_files
from hpo.exceptions import ExecutorError
from hpo.executors._payload import Payload
from hpo.executors._settings import Settings, settings_of_this_process
from hpo.executors._training_clock import TrainingClock
from hpo.executors._worker_process import WorkerProcess, end_all, next_ready, start_server
from hpo.executors.base import BaseExecutor, Event, Failed, LoadError, PutAside, TimedOut
from hpo.training import BaseObjective
from hpo.trial import Cause, Trial

__all__ = ["ProcessExecutor"]

_MAX_DEAD_AT_START = 3
"""Number of workers in a row that may die before their first event."""


class ProcessExecutor(BaseExecutor):
    """Worker processes that each train one trial at a time.

    Workers are forked from a server process that has only imported torch (``forkserver``;
    spawned where the platform has none), so all but the first start in milliseconds. Each
    receives the objective once and takes over the settings of the driver
    (`hpo.executors._settings`). If a worker dies, its trial fails and the worker is replaced.
    Trials may start processes of their own; none outlives its worker, and no worker the driver.

    Parameters
    ----------
    objective : BaseObjective
        Sent to the workers by value, with the classes of the file or notebook that defines it.
    n_jobs : int or None
        Number of workers: None or -1 means one per GPU if there are any, else one per CPU core.
    n_threads : int, default=1
        Threads of torch and BLAS in each worker.
    device : str or None
        Torch device of all workers; by default all GPUs in turn, else the CPU.

    Raises
    ------
    ExecutorError
        If the objective cannot be sent to workers, or workers die as soon as they start.
    StorageError
        If temporary files cannot be written.
    """

    way = "process"

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
        from hpo.training.threads import devices

        self._devices = devices(device)
        gpus = sum(name.startswith("cuda") for name in self._devices)
        self._n_jobs = (gpus or joblib.cpu_count()) if n_jobs in {None, -1} else int(n_jobs or 1)
        self._n_threads = n_threads
        self._payload: Payload | None = None
        self._settings: Settings | None = None
        self._workers: list[WorkerProcess] = []
        self._n_dead = 0
        self._clock = TrainingClock()
        with temporary_files():  # its socket is one
            start_server()

    @property
    def capacity(self) -> int:
        """Number of workers."""
        return self._n_jobs

    def start(self, trials: Sequence[Trial]) -> None:
        """Hand each trial to a free worker, starting workers as they are needed."""
        for trial in trials:
            self._free_worker().start(trial)

    def _free_worker(self) -> WorkerProcess:
        for worker in self._workers:
            if worker.number is None:
                return worker
        if self._payload is None or self._settings is None:
            self._payload = Payload(self.objective)
            self._settings = settings_of_this_process(here=True)
        used = [worker.device for worker in self._workers]
        device = min(self._devices, key=used.count)
        worker = WorkerProcess(self._payload, device, self._n_threads, self._settings)
        # One that takes the place of a dead one takes its name too.
        names = (self.named(f"process {i}", device) for i in itertools.count(1))
        taken = {other.name.partition(",")[0] for other in self._workers}
        worker.name = next(name for name in names if name.partition(",")[0] not in taken)
        self._workers.append(worker)
        return worker

    def worker(self, number: int) -> str:
        """Return the worker process that a trial was given to; empty if it is gone."""
        return next((w.name for w in self._workers if w.last_number == number), "")

    def poll(self, timeout: float = 0.1) -> list[Event]:
        """Let trials that reported continue; return what the workers send within ``timeout`` s."""
        self.errors = {}
        events: list[Event] = [*self._end_overdue()]
        busy = [worker for worker in self._workers if worker.number is not None]
        for worker in busy:
            worker.go_on()
        received = [self._receive(w) for w in next_ready(busy, 0 if events else timeout)]
        events += [e for e in received if not (e is None or isinstance(e, PutAside))]
        return events

    def _end_overdue(self) -> list[TimedOut]:
        """Kill the workers whose trials have had their time; new ones take their places."""
        training = {w.number: w for w in self._workers if w.number is not None and w.is_training}
        overdue = self._clock.look(training, self.limits.trial_timeout)
        # What has been sent counts, and may be the end of the trial.
        overdue = [number for number in overdue if not training[number].connection.poll()]
        for worker in (training[number] for number in overdue):
            self._workers.remove(worker)
            worker.kill()
        return [TimedOut(number) for number in overdue]

    def _receive(self, worker: WorkerProcess) -> Event | PutAside | None:
        try:
            event = worker.receive()
        except (EOFError, OSError):
            return self._handle_dead_worker(worker)
        if event is not None:
            self._n_dead = 0
        if isinstance(event, LoadError):
            raise ExecutorError(
                f"The study cannot be loaded in a worker process: {event.reason}. What it imports "
                f"must be importable there too, or use executor='serial'.\n{event.error}"
            )
        if isinstance(event, Failed):
            self.errors = {**self.errors, **event.loaded()}
        return event

    def _handle_dead_worker(self, worker: WorkerProcess) -> Event:
        """Report the trial of a dead worker as failed; a new worker takes its place when needed."""
        number, cause = worker.number, worker.cause_of_death()
        assert number is not None
        self._n_dead += not worker.has_reported
        self._workers.remove(worker)
        if self._n_dead >= _MAX_DEAD_AT_START:
            raise ExecutorError(
                f"{self._n_dead} worker processes in a row died before their first report: "
                f"{cause}. Run with --executor serial to see the error itself."
            )
        return Failed(number, f"the worker process died: {cause}", cause, cause=Cause.WORKER_DIED)

    def stop(self, numbers: Iterable[int]) -> None:
        """End these trials; their workers are free at once and finish cleaning up by themselves."""
        ended = set(numbers)
        for worker in self._workers:
            if worker.number in ended:
                worker.stop()

    def put_aside(self, timeout: float = 5.0) -> list[Event]:
        """Have all trials put aside, once those in the middle of a step have made it."""
        if self.objective.checkpointing is None:
            return []
        busy = [worker for worker in self._workers if worker.number is not None]
        for worker in busy:
            worker.put_aside()
        events: list[Event] = []
        deadline = time.monotonic() + timeout
        while busy and (left := deadline - time.monotonic()) > 0:
            received = [self._receive(worker) for worker in next_ready(busy, left)]
            events += [e for e in received if not (e is None or isinstance(e, PutAside))]
            busy = [w for w in busy if w in self._workers and w.number is not None]
        return events

    def close(self) -> None:
        """End all workers and remove the files that they shared."""
        end_all(self._workers)
        self._workers = []
        if self._payload is not None:
            self._payload.close()
            self._payload = None
