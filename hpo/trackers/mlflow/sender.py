"""The process that sends spools to MLflow, so that neither the driver nor a trial waits for it."""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hpo._lock import FileLock
from hpo._redaction import redact
from hpo.trackers.mlflow.events import loose_ends
from hpo.trackers.mlflow.plan import RunPlan, plan_runs
from hpo.trackers.mlflow.runs import MlflowApi, RunWriter
from hpo.trackers.mlflow.spool import Spool, write_text

__all__ = ["GAVE_UP", "Driver", "Sender"]

WAKE_SECONDS = 1.0
LONGEST_WAIT = 30.0
LAST_ATTEMPTS = 2
LOCK_SECONDS = 60.0
GAVE_UP = 3
"""Exit code of a sender that left something unsent."""

log = logging.getLogger(__name__)


class Driver:
    """The driver process as its sender sees it: at work, or done (or dead).

    Parameters
    ----------
    watched : bool
        Whether there is a driver, on the other end of standard input. It writes a byte to
        say that it is done; the end of the stream says that it is dead.
    """

    def __init__(self, watched: bool) -> None:
        self._parent = os.getppid()
        self._done = threading.Event()
        if watched:
            threading.Thread(target=self._listen, daemon=True).start()
        else:
            self._done.set()

    def _listen(self) -> None:
        with suppress(OSError):
            sys.stdin.buffer.read(1)
        self._done.set()

    @property
    def done(self) -> bool:
        """Whether the driver has finished or died."""
        # A forked child of a dead driver keeps the stream open, but the parent id changes.
        return self._done.is_set() or os.getppid() != self._parent

    def wait(self, seconds: float) -> None:
        """Wait until the driver is done, at most ``seconds``."""
        deadline = time.monotonic() + seconds
        while not self.done and (left := deadline - time.monotonic()) > 0:
            self._done.wait(min(left, 1.0))


class Sender:
    """Sends the spools of one study: its driver's, and those that earlier drivers left.

    Parameters
    ----------
    study : Path
        Folder of the study's spools.
    own : str or None
        Name of the driver's spool; None to send only earlier spools.
    connect : callable
        Called with the tracking URI; returns the MLflow client to write with.
    """

    def __init__(self, study: Path, own: str | None, connect: Callable[[str], MlflowApi]) -> None:
        self._study = study
        self._driver_spool = own
        self._connect = connect
        self._driver = Driver(watched=own is not None)
        self._identity = json.loads((study / "store.json").read_text(encoding="utf-8"))
        self._writer: RunWriter | None = None
        self._failures: dict[str, int] = {}
        # Held until the end: this sender would not notice what another one did meanwhile.
        self._driver_spool_lock = FileLock(study / (own or "") / "sender.lock")

    def run(self) -> int:
        """Send until the driver is done and all is sent, or sending has failed repeatedly.

        Returns
        -------
        int
            0, or `GAVE_UP`.
        """
        wait, last_attempts = WAKE_SECONDS, 0
        while True:
            # Checked first, so that everything the driver has written is read below.
            done = self._driver.done
            try:
                left = self._send_all()
                wait = WAKE_SECONDS
            except Exception:
                left = True
                wait = min(2 * wait, LONGEST_WAIT)
            if not done:
                self._driver.wait(wait)
                continue
            if not left:
                return 0
            last_attempts += 1
            if last_attempts == LAST_ATTEMPTS:
                return GAVE_UP
            time.sleep(0.5)

    def _send_all(self) -> bool:
        """Send all spools; return whether another sender holds the driver's spool."""
        left = False
        errors = []
        for spool in Spool.all_in(self._study):
            is_own = spool.folder.name == self._driver_spool
            lock = self._driver_spool_lock if is_own else spool.sender_lock
            if not lock.acquire():
                left |= is_own
                continue
            try:
                if self._drain(spool):
                    self._retire(spool)
            except Exception as error:
                log.exception("sending %s failed", spool.folder.name)
                spool.note_error(redact(str(error).strip()) or type(error).__name__)
                errors.append(error)
                # The state of the store may have changed, so open it again.
                self._writer = None
            finally:
                if not is_own:
                    lock.release()
        if errors:
            raise errors[-1]
        return left

    def _drain(self, spool: Spool) -> bool:
        """Send the contents of a spool; return whether it still exists."""
        if not spool.events_path.exists():
            return False
        offset = spool.offset
        while True:
            events, end = spool.read(offset)
            if end == offset:
                return True
            self._write(self._plans(events), spool)
            spool.note_sent(end)
            spool.note_error("")
            offset = end

    def _write(self, plans: list[RunPlan], spool: Spool) -> None:
        if plans:
            self._open_writer(plans[0].start).write_all(plans, spool.files)

    def _plans(self, events: list[dict[str, Any]]) -> list[RunPlan]:
        """Return the plans of the events; invalid events are logged and left out."""
        try:
            return plan_runs(events)
        except (AttributeError, KeyError, TypeError, ValueError):
            valid = [event for event in events if self._is_valid(event)]
            return plan_runs(valid)

    def _is_valid(self, event: dict[str, Any]) -> bool:
        try:
            plan_runs([event])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self._log_error(f"{event} could not be read: {error!r}")
            return False
        return True

    def _retire(self, spool: Spool) -> None:
        """Remove a spool whose driver has ended, after sending the rest of it."""
        if not spool.driver_lock.acquire():
            return
        try:
            self._drain(spool)
            events, _ = spool.read(0, spool.events_path.stat().st_size)
            ends = loose_ends(events, study_too=not self._other_drivers(spool))
            self._write(plan_runs(ends), spool)
            spool.remove()
        finally:
            spool.driver_lock.release()

    def _other_drivers(self, spool: Spool) -> bool:
        """Return whether another driver of the study is running."""
        other_spools = [s for s in Spool.all_in(self._study) if s.folder != spool.folder]
        for other in other_spools:
            if not other.driver_lock.acquire():
                return True
            other.driver_lock.release()
        return False

    def _open_writer(self, start: int) -> RunWriter:
        if self._writer is None:
            # With a lock: two processes must not create the same database or run.
            with self._store_lock():
                self._writer = RunWriter(
                    self._connect(self._identity["tracking_uri"]),
                    self._identity["name"],
                    self._identity["study_key"],
                    start,
                    note=self._log_error,
                    unsent=self._study / "unsent",
                    failures=self._failures,
                    shared=self._shared,
                )
            ids = {"experiment_id": self._writer.experiment_id, "run_id": self._writer.parent_id}
            write_text(self._study / "parent.json", json.dumps(ids))
        return self._writer

    @contextmanager
    def _store_lock(self) -> Any:
        lock = FileLock(self._study.parent.parent / f"{self._study.name}.lock")
        if not lock.acquire(timeout=LOCK_SECONDS):
            raise TimeoutError("Another process is busy with the tracking store.")
        try:
            yield
        finally:
            lock.release()

    def _shared(self) -> Any:
        return self._store_lock() if len(Spool.all_in(self._study)) > 1 else None

    def _log_error(self, text: str) -> None:
        """Log a record that the store rejected; it is not sent again."""
        with (self._study / "errors.log").open("a", encoding="utf-8") as file:
            line = " ".join(redact(text).split())
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
