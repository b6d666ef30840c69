"""A spool: events wait on disk until a sender has logged them to MLflow.

::

    <root>/<study>-<hash of study key>/<hash of tracking store>/
        store.json       which study, which tracking store
        parent.json      the study's run, once it exists
        errors.log       records that the tracking store refused for good
        sender.log       what the sender and MLflow had to say
        <driver>/        one folder for each driver process, removed once all of it is sent
            events.jsonl    one event a line, only ever appended to
            sent            how many bytes of it have been sent
            files/          copies of the artifacts
            driver.lock     held while the driver lives
            sender.lock     held by the sender at work on it
            last_error      why the last attempt to send failed
"""

import hashlib
import json
import os
import re
import shutil
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpo._lock import FileLock

__all__ = ["Spool", "SpoolWriter", "default_root", "store_name", "study_folder", "write_text"]

Event = dict[str, Any]

CHUNK = 1 << 18
"""Bytes of events that are sent before the progress is recorded."""


def default_root() -> Path:
    """Return the folder of all spools: under ``$HPO_CACHE``, else the user's cache folder."""
    cache = os.environ.get("HPO_CACHE")
    if cache:
        return Path(cache).expanduser().absolute() / "spool"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "hpo" / "spool"


def store_name(tracking_uri: str) -> str:
    """Return the folder name for a tracking store."""
    return hashlib.sha256(tracking_uri.encode()).hexdigest()[:12]


def study_folder(root: Path, tracking_uri: str, study_key: str) -> Path:
    """Return the folder that holds the spools of one study for one tracking store."""
    readable = re.sub(r"[^\w.-]+", "_", study_key)[:40].strip(".")
    digest = hashlib.sha256(study_key.encode()).hexdigest()[:8]
    return root / f"{readable}-{digest}" / store_name(tracking_uri)


def write_text(path: Path, text: str) -> None:
    """Replace a file so that a reader sees the old text or the new one, never a part."""
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


class Spool:
    """The spool of one driver process, for reading.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events_path = folder / "events.jsonl"
        self.files = folder / "files"
        self.driver_lock = FileLock(folder / "driver.lock")
        self.sender_lock = FileLock(folder / "sender.lock")

    @classmethod
    def all_in(cls, study: Path) -> list["Spool"]:
        """Return the spools of a study, the oldest first."""
        if not study.is_dir():
            return []
        return [cls(path.parent) for path in sorted(study.glob("*/events.jsonl"))]

    @property
    def offset(self) -> int:
        """How many bytes have been sent; 0 if unknown, as sending twice does no harm."""
        try:
            return int((self.folder / "sent").read_text())
        except (OSError, ValueError):
            return 0

    def note_sent(self, offset: int) -> None:
        """Remember that everything before ``offset`` has been sent."""
        write_text(self.folder / "sent", str(offset))

    def read(self, offset: int, size: int = CHUNK) -> tuple[list[Event], int]:
        """Return the whole events after ``offset``, about ``size`` bytes of them, and their end."""
        with self.events_path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
            while data and b"\n" not in data and (more := file.read(size)):
                data += more
        complete = data[: data.rfind(b"\n") + 1]
        return list(_decode(complete)), offset + len(complete)

    def pending(self) -> int:
        """Return how many events have not been sent."""
        try:
            with self.events_path.open("rb") as file:
                file.seek(self.offset)
                return sum(1 for line in file if line.endswith(b"\n") and len(line) > 1)
        except OSError:
            return 0

    @property
    def last_error(self) -> str:
        """Why the last attempt to send failed; empty if it did not."""
        try:
            return (self.folder / "last_error").read_text(encoding="utf-8")
        except OSError:
            return ""

    def note_error(self, text: str) -> None:
        """Remember why an attempt to send failed; an empty text forgets it."""
        with suppress(OSError):
            if text:
                write_text(self.folder / "last_error", text)
            else:
                (self.folder / "last_error").unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the spool, its lock files last."""
        self.events_path.unlink(missing_ok=True)
        self.driver_lock.release()
        self.sender_lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)


def _decode(data: bytes) -> Iterator[Event]:
    """Read lines of JSON; lines truncated by a full disk are skipped."""
    for line in data.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "kind" in event:
            yield event


def _plain(value: Any) -> Any:
    """Convert values for JSON: numpy scalars to numbers, others to text."""
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "size", 1) == 1:
        return item()
    return str(value)


class SpoolWriter:
    """Appends events to a new spool; events that cannot be written are retried from memory.

    No method raises `OSError`.

    Parameters
    ----------
    study : Path
        Folder of the study's spools; see `study_folder`.
    identity : mapping of str to str
        Contents of ``store.json``.
    """

    def __init__(self, study: Path, identity: Mapping[str, str]) -> None:
        name = f"{time.time_ns():020d}-{socket.gethostname()[:40]}-{os.getpid()}"
        self.spool = Spool(study / f"{name}-{uuid.uuid4().hex[:6]}")
        self.error: OSError | None = None
        self._identity = dict(identity)
        self._waiting: deque[bytes] = deque()
        self._descriptor: int | None = None
        self._torn = False
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many events could not be written yet."""
        return len(self._waiting)

    @property
    def on_disk(self) -> bool:
        """Whether the spool exists."""
        return self._descriptor is not None

    def append(self, event: Event) -> None:
        """Write ``event`` after the events that could not be written earlier."""
        line = json.dumps(event, default=_plain, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._waiting.append(line)
        self.flush()

    def flush(self) -> None:
        """Write the events that wait in memory."""
        with self._lock:
            try:
                self._write()
            except OSError as error:
                self.error = error

    def keep(self, name: str, source: Path) -> str:
        """Copy an artifact into the spool.

        Returns
        -------
        str
            Its path under the spool's ``files``.

        Raises
        ------
        OSError
            If it cannot be read or copied.
        """
        path = Path(uuid.uuid4().hex[:8]) / (Path(name).name or "artifact")
        target = self.spool.files / path
        target.parent.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
        return path.as_posix()

    def close(self) -> None:
        """Write the remaining events if possible, and mark the spool as finished."""
        self.flush()
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
        self.spool.driver_lock.release()

    def _open(self) -> int:
        folder = self.spool.folder
        # The tracking URI may hold a password, hence no rights for others.
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_text(folder.parent / "store.json", json.dumps(self._identity))
        folder.mkdir(exist_ok=True)
        self.spool.driver_lock.acquire()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        return os.open(self.spool.events_path, flags, 0o600)

    def _write(self) -> None:
        if self._descriptor is None and self._waiting:
            self._descriptor = self._open()
        while self._waiting and self._descriptor is not None:
            # A partially written line is terminated here and written again completely.
            line = b"\n" * self._torn + self._waiting[0]
            self._torn = True
            if os.write(self._descriptor, line) < len(line):
                raise OSError("The disk took only a part of a record.")
            self._torn = False
            self._waiting.popleft()
        self.error = None
