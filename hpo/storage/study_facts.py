"""What a storage holds of a study besides its trials: settings, drivers, results and files."""

import dataclasses
import hashlib
import json
import socket
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo._own_files import make_folder, mode_of
from hpo._stored_model import StoredModel
from hpo.data.folder import cache_folder
from hpo.observer import StudyInfo
from hpo.storage.drivers import driver_lives
from hpo.storage.stored_study import ALIVE, StoredStudy
from hpo.storage.trial_store import TrialStore
from hpo.storage.unsaved import is_unsaved
from hpo.storage.urls import shown
from hpo.trial import Cause, TrialRecord, TrialState

__all__ = [
    "BEST_TRIAL",
    "MODEL",
    "MODEL_ERROR",
    "MODEL_FACTS",
    "StudyRecord",
    "begin_session",
    "current_records",
    "end_session",
    "files_folder",
    "has_model",
    "mode_of_files",
    "model_files",
    "read_study",
    "stored_model",
    "stored_settings",
]

BEST_TRIAL = "best_trial"
"""Name of the result that is the number of the winner."""
MODEL = "model.pkl"
"""Name of the file with the refitted winner, a pickle."""
MODEL_FACTS = "model.json"
"""Name of the file that tells of it what makes a model of MLflow: rows, signature, packages."""
MODEL_ERROR = "model_error.txt"
"""Name of the file with the traceback of a winner that could not be pickled."""

_SETTINGS = "settings"
_RESULTS = "results"
_DRIVER = "session:"


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study as its storage holds it, without its trials.

    Parameters
    ----------
    name : str
        Name of the study.
    key : str
        Identifies the study across restarts and machines.
    params : mapping of str to object
        The study's settings (backend, sampler, pruner, seed, n_folds, ...).
    tags : mapping of str to str
        The environment: versions of the main packages, git commit, host.
    texts : mapping of str to str
        File name to text: the study file, the search space.
    data : mapping of str to object
        See `StudyInfo`.
    state : {"running", "complete", "failed", "interrupted"}
        Running while one of its drivers lives; interrupted also if the last one has died.
    started : float
        When its first driver began, in seconds since the epoch.
    ended : float or None
        When its last driver ended; None while it runs.
    metrics : mapping of str to float
        ``best_score``, ``test_score``, ``n_trials``, ...
    results : mapping of str to object
        ``best_<name>`` of each parameter of the winner, and ``trained_by``: the numbers of
        trials by how they were trained.
    files : mapping of str to Path
        Name to file: report, plots, the refitted model.
    drivers : frozenset of str
        Names of its living drivers.
    searched : tuple of str
        Names of the parameters of its search space.
    storage : str
        The storage, without passwords; empty if it is removed once the target has all.
    """

    name: str
    key: str
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    state: str = "complete"
    started: float = 0.0
    ended: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    drivers: frozenset[str] = frozenset()
    searched: tuple[str, ...] = ()
    storage: str = ""

    @property
    def shared(self) -> bool:
        """Whether it has a living driver on another machine."""
        return bool({driver.partition("/")[0] for driver in self.drivers} - {socket.gethostname()})

    @property
    def mark(self) -> str:
        """A short text that changes with the content."""
        content = dataclasses.asdict(self) | {"drivers": None}
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def begin_session(store: TrialStore, info: StudyInfo) -> None:
    """Store the settings of a study, and that this driver has begun to run it."""
    before = store.get_attr(_SETTINGS) or {}
    now = time.time()
    settings = {
        "params": {name: _plain(value) for name, value in info.params.items()},
        "tags": dict(info.tags),
        "texts": dict(info.artifacts),
        "data": dict(info.data),
        "started": before.get("started", now),
    }
    store.set_attr(_SETTINGS, settings)
    store.set_attr(f"{_DRIVER}{store.driver}", {"state": "running", "time": now})


def end_session(
    store: TrialStore,
    metrics: Mapping[str, float],
    results: Mapping[str, Any],
    files: Mapping[str, Path],
    state: str,
    *,
    finished: bool = True,
) -> str:
    """Store the results of a study, and that this driver has ended.

    Parameters
    ----------
    store : TrialStore
    metrics, results
        See `StudyRecord`.
    files : mapping of str to Path
        Name to a local file, which is copied: beside the file of the storage, or into the cache
        folder if the storage is a server.
    state : {"complete", "failed", "interrupted"}
    finished : bool, default=True
        False if another driver finishes the study: the results are then its own.

    Returns
    -------
    str
        A note for the user; empty if all files could be copied.
    """
    from optuna.artifacts import FileSystemArtifactStore  # loads clients of servers

    ended = {"state": state, "time": time.time()}
    if not finished:
        store.set_attr(f"{_DRIVER}{store.driver}", ended)
        store.save_snapshot()
        return ""
    folder, mode = files_folder(store), mode_of_files(store)
    kept, note = [], ""
    for name, path in files.items():
        try:
            make_folder((folder / name).parent, mode)
            with path.open("rb") as file:
                FileSystemArtifactStore(folder).write(name, file)
            kept.append(name)
        except (OSError, ValueError) as error:
            note = f"The file '{name}' of the study could not be stored in {folder}: {error}."
    if not {MODEL, MODEL_ERROR} & {*kept}:
        kept += _kept_model(store, results.get(BEST_TRIAL))
    plain = {name: _plain(value) for name, value in results.items()}
    store.set_attr(_RESULTS, {"metrics": dict(metrics), "results": plain, "files": kept})
    store.set_attr(f"{_DRIVER}{store.driver}", ended | {"time": time.time()})
    store.save_snapshot()
    return note


def stored_settings(store: StoredStudy) -> dict[str, Any]:
    """Return the settings of a study and the versions it was run with; empty if unknown."""
    settings = store.get_attr(_SETTINGS) or {}
    return {**settings.get("params", {}), **settings.get("tags", {})}


def stored_model(store: StoredStudy, winner: int) -> StoredModel | None:
    """Return the refitted winner that is kept with a study; None if there is none of this trial."""
    facts = _model_facts(store)
    if facts.get("trial") != winner:
        return None
    return StoredModel(files_folder(store) / MODEL, str(facts.get("sha256", "")))


def has_model(store: StoredStudy, winner: int) -> bool:
    """Return whether the refit of a trial is kept with a study, or why it cannot be pickled.

    Files of a study on a server may be on another machine.
    """
    if _kept_model(store, winner):
        return True
    results = store.get_attr(_RESULTS) or {}
    same = results.get("results", {}).get(BEST_TRIAL) == winner
    return same and store.file is None and MODEL in results.get("files", ())


def model_files(files: Mapping[str, Path]) -> dict[str, Path]:
    """Return which of a study's files make up the model; empty if it has none."""
    if MODEL not in files or MODEL_FACTS not in files:
        return {}
    facts = json.loads(files[MODEL_FACTS].read_text(encoding="utf-8"))
    own = {name: files[name] for name in facts["files"] if name in files}
    return {MODEL: files[MODEL], MODEL_FACTS: files[MODEL_FACTS], **own}


def _kept_model(store: StoredStudy, winner: Any) -> list[str]:
    """Return the files of the model of an earlier run, if the winner is still the same."""
    facts = _model_facts(store)
    if winner is not None and facts.get("trial") == winner:
        return [MODEL, MODEL_FACTS, *facts.get("files", ())]
    before = store.get_attr(_RESULTS) or {}
    same = winner is not None and before.get("results", {}).get(BEST_TRIAL) == winner
    return [MODEL_ERROR] if same and MODEL_ERROR in before.get("files", ()) else []


def _model_facts(store: StoredStudy) -> dict[str, Any]:
    """Return what is told of the stored model; empty if there is none."""
    if MODEL not in (store.get_attr(_RESULTS) or {}).get("files", ()):
        return {}
    try:
        facts = json.loads((files_folder(store) / MODEL_FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def read_study(store: StoredStudy, gone: Collection[str] = ()) -> StudyRecord:
    """Return the study as it stands in its storage.

    Parameters
    ----------
    store : StoredStudy
    gone : collection of str
        Drivers that are known to be dead.
    """
    attrs = store.attrs
    settings, results = attrs.get(_SETTINGS, {}), attrs.get(_RESULTS, {})
    drivers, ended, state = set(), 0.0, "complete"
    for name in (name for name in attrs if name.startswith(_DRIVER)):
        driver, session = name.removeprefix(_DRIVER), attrs[name]
        last, session_state = session["time"], session["state"]
        if session_state == "running":
            last = max(last, float(attrs.get(f"{ALIVE}{driver}", 0.0)))
            if driver not in gone and driver_lives(driver, last):
                drivers.add(driver)
                continue
            session_state = "interrupted"
        if last >= ended:
            ended, state = last, session_state
    if not (ended or drivers):  # an older study, or another program's, says nothing of its drivers
        ended = max((r.ended or 0.0 for r in store.records()), default=0.0)
    folder = files_folder(store)
    files = {name: folder / name for name in results.get("files", ())}
    return StudyRecord(
        name=store.name,
        key=store.key,
        params=settings.get("params", {}),
        tags=settings.get("tags", {}),
        texts=settings.get("texts", {}),
        data=settings.get("data", {}),
        state="running" if drivers else state,
        started=settings.get("started", ended),
        ended=None if drivers else max(ended, settings.get("started", ended)),
        metrics=results.get("metrics", {}),
        results=results.get("results", {}),
        files={name: path for name, path in files.items() if path.is_file()},
        drivers=frozenset(drivers),
        searched=tuple(store.space),
        storage="" if store.url is None or is_unsaved(store.url) else shown(store.url),
    )


def current_records(store: StoredStudy, gone: Collection[str] = ()) -> list[TrialRecord]:
    """Return the records of all trials; a dead driver's running trials are interrupted.

    Nothing is changed in the storage, so that this may be asked by any process.
    """
    abandoned = store.abandoned(gone)
    return [
        _interrupted(record)
        if record.number in abandoned and record.state is TrialState.RUNNING
        else record
        for record in store.records(running=True)
    ]


def _interrupted(record: TrialRecord) -> TrialRecord:
    last = record.last_reported.time if record.last_reported else 0.0
    return dataclasses.replace(
        record,
        state=TrialState.INTERRUPTED,
        cause=Cause.DRIVER_DIED,
        reason="the process that ran it is gone",
        ended=max(last, record.started or 0.0),
    )


def files_folder(store: StoredStudy) -> Path:
    """Return the folder of a study's files: beside its storage, or in the cache of this user."""
    path = store.file
    root = cache_folder() / "studies" if path is None else path.with_name(f"{path.name}.files")
    return root / store.key


def mode_of_files(store: StoredStudy) -> int:
    """Return the permissions of the folder: who may read the storage may read the files."""
    return mode_of(store.file or files_folder(store), folder=True)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
