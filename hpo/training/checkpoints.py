"""The files in which trainings are put aside, so that the next driver of a study goes on with them.

A state is a pickle, and who writes one runs code as the user who loads it. So each file bears a
mark that nobody can make without a key of the user's own, and without that mark nothing of it is
read.
"""

import hashlib
import hmac
import json
import os
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo._own_files import make_folder
from hpo.trial import Trial

__all__ = ["Checkpoint", "CheckpointError", "CheckpointFiles"]

_MAGIC = b"hpo checkpoint 1\n"
_MARK_BYTES = hashlib.sha256().digest_size
_SIZE_BYTES = 8
_SUFFIX = ".checkpoint"
_PART = ".part"


class CheckpointError(Exception):
    """A checkpoint cannot be used; the message is the reason, without an end mark."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training that was put aside between two steps.

    Parameters
    ----------
    step : int
        Its last step, from 1.
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
    """The checkpoints of a study, one file for each training.

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
        """Return the file of the training with this seed; it may not exist."""
        return self.folder / f"{seed:016x}{_SUFFIX}"

    def write(self, trial: Trial, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint of a trial's training, at once or not at all.

        It is not flushed to the disk: a power cut may leave a damaged file, which is recognised.

        Raises
        ------
        OSError
            If that fails.
        """
        header = self._header(trial) | {"step": checkpoint.step, "kind": checkpoint.kind}
        head = json.dumps(header).encode()
        size = len(head).to_bytes(_SIZE_BYTES, "big")
        make_folder(self.folder, self.mode)
        descriptor, name = tempfile.mkstemp(suffix=_PART, dir=self.folder)  # with mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                mark = self._mark(head, checkpoint.state)
                for part in (_MAGIC, mark, size, head, checkpoint.state):
                    file.write(part)
            Path(name).replace(self.path(trial.seed))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def read(self, trial: Trial) -> Checkpoint | None:
        """Return the checkpoint of a trial's training, or None if there is none.

        Raises
        ------
        CheckpointError
            If it is damaged, or was not made by this user for this training.
        """
        try:
            content = self.path(trial.seed).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckpointError(f"it cannot be read ({error.strerror})") from None
        mark_at, size_at = len(_MAGIC), len(_MAGIC) + _MARK_BYTES
        head_at = size_at + _SIZE_BYTES
        state_at = head_at + int.from_bytes(content[size_at:head_at], "big")
        head, state = content[head_at:state_at], content[state_at:]
        is_ours = hmac.compare_digest(content[mark_at:size_at], self._mark(head, state))
        if not content.startswith(_MAGIC) or not is_ours:
            raise CheckpointError("it is damaged, or was not made by this user")
        header = json.loads(head)
        expected = json.loads(json.dumps(self._header(trial)))
        for name, value in expected.items():
            if header.get(name) != value:
                what = f"{name} {header.get(name)}, and not {value}"
                raise CheckpointError(f"it was made with {what}")
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
        """Remove the checkpoint of a training that has ended, if there is one."""
        with suppress(OSError):
            self.path(seed).unlink(missing_ok=True)

    def sweep(self, seeds: Collection[int]) -> None:
        """Remove the checkpoints of all trainings but these, and the folder if nothing is left.

        What another process is writing at this moment is left to it, and written again if it
        fails.
        """
        known = {self.path(seed) for seed in seeds}
        for path in self.folder.glob(f"*{_SUFFIX}"):
            if path not in known:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        if not seeds:
            for path in self.folder.glob(f"*{_PART}"):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()
