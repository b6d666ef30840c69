"""The files in which trainings are put aside, so that the next driver of a study goes on with them.

A state is a pickle, and who writes one runs code as the user who loads it. So each file bears a
mark that nobody can make without a key of the user's own, and without that mark nothing of it is
read.
"""

import hashlib
import hmac
import json
import os
import struct
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from hpo._own_files import make_folder
from hpo.trial import Trial

__all__ = ["Checkpoint", "CheckpointError", "CheckpointFiles"]

_MAGIC = b"hpo checkpoint 1\n"
_MARK_BYTES = hashlib.sha256().digest_size
_SIZE = struct.Struct(">Q")
_ENTRY = struct.Struct(">QQ")  # seed, and size of what follows
_BATCH, _SUFFIX, _PART = "batch-", ".checkpoint", ".part"
_DEAD_SECONDS = 3600.0
"""Seconds after which nobody is still writing a file."""

_DAMAGED = "it is damaged, or was not made by this user"


class CheckpointError(Exception):
    """A checkpoint cannot be used; the message is the reason, without an end mark."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training that was put aside between two steps.

    Parameters
    ----------
    step : int
        The `Report.position` of its last report, from 1.
    kind : str
        Who can go on with it: ``"run"`` a trial's own training, ``"batch"`` the fused executor.
    state : bytes
        Its state, pickled.
    """

    step: int
    kind: str
    state: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """The checkpoints of a study: a file for each training, or for each batch of trainings.

    A training is identified by its seed, which a trial that goes on shares with the one that was
    interrupted.

    Parameters
    ----------
    folder : Path
        It is made with the first file.
    key : bytes
        Key of the marks: a secret of this user for this study.
    made_by : mapping of str to str
        What a state depends on beside the trial: the study, and versions of libraries. Checkpoints
        that were made by anything else are not used.
    mode : int, default=0o700
        Permissions of the folder.
    """

    folder: Path
    key: bytes = field(repr=False)
    made_by: Mapping[str, str] = field(default_factory=dict)
    mode: int = 0o700

    def path(self, seed: int) -> Path:
        """Return the file of the training with this seed, unless it is in a batch."""
        return self.folder / f"{seed:016x}{_SUFFIX}"

    def write(self, trial: Trial, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint of a trial's training, at once or not at all.

        It is not flushed to the disk: a power cut may leave a damaged file, which is recognised.

        Raises
        ------
        OSError
            If that fails.
        """
        self._write(self.path(trial.seed), [(trial, checkpoint)])

    def write_batch(self, name: str, checkpoints: Iterable[tuple[Trial, Checkpoint]]) -> None:
        """Replace the checkpoints of trainings that go on together, all at once; see `write`.

        Parameters
        ----------
        name : str
            Name of the batch, which no other one has.
        checkpoints : iterable of (Trial, Checkpoint)
        """
        self._write(self.folder / f"{_BATCH}{name}{_SUFFIX}", checkpoints)

    def _write(self, path: Path, checkpoints: Iterable[tuple[Trial, Checkpoint]]) -> None:
        make_folder(self.folder, self.mode)
        descriptor, name = tempfile.mkstemp(suffix=_PART, dir=self.folder)  # with mode 0600
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for trial, checkpoint in checkpoints:
                    content = self._content(trial, checkpoint)
                    file.write(_ENTRY.pack(trial.seed, sum(map(len, content))))
                    file.writelines(content)
                is_empty = not file.tell()
            if not is_empty:
                part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _content(self, trial: Trial, checkpoint: Checkpoint) -> list[bytes]:
        header = self._header(trial) | {"step": checkpoint.step, "kind": checkpoint.kind}
        head = json.dumps(header).encode()
        size = _SIZE.pack(len(head))
        return [_MAGIC, self._mark(head, checkpoint.state), size, head, checkpoint.state]

    def read(self, trial: Trial) -> Checkpoint | None:
        """Return the last checkpoint of a trial's training, or None if there is none.

        Raises
        ------
        CheckpointError
            If it is damaged, or was not made by this user for this training.
        """
        own, error = self.path(trial.seed), None
        files = [own, *self.folder.glob(f"{_BATCH}*{_SUFFIX}")]
        for path in sorted(filter(Path.exists, files), key=_written, reverse=True):
            try:
                content = _entry(path, trial.seed)
                if content is not None:
                    return self._checked(content, trial)
                if path == own:
                    raise CheckpointError(_DAMAGED)
            except CheckpointError as why:
                error = error or why
        if error is not None:
            raise error
        return None

    def _checked(self, content: bytes, trial: Trial) -> Checkpoint:
        mark_at, size_at = len(_MAGIC), len(_MAGIC) + _MARK_BYTES
        head_at = size_at + _SIZE.size
        state_at = head_at + int.from_bytes(content[size_at:head_at], "big")
        head, state = content[head_at:state_at], content[state_at:]
        is_ours = hmac.compare_digest(content[mark_at:size_at], self._mark(head, state))
        if not content.startswith(_MAGIC) or not is_ours:
            raise CheckpointError(_DAMAGED)
        header = json.loads(head)
        expected = json.loads(json.dumps(self._header(trial)))
        for name, value in expected.items():
            if header.get(name) != value:
                raise CheckpointError(
                    f"it was made with {name} {header.get(name)}, and not {value}"
                )
        return Checkpoint(header["step"], header["kind"], state)

    def _header(self, trial: Trial) -> dict[str, Any]:
        params = {name: repr(value) for name, value in sorted(trial.params.items())}
        return {**self.made_by, "seed": trial.seed, "params": params}

    def _mark(self, head: bytes, state: bytes) -> bytes:
        mark = hmac.new(self.key, head, hashlib.sha256)
        mark.update(b"\0")
        mark.update(state)
        return mark.digest()

    def remove(self, seed: int) -> None:
        """Remove the checkpoint of a training that has ended, if there is one.

        In a batch it is left out with the next write.
        """
        with suppress(OSError):
            self.path(seed).unlink(missing_ok=True)

    def sweep(self, seeds: AbstractSet[int]) -> None:
        """Remove the checkpoints of all trainings but these, and the folder if nothing is left."""
        known = {self.path(seed) for seed in seeds}
        for path in self.folder.glob(f"*{_SUFFIX}"):
            if path not in known and not seeds & _seeds_in(path):
                _remove(path)
        for path in self.folder.glob(f"*{_PART}"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _DEAD_SECONDS or not seeds:
                    _remove(path)
        with suppress(OSError):
            self.folder.rmdir()


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _seeds_in(path: Path) -> set[int]:
    """Return the seeds of the trainings in a batch's file; none if it is no such file."""
    if not path.name.startswith(_BATCH):
        return set()
    try:
        with path.open("rb") as file:
            return {seed for seed, _ in _index(file)}
    except OSError:
        return set()


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _entry(path: Path, seed: int) -> bytes | None:
    """Return the content of a training in a file; None if it is not in there.

    Raises
    ------
    CheckpointError
        If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for found, size in _index(file):
                if found == seed:
                    return file.read(size)
    except OSError as error:
        raise CheckpointError(f"it cannot be read ({error.strerror})") from None
    return None


def _index(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield the seed of each training in a file and the size of its content, which is next."""
    while len(head := file.read(_ENTRY.size)) == _ENTRY.size:
        seed, size = _ENTRY.unpack(head)
        at = file.tell()
        yield seed, size
        file.seek(at + size)
