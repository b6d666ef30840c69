"""Read a study back from its storage."""

from dataclasses import replace
from typing import Any

from hpo.result import StudyResult
from hpo.space import SearchSpace
from hpo.storage.open import is_there
from hpo.storage.studies import generation, study_names
from hpo.storage.trial_store import Ledger
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
    stored = exact if exact != name else generation(name, storage, fresh=False)
    ledger = Ledger(stored, None, storage, create=False)
    text = ledger.noted("space")
    space = SearchSpace.loads(text, source=ledger.name) if text else None
    result = StudyResult(
        name=ledger.name,
        records=tuple(ledger.records(running=True)),
        seconds=ledger.noted("seconds"),
        key=ledger.key,
        fingerprint=ledger.noted("fingerprint") or {},
        files=files_kept(ledger.key),
        **_shown(ledger),
    )
    winner = None if result.winner is None else result.winner.number
    refit, failed = ledger.noted("refit") or {}, ledger.noted("refit_error") or {}
    if winner is not None and winner == refit.get("number"):
        told = {key: refit[key] for key in refit if key not in {"number", "mark"}}
        result = replace(result, **told)
    if winner is not None and winner == failed.get("number"):
        result = replace(result, refit_error=failed["text"])
    return result, space


def _shown(ledger: Ledger) -> dict[str, Any]:
    """Return what was noted of the search for those who look at it."""
    shown = ledger.noted("shown")
    if shown is None:  # an older study, or none of hpo's
        old = {"scoring": ledger.noted("scoring"), "costs": tuple(ledger.noted("costs") or ())}
        return {name: value for name, value in old.items() if value}
    sizes = tuple((train, valid) for train, valid in shown.pop("fold_sizes"))
    names = {name: tuple(shown[name]) for name in ("costs", "compare", "watch")}
    points = tuple(shown.get("enqueued", ()))
    return {"scoring": shown["scoring"], "fold_sizes": sizes, "enqueued": points, **names}


def nothing_scored(name: str, storage: str | None) -> bool:
    """Return whether a storage has the newest study of a name, and no trial of it has a score."""
    if storage is None or not is_there(storage):
        return False
    stored = generation(name, storage, fresh=False)
    if stored not in study_names(storage):
        return False
    records = Ledger(stored, None, storage, create=False).records(running=True)
    return not any(record.reports for record in records)
