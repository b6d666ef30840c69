"""A file for Optuna's `JournalStorage` that survives killed processes and a full disk.

Optuna's own file backend loses data in two cases: after a write that was cut short (a full disk, a
killed process), the next line is appended to the half line and lost with it; and the lock of a
killed process blocks all others for 30 seconds.
"""

import hashlib
import json
import os
from collections import deque
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState

from hpo._own_files import make_file
from hpo.storage._journal_locks import AdvisoryLock, ExistenceLock
from hpo.storage._snapshot import (
    CREATE_TRIAL,
    Snapshot,
    folded,
    folded_entry,
    load_snapshot,
    save_snapshot,
)
from hpo.storage.many_objects import many_objects

__all__ = ["Journal", "JournalFile"]


_CHUNK = 65_536

_BEHIND = 10_000
"""Lines that a snapshot may lack before one who has read them writes another one."""

_LEFT_BEHIND = 2_000
"""Lines that a snapshot may lack when a driver ends."""

_NOTHING = {"op_code": 2, "worker_id": "", "study_id": -1, "user_attr": {"": None}}
"""An entry for a study that does not exist, which `JournalStorage` ignores."""


_NONE = Snapshot(0, 0, hashlib.sha256(), ())

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

_OF_TRIALS = range(5, 10)
"""Operations that change a trial."""


class Journal(JournalStorage):
    """Optuna's `JournalStorage` for studies of thousands of trials.

    `optuna.Study.ask` asks for the waiting trials, which takes 8 ms among 10,000: here it need not
    look at every trial. Whoever opens a journal and has much of it to read leaves a snapshot
    for the next one.

    Parameters
    ----------
    file : JournalFile
    """

    def __init__(self, file: "JournalFile") -> None:
        with many_objects():
            super().__init__(file)
        self._file = file
        self.save_snapshot(max(_BEHIND, file.n_lines // 20))
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

    def save_snapshot(self, behind: int = _LEFT_BEHIND) -> None:
        """Write a snapshot if the last one lacks so many lines; without a word if it cannot be."""
        if self._file.n_lines - self._file.n_saved < behind:
            return
        for _ in range(5):  # others may write meanwhile
            before, trials = self._file.n_lines, {}
            for study_id in self._file.study_ids:
                with suppress(KeyError):  # the study has been deleted
                    trials[study_id] = super().get_all_trials(study_id, deepcopy=False)
            if before == self._file.n_lines:  # all studies as they were at one moment
                self._file.save_snapshot(trials)
                return


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
        self.n_lines = self._end = 0  # lines read, and the position after the last of them
        self.n_saved = 0  # of those, lines for which the snapshot stands
        self._hash = hashlib.sha256()  # of what was read: the file may be another one by now
        self._last_hash = ""  # what it was at the last snapshot
        self._n_given = 0  # entries given to Optuna: fewer than lines, after a snapshot
        self._of_snapshot: deque[bytes] = deque()  # its lines, which are still to be given
        self._outline: list[bytes | int] = []  # see `folded`
        make_file(self._path)
        with self._path.open("rb") as file:
            start = file.readline(_CHUNK)
        if start and not start.lstrip().startswith(b'{"op_code":'):
            raise ValueError("the file is something else than a journal of Optuna")

    @property
    def study_ids(self) -> set[int]:
        """Optuna's numbers of the studies that have had trials."""
        return {item for item in self._outline if not isinstance(item, bytes)}

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the entries from a number on: from the first one, or where the last call ended.

        They begin with those of the snapshot, if there is one, and so are no lines of the file.
        """
        if log_number_from == 0:
            self._begin()
        elif log_number_from != self._n_given:
            raise RuntimeError("the entries of a journal are read one after the other")
        while self._of_snapshot:
            line = self._of_snapshot.popleft()
            yield self._noted(line, folded_entry(line) or _entry(line))
        if self._path.stat().st_size <= self._end:
            return
        with self._path.open("rb") as file:
            file.seek(self._end)
            for line in file:
                if not line.endswith(b"\n"):  # a process is writing it, or has died meanwhile
                    return
                self.n_lines += 1
                self._end += len(line)
                self._hash.update(line)
                yield self._noted(line.rstrip(b"\n"), _entry(line))

    def _begin(self) -> None:
        snapshot = load_snapshot(self._path) or _NONE
        self._end, self.n_lines, lines = snapshot.size, snapshot.n_lines, snapshot.lines
        self._hash = snapshot.hash.copy()
        self.n_saved, self._n_given = self.n_lines, 0
        self._last_hash = self._hash.hexdigest()
        self._of_snapshot, self._outline = deque(lines), []

    def _noted(self, line: bytes, entry: dict[str, Any] | None) -> dict[str, Any]:
        """Return the entry to give for a line; note what of it belongs into a snapshot."""
        self._n_given += 1
        if entry is None:
            return dict(_NOTHING)
        if entry["op_code"] == CREATE_TRIAL:
            self._outline.append(entry["study_id"])
        elif entry["op_code"] not in _OF_TRIALS:
            self._outline.append(line)
        return entry

    def save_snapshot(self, trials: Mapping[int, Sequence[FrozenTrial]]) -> None:
        """Write a snapshot of what was read, if that can be done.

        Parameters
        ----------
        trials : mapping of int to sequence of FrozenTrial
            The trials of each study that has not been deleted, as they are now.
        """
        self.n_saved = self.n_lines  # if it cannot be done, it is not tried again before long
        there = load_snapshot(self._path) or _NONE
        if there.size >= self._end:
            return
        known = there.hash.hexdigest() == self._last_hash
        lines = folded(self._outline, trials, there.lines if known else ())
        if lines:
            now = Snapshot(self._end, self.n_lines, self._hash, lines)
            save_snapshot(self._path, now)
            self._last_hash = self._hash.hexdigest()

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
        return (ExistenceLock if self._lock_kind == "file" else AdvisoryLock)(self._path)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._path, "lock": self._lock_kind}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], lock=state["lock"])  # type: ignore[misc]


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return the entry of a line; None if the line is damaged."""
    with suppress(ValueError):
        entry = json.loads(line)
        if isinstance(entry, dict) and {"op_code", "worker_id"} <= entry.keys():
            operation = entry["op_code"]
            # A newer Optuna may have more operations than are known here.
            if isinstance(operation, int) and _KEYS.get(operation, set()) <= entry.keys():
                return entry
    return None


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
