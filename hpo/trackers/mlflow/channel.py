"""Connect a driver to MLflow with a spool and a sender process."""

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpo._redaction import redact
from hpo.observer import StudyInfo
from hpo.trackers.mlflow.spool import Spool, SpoolWriter

__all__ = [
    "COMMAND",
    "Channel",
    "end",
    "environment",
    "left_message",
    "start_sender",
    "waiting",
]

RESTART_SECONDS = 30.0
CHECK_SECONDS = 1.0
LOG_BYTES = 1_000_000

# -P: a file in the current folder must not shadow a module of the sender.
COMMAND = [sys.executable, "-P", "-m", "hpo.trackers.mlflow"]
"""Command that starts a process connected to MLflow."""


class Channel:
    """The spool of one study and its sender.

    Parameters
    ----------
    study : Path
        Folder of the study's spools.
    tracking_uri : str
    info : StudyInfo
    """

    def __init__(self, study: Path, tracking_uri: str, info: StudyInfo) -> None:
        self.key = info.key
        self.writer = SpoolWriter(
            study, {"tracking_uri": tracking_uri, "study_key": info.key, "name": info.name}
        )
        self._study = study
        self._tracking_uri = tracking_uri
        self._process: subprocess.Popen[bytes] | None = None
        self._next_check = 0.0
        self._next_start = 0.0
        self._n_refused = _count_lines(study / "errors.log")
        self._lock = threading.Lock()

    def send(self, event: dict[str, Any]) -> None:
        """Send an event."""
        self.writer.append(event)
        if time.monotonic() >= self._next_check:
            self._ensure_sender()

    def finish(self) -> None:
        """Signal the end of the events; the sender ends when all are sent."""
        self.writer.close()
        if self._process is None or self._process.poll() not in {None, 0}:
            self._next_start = 0.0
            self._ensure_sender()
        stream = self._process.stdin if self._process else None
        if stream is not None and not stream.closed:
            with suppress(OSError):
                stream.write(b".")
            with suppress(OSError):
                stream.close()

    def settle(self, timeout: float) -> list[str]:
        """Wait for the sender; return what the user should know."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
            end(self._process)
        messages = []
        if self.writer.waiting:
            messages.append(
                f"{self.writer.waiting} tracking records are lost: they could not be written "
                f"to {self._study}: {self.writer.error}. Free space there, or set HPO_CACHE "
                "to another folder."
            )
        if left := left_message(self._study, self._tracking_uri):
            messages.append(left)
        refused = _count_lines(self._study / "errors.log") - self._n_refused
        if refused > 0:
            messages.append(
                f"MLflow refused {refused} records for good: see {self._study / 'errors.log'}."
            )
        return messages

    def _ensure_sender(self) -> None:
        """Start the sender, and restart it from time to time if it died."""
        with self._lock:
            now = time.monotonic()
            self._next_check = now + CHECK_SECONDS
            running = self._process is not None and self._process.poll() is None
            if running or now < self._next_start or not self.writer.spool.events_path.exists():
                return
            self._next_start = now + RESTART_SECONDS
            if self._process is not None:
                end(self._process)
            with suppress(OSError):
                self._process = start_sender(self._study, self.writer.spool.folder.name)


def waiting(study: Path) -> int:
    """Return how many records of a study wait and are not handled by a sender."""
    n_waiting = 0
    for spool in Spool.all_in(study):
        with suppress(OSError):
            if spool.sender_lock.acquire():
                n_waiting += spool.pending()
                spool.sender_lock.release()
    return n_waiting


def left_message(study: Path, tracking_uri: str) -> str:
    """Return a note for the user on waiting records; empty if there are none."""
    left = waiting(study)
    if not left:
        return ""
    errors = [spool.last_error for spool in Spool.all_in(study) if spool.last_error]
    cause = f": {errors[-1].splitlines()[0][:300]}" if errors else ""
    return redact(
        f"{left} records have not reached MLflow at {tracking_uri}{cause}. They are kept "
        f"in {study} and are sent when the study runs again, or by `hpo sync`."
    )


def _count_lines(path: Path) -> int:
    try:
        return len(path.read_bytes().splitlines())
    except OSError:
        return 0


def environment() -> dict[str, str]:
    """Return the environment of a process connected to MLflow: quiet, with short timeouts."""
    package_root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH", "")]))
    defaults = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    fixed = {
        "PYTHONPATH": path,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "OMP_NUM_THREADS": "1",
    }
    return {**defaults, **os.environ, **fixed}


def start_sender(study: Path, driver_spool: str = "") -> "subprocess.Popen[bytes]":
    """Start a sender in its own session, which Ctrl-C in the terminal does not reach."""
    log = study / "sender.log"
    too_long = log.exists() and log.stat().st_size > LOG_BYTES
    with log.open("wb" if too_long else "ab") as output:
        return subprocess.Popen(
            [*COMMAND, "send", str(study), driver_spool],
            stdin=subprocess.PIPE if driver_spool else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(),
            start_new_session=True,
            bufsize=0,
        )


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a sender; its unfinished work is repeated by the next one."""
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
