"""``hpo validate``: check and describe a study or a search space; create nothing."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from skorch import NeuralNet

from hpo._discovery import build
from hpo._redaction import redact
from hpo.backends.base import BaseBackend
from hpo.cli._console import make_console, print_line
from hpo.cli._json import print_json
from hpo.cli._storage import exists, storage_of
from hpo.cli._study_file import StudyFile, load_study_file, user_errors
from hpo.cli._study_source import is_space_file
from hpo.cli._tables import facts_table
from hpo.display.text import counted, number
from hpo.exceptions import HpoError, SpaceError
from hpo.pruners import BasePruner
from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.storage.studies import study_names
from hpo.study import Study, load_result
from hpo.study.prepared import PreparedStudy, load_space
from hpo.trackers import BaseTracker
from hpo.training.adapters import last_step

__all__ = ["validate_file"]


def validate_file(
    path: Path,
    study_options: Mapping[str, Any],
    *,
    as_json: bool = False,
    quiet: bool = False,
) -> None:
    """Check the study or search space at ``path`` and print its description.

    Parameters
    ----------
    path : Path
    study_options : mapping of str to object
        Options defined by the study file that were given.
    as_json : bool
        Print JSON instead.
    quiet : bool
        Print nothing of what is in order.

    Raises
    ------
    HpoError
        With all mistakes that were found.
    """
    facts: list[tuple[str, str]] = []
    notes: list[str] = []
    if is_space_file(path):
        space = SearchSpace.load(path)
    else:
        file = load_study_file(path, study_options)
        storage = storage_of(file.study, None)
        study = file.study.replace(storage=storage)
        with user_errors(path):
            prepared = _prepared(study, file)
            stored = _stored(prepared)
            prepared.search.rehearse()
        space, notes = prepared.space, prepared.search.notes
        facts = [*_options(file), *_facts(prepared, stored)]
    if as_json:
        described = {name: space.describe(name) for name in space}
        data = {"file": path, "in_order": True, "facts": dict(facts)}
        print_json({**data, "search_space": described, "notes": notes})
    elif not quiet:
        _print(path, space, facts, notes)


def _print(
    path: Path, space: SearchSpace, facts: Sequence[tuple[str, str]], notes: Sequence[str]
) -> None:
    console = make_console()
    nothing = "; nothing was created" if facts else ""
    print_line(console, f"{path} is in order{nothing}.", style="green")
    if facts:
        print_line(console, facts_table([("", ""), *facts]))
    _print_space(console, space)
    if not facts:
        print_line(
            console,
            "\nIts names are checked against an estimator when a study that uses it is validated.",
            style="dim",
        )
    for note in notes:
        print_line(console, f"\nnote: {note}")


def _prepared(study: Study, file: StudyFile) -> PreparedStudy:
    """Return the prepared study; after a mistake, look for further independent ones."""
    try:
        prepared = PreparedStudy(study, file.folder)
        prepared.tracker()
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
    return prepared


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


def _stored(prepared: PreparedStudy) -> str:
    """Describe the study's state in the storage; raise if it cannot be resumed."""
    study = prepared.study
    if study.storage is None:
        return "memory: it ends with the process"
    url = redact(study.storage)
    if not exists(study.storage):
        return f"{url}, which the first run makes"
    prepared.search.read_additions(study.name, study.storage)
    if study.name not in study_names(study.storage):
        return f"{url}, where it is new"
    prepared.store()
    result = load_result(study.name, study.storage)
    return f"{url}, which has {counted(result.n_trials, 'trial')} of it to go on from"


def _options(file: StudyFile) -> list[tuple[str, str]]:
    text = redact(", ".join(f"{name} {value}" for name, value in file.options.items()))
    return [("options", text)] if text else []


def _facts(prepared: PreparedStudy, stored: str) -> list[tuple[str, str]]:
    study, objective = prepared.study, prepared.search.objective
    train, valid = objective.splits[0]
    folds = counted(objective.n_folds, "fold")
    return [
        ("study", study.name),
        ("estimator", type(study.estimator).__name__),
        ("data", _shapes(prepared)),
        ("score", f"{prepared.search.score_name} over {folds}"),
        ("first fold", f"{len(train):,} samples to train on, {len(valid):,} to score"),
        *_rehearsal(study),
        ("budget", _budget(prepared)),
        ("sampler", _name(study.sampler)),
        ("pruner", _pruner(prepared)),
        ("backend", redact(study.backend)),
        ("trials at a time", _at_a_time(prepared)),
        ("storage", stored),
    ]


def _rehearsal(study: Study) -> list[tuple[str, str]]:
    net = isinstance(last_step(study.estimator), NeuralNet)
    return [("rehearsal", "a batch of each fold was trained on and scored")] if net else []


def _shapes(prepared: PreparedStudy) -> str:
    data = prepared.data
    texts = [f"X {_shape(data.X)}, y {_shape(data.y)}"]
    texts += [f"test part {_shape(data.X_test)}, held out"] if data.X_test is not None else []
    texts += [f"refit on {_shape(data.X_refit)}"] if data.X_refit is not None else []
    return "; ".join(texts)


def _shape(values: Any) -> str:
    if isinstance(values, Mapping):
        return "{" + ", ".join(f"{key}: {_shape(value)}" for key, value in values.items()) + "}"
    shape = getattr(values, "shape", None) or np.shape(values)
    return " x ".join(f"{n:,}" for n in shape)


def _budget(prepared: PreparedStudy) -> str:
    study = prepared.study
    limits = [counted(study.n_trials, "trial")] if study.n_trials else []
    if prepared.search.grid is not None:
        limits.append(f"a grid of {counted(len(prepared.search.grid), 'point')}")
    limits += [f"{number(study.timeout)} s a run"] if study.timeout else []
    limits += [f"{study.max_total_epochs} epochs in all"] if study.max_total_epochs else []
    n_steps = prepared.search.objective.max_steps({})
    text = " or ".join(limits) or "none: the study runs until Ctrl-C"
    seconds = f" and {number(study.trial_timeout)} s" if study.trial_timeout else ""
    return f"{text}; {counted(n_steps, 'epoch')}{seconds} a trial at most"


def _pruner(prepared: PreparedStudy) -> str:
    if prepared.search.backend.prunes_itself:
        return "none: the backend's own scheduler stops trials"
    return _name(prepared.study.pruner)


def _at_a_time(prepared: PreparedStudy) -> str:
    backend = prepared.search.backend
    if not backend.runs_trials_itself:
        return str(prepared.search.executor.capacity)
    limit = getattr(backend, "max_concurrent", None)
    return "as many as the cluster holds" + (f", at most {limit}" if limit else "")


def _name(spec: Any) -> str:
    return spec if isinstance(spec, str) else type(spec).__name__


def _print_space(console: Console, space: SearchSpace) -> None:
    print_line(console, f"\nSearch space: {counted(len(space), 'parameter')}", style="bold")
    print_line(console, facts_table((name, space.describe(name)) for name in space))
