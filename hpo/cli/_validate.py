"""``hpo validate``: check a study or a search space and print what it is; create nothing."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text
from skorch import NeuralNet

from hpo._discovery import build
from hpo._redaction import redact
from hpo.backends.base import BaseBackend
from hpo.cli._console import make_console, say
from hpo.cli._outcome import facts_table
from hpo.cli._storage import exists, storage_of
from hpo.cli._study_file import StudyFile, load_study_file
from hpo.cli._study_source import is_space_file
from hpo.cli._text import counted, number
from hpo.exceptions import HpoError, SpaceError
from hpo.pruners import BasePruner
from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.storage.studies import study_names
from hpo.study import Study, load_result
from hpo.study.session import Session, load_space
from hpo.trackers import BaseTracker
from hpo.training.adapters import last_step

__all__ = ["validate_file"]


def validate_file(path: Path, study_options: Mapping[str, Any]) -> None:
    """Check the study or search space at ``path`` and print what it is.

    Parameters
    ----------
    path : Path
    study_options : mapping of str to object
        Options of the study file's own that were given.

    Raises
    ------
    HpoError
        With every mistake that could be found.
    """
    console = make_console()
    if is_space_file(path):
        space = SearchSpace.load(path)
        say(console, f"{path} is in order.", style="green")
        _print_space(console, space)
        say(
            console,
            "\nIts names are checked against an estimator when a study that uses it is validated.",
            style="dim",
        )
        return
    file = load_study_file(path, study_options)
    storage = storage_of(file.study, None)
    study = file.study.replace(storage=storage)
    session = _session(study, file)
    stored = _stored(session)
    session.search.rehearse()
    say(console, f"{path} is in order; nothing was created.", style="green")
    say(console, facts_table([("", ""), *_options(file), *_facts(session, stored)]))
    _print_space(console, session.space)
    for note in session.search.notes:
        say(console, f"\nnote: {note}")


def _session(study: Study, file: StudyFile) -> Session:
    """Return the study made ready; on a mistake, look for others that do not hang on it."""
    try:
        session = Session(study, file.folder)
        session.tracker()
    except HpoError as first:
        problems = dict.fromkeys(_lines(first))
        for check in _checks(study, file.folder):
            try:
                check()
            except HpoError as error:
                problems |= dict.fromkeys(_lines(error))
        if len(problems) == 1:
            raise
        raise SpaceError(tuple(problems)) from None
    return session


def _checks(study: Study, folder: Path) -> list[Callable[[], Any]]:
    return [
        lambda: load_space(study, folder).check(study.estimator),
        lambda: build("hpo.pruners", study.pruner, BasePruner),
        lambda: make_sampler(study.sampler, study.seed, parallel=False),
        lambda: build("hpo.backends", study.backend, BaseBackend),
        lambda: build("hpo.trackers", study.tracker, BaseTracker, tracking_uri=study.tracking_uri),
    ]


def _lines(error: HpoError) -> tuple[str, ...]:
    return error.problems if isinstance(error, SpaceError) else (str(error),)


def _stored(session: Session) -> str:
    """Return what the storage has of the study; raise if its trials cannot be gone on with."""
    study = session.study
    if study.storage is None:
        return "memory: it ends with the process"
    shown = redact(study.storage)
    if not exists(study.storage):
        return f"{shown}, which the first run makes"
    session.search.read_additions(study.name, study.storage)
    if study.name not in study_names(study.storage):
        return f"{shown}, where it is new"
    session.ledger()
    result, _ = load_result(study.name, study.storage)
    return f"{shown}, which has {counted(result.n_trials, 'trial')} of it to go on from"


def _options(file: StudyFile) -> list[tuple[str, str]]:
    told = redact(", ".join(f"{name} {value}" for name, value in file.options.items()))
    return [("options", told)] if told else []


def _facts(session: Session, stored: str) -> list[tuple[str, str | Text]]:
    study, objective = session.study, session.search.objective
    train, valid = objective.splits[0]
    folds = counted(objective.n_folds, "fold")
    return [
        ("study", study.name),
        ("estimator", type(study.estimator).__name__),
        ("data", _shapes(session)),
        ("score", f"{session.search.score_name} over {folds}"),
        ("first fold", f"{len(train):,} samples to train on, {len(valid):,} to score"),
        *_rehearsal(study),
        ("budget", _budget(session)),
        ("sampler", _name(study.sampler)),
        ("pruner", _pruner(session)),
        ("backend", redact(study.backend)),
        ("trials at a time", _at_a_time(session)),
        ("storage", stored),
    ]


def _rehearsal(study: Study) -> list[tuple[str, str]]:
    net = isinstance(last_step(study.estimator), NeuralNet)
    return [("rehearsal", "a batch of each fold was trained on and scored")] if net else []


def _shapes(session: Session) -> str:
    data = session.data
    told = [f"X {_shape(data.X)}, y {_shape(data.y)}"]
    told += [f"test part {_shape(data.X_test)}, sealed"] if data.X_test is not None else []
    told += [f"refit on {_shape(data.X_refit)}"] if data.X_refit is not None else []
    return "; ".join(told)


def _shape(values: Any) -> str:
    if isinstance(values, Mapping):
        return "{" + ", ".join(f"{key}: {_shape(value)}" for key, value in values.items()) + "}"
    shape = getattr(values, "shape", None) or np.shape(values)
    return " x ".join(f"{n:,}" for n in shape)


def _budget(session: Session) -> str:
    study = session.study
    limits = [counted(study.n_trials, "trial")] if study.n_trials else []
    if session.search.grid is not None:
        limits.append(f"a grid of {counted(len(session.search.grid), 'point')}")
    limits += [f"{number(study.timeout)} s a run"] if study.timeout else []
    limits += [f"{study.max_total_epochs} epochs in all"] if study.max_total_epochs else []
    n_steps = session.search.objective.max_steps({})
    told = " or ".join(limits) or "none: the study runs until Ctrl-C"
    return f"{told}; {counted(n_steps, 'epoch')} a trial at most"


def _pruner(session: Session) -> str:
    if session.search.backend.prunes_itself:
        return "none: the backend's own scheduler stops trials"
    return _name(session.study.pruner)


def _at_a_time(session: Session) -> str:
    backend = session.search.backend
    if not backend.runs_trials_itself:
        return str(session.search.executor.capacity)
    most = getattr(backend, "max_concurrent", None)
    return "as many as the cluster holds" + (f", at most {most}" if most else "")


def _name(spec: Any) -> str:
    return spec if isinstance(spec, str) else type(spec).__name__


def _print_space(console: Console, space: SearchSpace) -> None:
    say(console, f"\nSearch space: {counted(len(space), 'parameter')}", style="bold")
    say(console, facts_table((name, space.describe(name)) for name in space))
