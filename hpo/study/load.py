"""Read a study back from its storage."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpo._stored_model import MissingModel
from hpo.out_of_fold_files import OUT_OF_FOLD, OutOfFoldFiles
from hpo.result import StudyResult
from hpo.space import SearchSpace
from hpo.storage.reader import StorageReader
from hpo.storage.stored_study import StoredStudy
from hpo.storage.studies import newest_of
from hpo.storage.study_facts import (
    MODEL_ERROR,
    files_folder,
    has_model,
    stored_model,
    stored_settings,
)
from hpo.storage.urls import is_there
from hpo.study._corrected import CORRECTED, read_corrected
from hpo.study.kept_files import files_kept
from hpo.trial import TrialRecord

__all__ = [
    "ENDING",
    "FINALISTS",
    "NESTED",
    "load_result",
    "nothing_scored",
    "read_finalists",
    "read_outline",
    "read_result",
]

ENDING = "ending"
"""Attribute of the study with why its last run stopped, and the notes of that run."""
FINALISTS = "finalists"
"""Attribute of the study with the scores of the finalists on fresh folds."""
NESTED = "nested"
"""Attribute of the study with the scores of the outer folds."""


def load_result(name: str, storage: str) -> StudyResult:
    """Read a study, finished or still running, from its storage.

    The result is that of `run_study`, as far as it is stored: all but ``resolved_params``, for
    which classes are imported (``space.resolve(best_params)``). The refitted ``estimator`` is
    loaded when it is asked for.

    Parameters
    ----------
    name : str
        Name of the study. If it was started afresh, this is the newest one; ``name@1`` is the
        first.
    storage : str

    Returns
    -------
    StudyResult
        Its ``space`` is None for a study that hpo did not make.

    Raises
    ------
    StorageError
        If the storage cannot be read or has no such study.
    """
    return read_result(StorageReader(storage), name)


def read_result(reader: StorageReader, name: str) -> StudyResult:
    """Read a study from an opened storage; see `load_result`."""
    store = reader.study(reader.stored_name(name))
    return _with_refit(store, _result(store, store.records(running=True)))


def read_outline(reader: StorageReader, name: str, *, n_whole: int = 1) -> StudyResult:
    """Read of a study what is shown of it in a few lines; see `load_result`.

    The winner and the ``n_whole`` best trials are as they are; of the others the result has
    outlines (`StoredStudy.outlines`), unless values are compared or the rule that chooses the
    winner looks at more than scores.
    """
    store = reader.study(reader.stored_name(name))
    settings = _search_settings(store)
    if (n_whole > 1 and settings.get("compare")) or settings.get("choose") == "one_se":
        return read_result(reader, name)
    outline = _result(store, store.outlines())
    shown = {record.number for record in outline.top(n_whole)}
    if outline.winner is not None:
        shown.add(outline.winner.number)
    records = (store.record(r.number) if r.number in shown else r for r in outline.records)
    return _with_refit(store, replace(outline, records=tuple(records)))


def _result(store: StoredStudy, records: Sequence[TrialRecord]) -> StudyResult:
    return StudyResult(
        name=store.name,
        records=tuple(records),
        seconds=store.get_attr("seconds"),
        key=store.key,
        fingerprint=store.get_attr("fingerprint") or {},
        files=files_kept(store.key),
        out_of_fold=OutOfFoldFiles(files_folder(store) / OUT_OF_FOLD),
        space=_space(store),
        settings=stored_settings(store),
        **_ending(store),
        **_search_settings(store),
        finalists=read_finalists(store),
        nested=tuple(store.get_attr(NESTED) or ()),
        **read_corrected(store.get_attr(CORRECTED)),
    )


def _space(store: StoredStudy) -> SearchSpace | None:
    return store.space if store.get_attr("space") else None


def _ending(store: StoredStudy) -> dict[str, Any]:
    """Return how the last run of the study ended, as it was stored."""
    stored = store.get_attr(ENDING) or {}
    return {"stopped": stored.get("stopped", ""), "notes": tuple(stored.get("notes", ()))}


def _with_refit(store: StoredStudy, result: StudyResult) -> StudyResult:
    winner = None if result.winner is None else result.winner.number
    refit, failed = store.get_attr("refit") or {}, store.get_attr("refit_error") or {}
    if winner is not None and winner == refit.get("number"):
        outcome = {key: refit[key] for key in refit if key not in {"number", "mark", "driver"}}
        if outcome.get("test_interval") is not None:
            outcome["test_interval"] = tuple(outcome["test_interval"])
        result = replace(result, **outcome)
    if winner is not None and winner == failed.get("number"):
        result = replace(result, refit_error=failed["text"])
    model = None if winner is None else stored_model(store, winner)
    return replace(result, refitted=model or MissingModel(_why_no_model(store, result, refit)))


def _why_no_model(store: StoredStudy, result: StudyResult, refit: Mapping[str, Any]) -> str:
    """Return why a study has no refitted winner here, and what to do."""
    start = f"The study '{store.name}' has no refitted winner"
    again = "Run it again (`hpo run`, or `run_study`): no trial is trained anew, only the winner."
    if result.winner is None:
        return f"{start}: none of its trials is complete."
    number = result.winner.number
    if result.refit_error:
        return f"{start}: the refit of trial {number} failed (`hpo show {store.name}`). {again}"
    if refit.get("number") != number:
        return (
            f"{start}: its run has not ended yet, or refit=False left it out. The best trial is "
            f"{number}. {again}"
        )
    folder = files_folder(store)
    if (folder / MODEL_ERROR).exists():
        return f"{start}: trial {number} could not be pickled, see {folder / MODEL_ERROR}."
    if has_model(store, number):
        return (
            f"{start} on this machine. Export it on the one that ran the study, or refit it here "
            "with `run_study`."
        )
    return (
        f"{start} in {folder}: it was not kept there (by an older hpo with the tracker null, or "
        f"with null:keep_model=false), or its files are gone. {again}"
    )


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
    reader = StorageReader(storage)
    stored = newest_of(name, reader.names)
    if stored not in reader.names:
        return False
    records = reader.study(stored).records(running=True)
    return not any(record.all_reports for record in records)
