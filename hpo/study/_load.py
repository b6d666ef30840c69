"""Read a study back from its storage."""

from dataclasses import replace

from hpo.backends._ledger import Ledger
from hpo.result import StudyResult
from hpo.space import SearchSpace
from hpo.study._search import generation

__all__ = ["load_result"]


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
        scoring=ledger.noted("scoring") or "score",
        seconds=ledger.noted("seconds"),
        costs=tuple(ledger.noted("costs") or ()),
    )
    refit = ledger.noted("refit") or {}
    if [record.number for record in result.top(1)] == [refit.get("number")]:
        result = replace(result, **{key: refit[key] for key in refit if key != "number"})
    return result, space
