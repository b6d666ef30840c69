"""Add the finished trials of other studies that fit the search space of a study."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpo.exceptions import StudyError
from hpo.result import StudyResult
from hpo.space import SearchSpace
from hpo.study._differences import differences
from hpo.study._fingerprint import FORMAT
from hpo.study._fitting import Fitting
from hpo.study.load import load_result
from hpo.trial import TrialRecord, TrialState

__all__ = ["Addition", "describe_additions", "read_additions"]

_REMEDY = (
    "Have their parameters tried again: enqueue=[record.best_params for record in result.top(5)]."
)


@dataclass(frozen=True, slots=True)
class Addition:
    """Trials of another study that fit.

    Parameters
    ----------
    name, key : str
        Name and key of the other study.
    records : tuple of TrialRecord
        The trials, with their params in this study's space and their numbers in the other study.
    left : Counter of str
        The reasons why other finished trials do not fit, with the number of trials for each.
    """

    name: str
    key: str
    records: tuple[TrialRecord, ...]
    left: Counter[str]


def read_additions(
    sources: Any,
    *,
    space: SearchSpace,
    estimator: Any,
    fingerprint: Mapping[str, Any],
    name: str,
    storage: str | None,
) -> list[Addition]:
    """Return the trials to add; nothing is changed.

    Parameters
    ----------
    sources : str, StudyResult, or sequence of them
        Studies of the same storage by their names, or results.
    space, estimator, fingerprint
        Those of the study that the trials are added to.
    name : str
        Name of that study in its storage.
    storage : str or None

    Raises
    ------
    StudyError
        If a source is invalid, or its trials were scored in another way.
    StorageError
        If there is no study with one of the names.
    """
    sources = [sources] if isinstance(sources, str | StudyResult) else list(sources)
    additions = []
    for source in sources:
        result = _load_source(source, name, storage)
        _check_scored_alike(result, fingerprint)
        additions.append(_addition(result, Fitting(result.fingerprint["space"], space, estimator)))
    return additions


def _load_source(source: Any, name: str, storage: str | None) -> StudyResult:
    if isinstance(source, StudyResult):
        return source
    if not isinstance(source, str):
        raise StudyError(
            "add_trials takes names of studies in the storage, or a StudyResult. Got "
            f"{source!r} instead."
        )
    if storage is None:
        raise StudyError(
            f"add_trials names the study '{source}', and this one has no storage in which it could "
            "be: give its StudyResult, load_result(name, storage)."
        )
    result = load_result(source, storage)
    if result.name == name:
        raise StudyError(f"add_trials names the study '{name}' itself: name another one.")
    return result


def _check_scored_alike(result: StudyResult, fingerprint: Mapping[str, Any]) -> None:
    old = result.fingerprint
    if old.get("format") != FORMAT:
        raise StudyError(
            f"The study '{result.name}' does not tell how its trials were scored, so they cannot "
            f"be counted. {_REMEDY}"
        )
    found_differences = differences(
        _relevant_parts(old, fingerprint), _relevant_parts(fingerprint, old)
    )
    if found_differences:
        lines = [f"  {difference.text}" for difference in found_differences]
        heading = (
            f"The trials of the study '{result.name}' were scored in another way, so they cannot "
            "be counted here:"
        )
        raise StudyError("\n".join([heading, *lines, _REMEDY]))


def _relevant_parts(fingerprint: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a fingerprint that affect scores.

    The seed, the costs and the search space do not, nor does code that only one study uses.
    """
    irrelevant = {"costs", "seed"}
    parts = {name: part for name, part in fingerprint["parts"].items() if name not in irrelevant}
    code = {name: mark for name, mark in fingerprint["code"].items() if name in other["code"]}
    return {**fingerprint, "parts": parts, "space": {}, "code": code}


def _addition(result: StudyResult, fitting: Fitting) -> Addition:
    records, left = [], Counter[str]()
    for record in result.records:
        if not _is_usable(record):
            continue
        params = fitting(record.trial.params)
        if isinstance(params, str):
            left[params] += 1
        else:
            records.append(replace(record, trial=replace(record.trial, params=params)))
    return Addition(result.name, result.key, tuple(records), left)


def _is_usable(record: TrialRecord) -> bool:
    """Return whether a trial ended with scores and its params did not change while it ran."""
    ended = record.state in {TrialState.COMPLETE, TrialState.PRUNED}
    return ended and bool(record.all_reports) and record.best_params == dict(record.trial.params)


def describe_additions(additions: Sequence[Addition], n_new: int) -> str:
    """Return a note on the trials that were added; empty if there were no sources.

    Parameters
    ----------
    additions : sequence of Addition
    n_new : int
        Number of trials that the study did not already have.
    """
    if not additions:
        return ""
    names = " and ".join(f"'{addition.name}'" for addition in additions)
    note = f"{n_new} trials of {names} were taken in, and count as trials of this study."
    left = sum((addition.left for addition in additions), Counter[str]())
    if not left:
        return note
    reasons = "; ".join(f"{reason} ({n})" for reason, n in left.most_common())
    return f"{note} {left.total()} do not fit: {reasons}."
