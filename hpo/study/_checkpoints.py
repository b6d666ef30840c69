"""The checkpoints of a study: where they are, and that none outlives its training."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

from hpo._own_files import is_own, make_folder
from hpo.data.folder import cache_folder
from hpo.observer import BaseObserver
from hpo.storage.study_facts import files_folder, mode_of_files
from hpo.storage.trial_store import TrialStore
from hpo.study._fingerprint import summary
from hpo.training.checkpoints import CheckpointFiles
from hpo.trial import Cause, TrialRecord, TrialState

__all__ = ["CheckpointKeeper", "checkpoint_files", "note_on_resumed"]

_LIBRARIES = ("hpo-torch", "torch", "skorch", "scikit-learn", "numpy")
"""A state of other versions may not load, or go on in another way."""

_SECRET_BYTES = 32
_VOID = {Cause.REVOKED, Cause.RETRIED}


def checkpoint_files(store: TrialStore, fingerprint: Mapping[str, Any]) -> CheckpointFiles:
    """Return the checkpoints of a study, beside its storage.

    Parameters
    ----------
    store : TrialStore
    fingerprint : mapping of str to object
        What the scores of the study depend on.

    Raises
    ------
    OSError
        If this user cannot have a secret.
    """
    made_by = {name: _version(name) for name in _LIBRARIES}
    made_by |= {"python": python_version(), "study": store.key}
    made_by["fingerprint"] = summary(fingerprint) if fingerprint else ""
    key = hmac.digest(_secret(), store.key.encode(), hashlib.sha256)
    return CheckpointFiles(files_folder(store) / "checkpoints", key, made_by, mode_of_files(store))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # hpo itself, run from its folder
        return ""


def _secret() -> bytes:
    """Return the secret of this user, by which hpo knows the pickles that it has written itself.

    It has a folder of its own in the cache; whoever removes it has the checkpoints ignored.
    """
    path = cache_folder() / "checkpoints" / "key"
    if not path.exists():
        make_folder(path.parent)
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
        with suppress(FileExistsError):  # of two processes the first one makes it
            os.link(part, path)
        part.unlink()
    if not is_own(path):
        raise PermissionError(f"{path} is not this user's alone")
    secret = path.read_bytes()
    if len(secret) != _SECRET_BYTES:
        raise ValueError(f"{path} is damaged: remove it")
    return secret


class CheckpointKeeper(BaseObserver):
    """Removes the checkpoints of trainings that have ended.

    Parameters
    ----------
    files : CheckpointFiles
    """

    def __init__(self, files: CheckpointFiles) -> None:
        self._files = files

    def sweep(self, records: Iterable[TrialRecord]) -> None:
        """Remove the checkpoints of all trainings but those that may be gone on with."""
        last = {r.trial.seed: r for r in sorted(records, key=lambda record: record.number)}
        self._files.sweep(
            {s for s, r in last.items() if r.state is TrialState.RUNNING or _goes_on(r)}
        )

    def on_trial_end(self, record: TrialRecord) -> None:
        """Remove the checkpoint of the trial, unless it is interrupted."""
        if not _goes_on(record):
            self._files.remove(record.trial.seed)


def _goes_on(record: TrialRecord) -> bool:
    return record.interrupted and record.cause not in _VOID


def note_on_resumed(records: Iterable[TrialRecord]) -> str:
    """Return a note on the trials that went on with interrupted ones; empty if there are none."""
    resumed = [
        f"trial {trial.number} from epoch {trial.resumed_step} of trial {trial.resumed_from}"
        for trial in (record.trial for record in records)
        if trial.resumed_from is not None
    ]
    if not resumed:
        return ""
    more = f" and {len(resumed) - 3} more" if len(resumed) > 3 else ""
    return f"Gone on with where they were put aside: {', '.join(resumed[:3])}{more}."
