"""Read a study back from its storage."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpo.out_of_fold_files import OUT_OF_FOLD, OutOfFoldFiles
from hpo.result import StudyResult
from hpo.space import SearchSpace
from hpo.storage.stored_study import StoredStudy
from hpo.storage.studies import study_names, versioned_name
from hpo.storage.study_facts import files_folder
from hpo.storage.urls import is_there
from hpo.study._corrected import CORRECTED, read_corrected
from hpo.study.kept_files import files_kept

__all__ = ["FINALISTS", "load_result", "nothing_scored", "read_finalists"]

FINALISTS = "finalists"
"""Attribute of the study with the scores of the finalists on fresh folds."""


def load_result(name: str, storage: str) -> tuple[StudyResult, SearchSpace | None]:
    """Read a study, finished or still running, from its storage.

    Parameters
    ----------
    name : str
        Name of the study. If it was started afresh, this is the newest one; ``name@1`` is the
        first.
    storage : str

    Returns
    -------
    tuple of StudyResult and SearchSpace
        The space is None for a study that hpo did not make.

    Raises
    ------
    StorageError
        If the storage cannot be read or has no such study.
    """
    first = name.removesuffix("@1")
    stored = first if first != name else versioned_name(name, storage, fresh=False)
    store = StoredStudy(stored, storage)
    text = store.get_attr("space")
    space = SearchSpace.loads(text, source=store.name) if text else None
    result = StudyResult(
        name=store.name,
        records=tuple(store.records(running=True)),
        seconds=store.get_attr("seconds"),
        key=store.key,
        fingerprint=store.get_attr("fingerprint") or {},
        files=files_kept(store.key),
        out_of_fold=OutOfFoldFiles(files_folder(store) / OUT_OF_FOLD),
        **_search_settings(store),
        finalists=read_finalists(store),
        **read_corrected(store.get_attr(CORRECTED)),
    )
    winner = None if result.winner is None else result.winner.number
    refit, failed = store.get_attr("refit") or {}, store.get_attr("refit_error") or {}
    if winner is not None and winner == refit.get("number"):
        outcome = {key: refit[key] for key in refit if key not in {"number", "mark", "driver"}}
        if outcome.get("test_interval") is not None:
            outcome["test_interval"] = tuple(outcome["test_interval"])
        result = replace(result, **outcome)
    if winner is not None and winner == failed.get("number"):
        result = replace(result, refit_error=failed["text"])
    return result, space


def read_finalists(store: StoredStudy) -> dict[int, Sequence[float]]:
    """Return the scores of the finalists on fresh folds, by trial number."""
    stored: Mapping[str, Sequence[float]] = store.get_attr(FINALISTS) or {}
    return {int(number): tuple(values) for number, values in stored.items()}


def _search_settings(store: StoredStudy) -> dict[str, Any]:
    """Return the settings of the search that were stored for displaying the result."""
    shown = store.get_attr("shown")
    if shown is None:  # an older study, or none of hpo's
        old = {"scoring": store.get_attr("scoring"), "costs": tuple(store.get_attr("costs") or ())}
        return {name: value for name, value in old.items() if value}
    sizes = tuple((train, valid) for train, valid in shown.pop("fold_sizes"))
    names = {name: tuple(shown[name]) for name in ("costs", "compare", "watch")}
    points = tuple(shown.get("enqueued", ()))
    choose = shown.get("choose", "best")
    settings = {"scoring": shown["scoring"], "enqueued": points, "choose": choose}
    return {**settings, "fold_sizes": sizes, **names}


def nothing_scored(name: str, storage: str | None) -> bool:
    """Return whether the newest study of a name is stored and none of its trials has a score."""
    if storage is None or not is_there(storage):
        return False
    stored = versioned_name(name, storage, fresh=False)
    if stored not in study_names(storage):
        return False
    records = StoredStudy(stored, storage).records(running=True)
    return not any(record.reports for record in records)
