"""Read a study back from its storage."""

from dataclasses import replace
from typing import Any

from hpo.result import StudyResult
from hpo.space import SearchSpace
from hpo.storage.open import is_there
from hpo.storage.studies import study_names, versioned_name
from hpo.storage.trial_store import TrialStore
from hpo.study.kept_files import files_kept

__all__ = ["load_result", "nothing_scored"]


def load_result(name: str, storage: str) -> tuple[StudyResult, SearchSpace | None]:
    """Read a study, finished or still running, from its storage.

    Parameters
    ----------
    name : str
        The newest of a name that was started afresh; ``name@1`` is its first.
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
    exact = name.removesuffix("@1")
    stored = exact if exact != name else versioned_name(name, storage, fresh=False)
    store = TrialStore(stored, None, storage, create=False)
    text = store.get_attr("space")
    space = SearchSpace.loads(text, source=store.name) if text else None
    result = StudyResult(
        name=store.name,
        records=tuple(store.records(running=True)),
        seconds=store.get_attr("seconds"),
        key=store.key,
        fingerprint=store.get_attr("fingerprint") or {},
        files=files_kept(store.key),
        **_shown(store),
    )
    winner = None if result.winner is None else result.winner.number
    refit, failed = store.get_attr("refit") or {}, store.get_attr("refit_error") or {}
    if winner is not None and winner == refit.get("number"):
        told = {key: refit[key] for key in refit if key not in {"number", "mark"}}
        result = replace(result, **told)
    if winner is not None and winner == failed.get("number"):
        result = replace(result, refit_error=failed["text"])
    return result, space


def _shown(store: TrialStore) -> dict[str, Any]:
    """Return what was noted of the search for those who look at it."""
    shown = store.get_attr("shown")
    if shown is None:  # an older study, or none of hpo's
        old = {"scoring": store.get_attr("scoring"), "costs": tuple(store.get_attr("costs") or ())}
        return {name: value for name, value in old.items() if value}
    sizes = tuple((train, valid) for train, valid in shown.pop("fold_sizes"))
    names = {name: tuple(shown[name]) for name in ("costs", "compare", "watch")}
    points = tuple(shown.get("enqueued", ()))
    return {"scoring": shown["scoring"], "fold_sizes": sizes, "enqueued": points, **names}


def nothing_scored(name: str, storage: str | None) -> bool:
    """Return whether a storage has the newest study of a name, and no trial of it has a score."""
    if storage is None or not is_there(storage):
        return False
    stored = versioned_name(name, storage, fresh=False)
    if stored not in study_names(storage):
        return False
    records = TrialStore(stored, None, storage, create=False).records(running=True)
    return not any(record.reports for record in records)
