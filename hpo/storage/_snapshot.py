"""A snapshot of a journal: a shorter journal to the same effect, in a file beside it.

It has what creates and changes studies as it stands in the journal, and in place of all lines of a
trial a single one, which creates the trial as they have left it. It counts only for the very bytes
of the journal from which it was made: their hash is in it. What was appended since is read from
the journal, which stays the truth: a snapshot that is damaged, of another journal or that cannot
be written costs time and nothing else. Nothing in it is unpickled.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from hpo._own_files import mode_of
from hpo.storage.records import REPORT

__all__ = [
    "CREATE_TRIAL",
    "Snapshot",
    "folded",
    "folded_entry",
    "load_snapshot",
    "save_snapshot",
    "snapshot_of",
]

CREATE_TRIAL = 4
"""Operation of the entry that creates a trial (Optuna's `JournalOperation`)."""

_FORMAT = f"hpo 1, optuna {optuna.__version__}"
"""Another version of Optuna may read the same journal in another way."""

_CHUNK = 1 << 20


class Snapshot(NamedTuple):
    """What stands for the beginning of a journal.

    Parameters
    ----------
    size : int
        For how many bytes of the journal it stands.
    n_lines : int
        For how many lines.
    hash : hashlib's object
        SHA-256 of those bytes.
    lines : tuple of bytes
        Its own lines, without line breaks.
    """

    size: int
    n_lines: int
    hash: Any
    lines: tuple[bytes, ...]


def snapshot_of(journal: Path) -> Path:
    """Return the path of the snapshot of a journal."""
    return journal.with_name(f"{journal.name}.snapshot")


def load_snapshot(journal: Path) -> Snapshot | None:
    """Return the snapshot of a journal; None without one that stands for how the journal begins."""
    path = snapshot_of(journal)
    with suppress(OSError, ValueError, KeyError, TypeError):
        if not _trusted(path, journal):
            return None
        with path.open("rb") as file:
            told, content = json.loads(file.readline()), file.read()
        if told["format"] == _FORMAT and told["content"] == hashlib.sha256(content).hexdigest():
            found = _hash(journal, told["size"])
            if told["journal"] == found.hexdigest():
                lines = tuple(content.split(b"\n"))
                return Snapshot(told["size"], told["lines"], found, lines)
    return None


def save_snapshot(journal: Path, snapshot: Snapshot) -> None:
    """Write the snapshot of a journal, if its folder allows it."""
    path = snapshot_of(journal)
    content = b"\n".join(snapshot.lines)
    told = {
        "format": _FORMAT,
        "lines": snapshot.n_lines,
        "size": snapshot.size,
        "journal": snapshot.hash.hexdigest(),
        "content": hashlib.sha256(content).hexdigest(),
    }
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode_of(journal))
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"%s\n%s" % (json.dumps(told).encode(), content))
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)


def folded(
    outline: Iterable[bytes | int],
    trials: Mapping[int, Sequence[FrozenTrial]],
    before: Iterable[bytes],
) -> tuple[bytes, ...]:
    """Return the lines of a snapshot; none if they would not have the effect of the journal.

    Parameters
    ----------
    outline : iterable of bytes or int
        In the order of the journal: a line that creates or changes a study as it is; for one that
        creates a trial, the number of the trial's study.
    trials : mapping of int to sequence of FrozenTrial
        The trials of each study that has not been deleted.
    before : iterable of bytes
        The lines of an earlier snapshot of this journal: trials that had ended are as they were.
    """
    ended = [line for line in before if line.startswith(_TRIAL)]
    lines, n_trials, taken = [], 0, dict.fromkeys(trials, 0)
    for item in outline:
        if isinstance(item, bytes):
            lines.append(item)
            continue
        line = ended[n_trials] if n_trials < len(ended) else b""
        number = taken.get(item, 0)
        if item in trials and number >= len(trials[item]):
            return ()  # one of the lines had no effect
        if b"\t" not in line:
            line = _line(trials[item][number], item) if item in trials else _deleted(item)
        lines.append(line)
        n_trials += 1
        taken[item] = number + 1
    if any(taken[study_id] != len(those) for study_id, those in trials.items()):
        return ()
    return tuple(lines)


def folded_entry(line: bytes) -> dict[str, Any] | None:
    """Return the entry of a line of a snapshot that makes a trial; None for any other line."""
    if not line.startswith(_TRIAL):
        return None
    text, _, reports = line.partition(b"\t")
    entry: dict[str, Any] = json.loads(text)
    if reports:
        entry["system_attrs"] = _Attributes(entry["system_attrs"], reports)
    return entry


def _line(trial: FrozenTrial, study_id: int) -> bytes:
    """Return the line that creates a trial as it is.

    The reports of one that has ended stand behind a tab, which is in no JSON, and are read when
    somebody asks for them.
    """
    ended = trial.state.is_finished()
    attrs = dict(trial.system_attrs)
    reports = {key: attrs.pop(key) for key in [*attrs] if ended and key.startswith(REPORT)}
    complete = trial.datetime_complete
    entry = {
        "study_id": study_id,
        "state": trial.state,
        "values": trial.values,
        "datetime_start": trial.datetime_start and _utc(trial.datetime_start),
        **({"datetime_complete": _utc(complete)} if complete else {}),
        "params": {name: _internal(trial, name) for name in trial.params},
        "distributions": {
            name: distribution_to_json(each) for name, each in trial.distributions.items()
        },
        "user_attrs": trial.user_attrs,
        "system_attrs": attrs,
        "intermediate_values": trial.intermediate_values,
    }
    return _trial_line(entry) + (b"\t" + _dump(reports) if reports else b"")


def _deleted(study_id: int) -> bytes:
    """Return the line of a trial that went with its study: it only counts."""
    entry = {"study_id": study_id, "datetime_start": None, "state": OptunaState.FAIL}
    return _trial_line(entry)


def _trial_line(entry: Mapping[str, Any]) -> bytes:
    return _dump({"op_code": CREATE_TRIAL, "worker_id": "", **entry})


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


_TRIAL = _trial_line({})[:-1]


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _internal(trial: FrozenTrial, name: str) -> float:
    """Return a parameter as a journal has it; Optuna itself takes True for 1 among choices."""
    distribution, value = trial.distributions[name], trial.params[name]
    if isinstance(distribution, CategoricalDistribution):
        choices = enumerate(distribution.choices)
        return next(i for i, choice in choices if choice is value)
    return float(distribution.to_internal_repr(value))


def _trusted(path: Path, journal: Path) -> bool:
    """Return whether one who may write the journal has written its snapshot."""
    if not hasattr(os, "getuid"):
        return True
    return path.lstat().st_uid in {0, os.getuid(), journal.stat().st_uid}


def _hash(path: Path, size: int) -> Any:
    """Return the hash of the first ``size`` bytes of a file; raise `ValueError` if it has less."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while size:
            chunk = file.read(min(size, _CHUNK))
            if not chunk:
                raise ValueError("the file is shorter")
            found.update(chunk)
            size -= len(chunk)
    return found


class _Attributes(dict[str, Any]):
    """System attributes of a trial, of which those of the reports are read when asked for."""

    def __init__(self, known: Mapping[str, Any], unread: bytes) -> None:
        super().__init__(known)
        self._unread = unread

    def _read(self) -> dict[str, Any]:
        unread, self._unread = self._unread, b""
        if unread:
            super().update(json.loads(unread))
        return self

    def __missing__(self, key: str) -> Any:
        if self._unread and key.startswith(REPORT):
            return self._read()[key]
        raise KeyError(key)

    def get(self, key: str, default: Any = None) -> Any:
        if isinstance(key, str) and key.startswith(REPORT):
            self._read()
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        if isinstance(key, str) and key.startswith(REPORT):
            self._read()
        return super().__contains__(key)

    # Whatever else is asked concerns all of them.

    def __iter__(self) -> Iterator[str]:
        self._read()
        return super().__iter__()

    def __len__(self) -> int:
        self._read()
        return super().__len__()

    def __eq__(self, other: object) -> bool:
        self._read()
        return super().__eq__(other)

    __hash__ = None

    def __repr__(self) -> str:
        self._read()
        return super().__repr__()

    def __or__(self, other: Any) -> Any:
        return dict(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self)

    def keys(self) -> Any:
        self._read()
        return super().keys()

    def values(self) -> Any:
        self._read()
        return super().values()

    def items(self) -> Any:
        self._read()
        return super().items()

    def copy(self) -> dict[str, Any]:
        return dict(self)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)
