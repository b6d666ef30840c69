"""A file for Optuna's `JournalStorage` that survives killed processes and a full disk.

Optuna's own file backend loses data in two cases: after a write that was cut short (a full disk, a
killed process), the next line is appended to the half line and lost with it; and the lock of a
killed process blocks all others for 30 seconds.
"""

import json
import os
from collections.abc import Container, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from hpo._own_files import make_file, mode_of

__all__ = ["Journal", "JournalFile"]

LOCK_SECONDS = 60.0
"""How long a write waits for another process to release the lock; it takes less than 1 ms."""

_CHUNK = 65_536

_NOTHING = {"op_code": 2, "worker_id": "", "study_id": -1, "user_attr": {"": None}}
"""An entry for a study that does not exist, which `JournalStorage` ignores."""


_KEYS: dict[int, set[str]] = {
    0: {"study_name", "directions"},
    1: {"study_id"},
    2: {"study_id", "user_attr"},
    3: {"study_id", "system_attr"},
    4: {"study_id", "datetime_start"},
    5: {"trial_id", "param_name", "param_value_internal", "distribution"},
    6: {"trial_id", "state", "values"},
    7: {"trial_id", "step", "intermediate_value"},
    8: {"trial_id", "user_attr"},
    9: {"trial_id", "system_attr"},
}
"""What an entry has, by its operation (`optuna.storages.journal._storage.JournalOperation`)."""


class Journal(JournalStorage):
    """Optuna's `JournalStorage`, in which `optuna.Study.ask` need not look at every trial.

    It asks for the waiting trials, which takes 8 ms among 10,000.

    Parameters
    ----------
    file : JournalFile
    """

    def __init__(self, file: "JournalFile") -> None:
        super().__init__(file)
        self._seen: dict[int, int] = {}  # by study, how many trials were looked at
        self._waiting: dict[int, list[int]] = {}

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials of a study in the order of their numbers."""
        if deepcopy or states != (TrialState.WAITING,):
            return super().get_all_trials(study_id, deepcopy, states)
        trials = super().get_all_trials(study_id, deepcopy=False)
        unknown = range(self._seen.get(study_id, 0), len(trials))
        self._seen[study_id] = len(trials)
        # No trial returns to this state once it has left it.
        numbers = [*self._waiting.get(study_id, ()), *unknown]
        self._waiting[study_id] = [n for n in numbers if trials[n].state is TrialState.WAITING]
        return [trials[n] for n in self._waiting[study_id]]


class JournalFile(BaseJournalBackend):
    """An append-only file of JSON lines that several processes share.

    A line counts once its line break is written. Before it appends anything, a process removes
    what another one has left of an unfinished line. Lines that are no valid entries are skipped.

    A killed process loses no line that was written; a power cut may lose the last ones.

    Parameters
    ----------
    path : str or Path
        Created for the user alone if it does not exist.
    lock : {"advisory", "file"}, default="advisory"
        The operating system releases an advisory lock when its holder dies. Some network file
        systems do not have them; there, the existence of a file can be the lock, as Optuna does
        it.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not a journal.
    """

    def __init__(self, path: str | Path, *, lock: str = "advisory") -> None:
        # Resolved: through a symbolic link, the lock must be that of the file itself.
        self._path = Path(path).resolve()
        self._lock_kind = lock
        self._n_read = self._end = 0  # lines read, and the position after the last of them
        make_file(self._path)
        with self._path.open("rb") as file:
            start = file.readline(_CHUNK)
        if start and not start.lstrip().startswith(b'{"op_code":'):
            raise ValueError("the file is something else than a journal of Optuna")

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the entries from a number on."""
        if log_number_from != self._n_read:
            self._n_read = self._end = 0
        if self._path.stat().st_size <= self._end:
            return
        with self._path.open("rb") as file:
            file.seek(self._end)
            for line in file:
                if not line.endswith(b"\n"):  # a process is writing it, or has died meanwhile
                    return
                self._n_read += 1
                self._end += len(line)
                if self._n_read > log_number_from:
                    yield _entry(line)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries: all of them or, if they cannot be written, none.

        Raises
        ------
        OSError
            If they cannot be written, or another process does not release the lock.
        """
        lines = "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in logs).encode()
        with self._lock:
            # Not created anew: without the entries before them, these mean nothing.
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND)
            try:
                end = _repair(descriptor)
                try:
                    _write(descriptor, lines)
                except OSError:
                    os.ftruncate(descriptor, end)
                    raise
            finally:
                os.close(descriptor)

    @cached_property
    def _lock(self) -> Any:
        if self._lock_kind == "file":
            return _ExistenceLock(str(self._path))
        from filelock import FileLock  # takes 60 ms, and one who only reads needs no lock

        return FileLock(f"{self._path}.lock", mode=mode_of(self._path), timeout=LOCK_SECONDS)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._path, "lock": self._lock_kind}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], lock=state["lock"])  # type: ignore[misc]


class _ExistenceLock:
    """Optuna's lock: a file that exists while the lock is held."""

    def __init__(self, path: str) -> None:
        self._lock = JournalFileOpenLock(path)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        with suppress(RuntimeError):  # another process has removed it after 30 seconds
            self._lock.release()


def _entry(line: bytes) -> dict[str, Any]:
    """Return the entry of a line; an entry without effect if the line is damaged."""
    with suppress(ValueError):
        entry = json.loads(line)
        if isinstance(entry, dict) and {"op_code", "worker_id"} <= entry.keys():
            operation = entry["op_code"]
            # A newer Optuna may have more operations than are known here.
            if isinstance(operation, int) and _KEYS.get(operation, set()) <= entry.keys():
                return entry
    return dict(_NOTHING)


def _repair(descriptor: int) -> int:
    """Remove an unfinished last line; return the size of the file."""
    size = end = os.lseek(descriptor, 0, os.SEEK_END)
    if size and _last_byte(descriptor) == b"\n":
        return size
    while end > 0:
        start = max(0, end - _CHUNK)
        os.lseek(descriptor, start, os.SEEK_SET)
        place = os.read(descriptor, end - start).rfind(b"\n")
        if place >= 0:
            end = start + place + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)
    return end


def _last_byte(descriptor: int) -> bytes:
    os.lseek(descriptor, -1, os.SEEK_END)
    return os.read(descriptor, 1)


def _write(descriptor: int, data: bytes) -> None:
    """Write all of ``data``; a disk that is nearly full may accept a part of it first."""
    while data:
        data = data[os.write(descriptor, data) :]
