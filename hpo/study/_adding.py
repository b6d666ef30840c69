"""Finished trials of other studies, which a study takes in where they fit."""

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

__all__ = ["Addition", "read_additions", "told_of"]

_CURE = (
    "Have their parameters tried again: enqueue=[record.best_params for record in result.top(5)]."
)


@dataclass(frozen=True, slots=True)
class Addition:
    """Trials of another study that fit.

    Parameters
    ----------
    name, key : str
        Of the other study.
    records : tuple of TrialRecord
        With the params that they have here, under the numbers that they have there.
    left : Counter of str
        Why other finished trials do not fit, with how many there are of each reason.
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
    """Return what there is to take in; nothing is changed.

    Parameters
    ----------
    sources : str, StudyResult, or sequence of them
        Studies of the same storage by their names, or results.
    space, estimator, fingerprint
        Of the study that takes them in.
    name : str
        Of that study, in its storage.
    storage : str or None

    Raises
    ------
    StudyError
        If a source is none, or its trials were scored in another way.
    StorageError
        If there is no study of a name.
    """
    listed = [sources] if isinstance(sources, str | StudyResult) else list(sources)
    found = []
    for source in listed:
        result = _result(source, name, storage)
        _check_scored_alike(result, fingerprint)
        found.append(_addition(result, Fitting(result.fingerprint["space"], space, estimator)))
    return found


def _result(source: Any, name: str, storage: str | None) -> StudyResult:
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
            "be: give its StudyResult, load_result(name, storage)[0]."
        )
    result, _ = load_result(source, storage)
    if result.name == name:
        raise StudyError(f"add_trials names the study '{name}' itself: name another one.")
    return result


def _check_scored_alike(result: StudyResult, fingerprint: Mapping[str, Any]) -> None:
    old = result.fingerprint
    if old.get("format") != FORMAT:
        raise StudyError(
            f"The study '{result.name}' does not tell how its trials were scored, so they cannot "
            f"be counted. {_CURE}"
        )
    found = differences(_that_matters(old, fingerprint), _that_matters(fingerprint, old))
    if found:
        lines = [f"  {difference.text}" for difference in found]
        told = (
            f"The trials of the study '{result.name}' were scored in another way, so they cannot "
            "be counted here:"
        )
        raise StudyError("\n".join([told, *lines, _CURE]))


def _that_matters(fingerprint: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a fingerprint bears on scores.

    The seed and the costs do not, nor what is searched, nor code that only one of the two uses.
    """
    no_matter = {"costs", "seed"}
    parts = {name: part for name, part in fingerprint["parts"].items() if name not in no_matter}
    code = {name: mark for name, mark in fingerprint["code"].items() if name in other["code"]}
    return {**fingerprint, "parts": parts, "space": {}, "code": code}


def _addition(result: StudyResult, fitting: Fitting) -> Addition:
    records, left = [], Counter[str]()
    for record in result.records:
        if not _says_something(record):
            continue
        params = fitting(record.trial.params)
        if isinstance(params, str):
            left[params] += 1
        else:
            records.append(replace(record, trial=replace(record.trial, params=params)))
    return Addition(result.name, result.key, tuple(records), left)


def _says_something(record: TrialRecord) -> bool:
    """Whether a trial has ended with scores of its params, which did not change on the way."""
    ended = record.state in {TrialState.COMPLETE, TrialState.PRUNED}
    return ended and bool(record.reports) and record.best_params == dict(record.trial.params)


def told_of(additions: Sequence[Addition], n_new: int) -> str:
    """Return a note on what was taken in; empty if there was nothing to take in.

    Parameters
    ----------
    additions : sequence of Addition
    n_new : int
        Trials that were not there already.
    """
    if not additions:
        return ""
    names = " and ".join(f"'{addition.name}'" for addition in additions)
    told = f"{n_new} trials of {names} were taken in, and count as trials of this study."
    left = sum((addition.left for addition in additions), Counter[str]())
    if not left:
        return told
    reasons = "; ".join(f"{reason} ({n})" for reason, n in left.most_common())
    return f"{told} {left.total()} do not fit: {reasons}."
