"""What is kept of a trial beside Optuna's own tables, and read back as its record."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from hpo.trial import (
    TRAINED_BY,
    Cause,
    Report,
    Trial,
    TrialRecord,
    TrialState,
    derive_seed,
)

__all__ = [
    "FROM_OPTUNA",
    "RECORD",
    "RETRY",
    "SEED_NUMBER",
    "SOURCE",
    "TO_OPTUNA",
    "frozen_of",
    "pack",
    "params_of",
    "record_of",
    "was_interrupted",
]

RECORD = "hpo:record"
"""The user attribute that it is kept in."""

RETRY = "hpo:retry_of"
"""The user attribute that tells which interrupted trial one tries again."""

SEED_NUMBER = "seed_number"
"""Under which number a trial was trained that has been taken over from another study."""

SOURCE = "hpo:source"
"""The user attribute that tells which trial of another study one was, ``key/number``."""

_REPORT = tuple(field.name for field in dataclasses.fields(Report) if field.name != "number")
"""What is kept of a report, in this order, for places stand for names: new fields go last."""

TO_OPTUNA = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.INTERRUPTED: OptunaState.FAIL,
    TrialState.FAILED: OptunaState.FAIL,
}
FROM_OPTUNA = {theirs: ours for ours, theirs in TO_OPTUNA.items()}

_INTERRUPTED = "interrupted"
"""First word of the reason of an interrupted trial in studies of version 0.2 and before."""


def record_of(
    trial: FrozenTrial,
    seed: int,
    read: Callable[[Mapping[str, Any]], dict[str, Any]] = dict,
    select: str = "best",
) -> TrialRecord:
    """Return the record of a trial, as far as it was kept.

    Parameters
    ----------
    trial : FrozenTrial
    seed : int
        The study's.
    read : callable
        Turns what the storage keeps into the trial's params (`SearchSpace.read`).
    select : {"best", "last"}
        The study's.
    """
    kept = trial.user_attrs.get(RECORD, {})
    params = kept["params"] if "params" in kept else read(trial.params)
    reports = tuple(_unpack(trial.number, item) for item in kept.get("reports", ()))
    if not reports:
        steps = sorted(trial.intermediate_values.items())
        reports = tuple(Report(trial.number, s + 1, value) for s, value in steps)
    started = trial.datetime_start.timestamp() if trial.datetime_start else None
    ended = trial.datetime_complete.timestamp() if trial.datetime_complete else None
    state, cause, reason = _end(trial, kept)
    own_seed = derive_seed(seed, "trial", kept.get(SEED_NUMBER, trial.number))
    trained_by, why = kept.get(TRAINED_BY, ("", ""))  # older studies do not know
    return TrialRecord(
        trial=Trial(trial.number, params, kept.get("seed", own_seed)),
        state=state,
        reports=reports,
        reason=reason,
        error=kept.get("error"),
        max_steps=kept.get("max_steps"),
        started=kept.get("started", started),
        ended=kept.get("ended", ended),
        select=select,
        trained_by=trained_by,
        trained_by_reason=why,
        cause=cause,
    )


def _end(trial: FrozenTrial, kept: Mapping[str, Any]) -> tuple[TrialState, Cause | None, str]:
    """Return state, cause and reason; the record, written first, knows an end that Optuna lacks."""
    state = FROM_OPTUNA.get(trial.state) or TrialState(kept.get("state", TrialState.RUNNING))
    if was_interrupted(trial):
        state = TrialState.INTERRUPTED
    reason = str(kept.get("reason", ""))
    if "cause" in kept:
        return state, Cause(kept["cause"]) if kept["cause"] else None, reason
    return state, *_older_cause(state, reason)


def _older_cause(state: TrialState, reason: str) -> tuple[Cause | None, str]:
    """Return cause and reason of a trial of version 0.2 or before, which kept the reason alone."""
    if state is TrialState.INTERRUPTED:
        told = reason.removeprefix(_INTERRUPTED).removeprefix(": ").strip()
        return Cause.BUDGET if told.endswith("is spent") else Cause.STOPPED, told
    if state is TrialState.PRUNED:
        if reason.startswith("out of memory"):
            return Cause.OUT_OF_MEMORY, reason
        return Cause.DIVERGED if ": diverged, " in reason else Cause.PRUNER, reason
    return Cause.ERROR if state is TrialState.FAILED else None, reason


def was_interrupted(trial: FrozenTrial) -> bool:
    """Return whether a trial was cut off for a reason that is not its own."""
    if trial.state is not OptunaState.FAIL:
        return False
    kept = trial.user_attrs.get(RECORD, {})
    older = "cause" not in kept and str(kept.get("reason", "")).startswith(_INTERRUPTED)
    return older or kept.get("state") == TrialState.INTERRUPTED


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return what the storage keeps of a trial's parameters, or of those that it waits with."""
    waits = trial.state is OptunaState.WAITING
    return dict(trial.system_attrs["fixed_params"] if waits else trial.params)


def pack(record: TrialRecord, *, params: bool = False) -> dict[str, Any]:
    """Return what is kept of a record, as JSON takes it; see `record_of`.

    Parameters
    ----------
    record : TrialRecord
    params : bool
        Keep the params too: Optuna's tables hold something else.
    """
    kept = {"params": dict(record.trial.params)} if params else {}
    return kept | {
        "state": str(record.state),
        "reason": record.reason,
        "cause": record.cause and str(record.cause),
        "error": record.error,
        "max_steps": record.max_steps,
        "started": record.started,
        "ended": record.ended,
        TRAINED_BY: [record.trained_by, record.trained_by_reason],
        "reports": [[getattr(r, name) for name in _REPORT] for r in record.reports],
    }


def frozen_of(
    record: TrialRecord,
    stored: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    values: list[float] | None,
    attrs: Mapping[str, Any],
) -> FrozenTrial:
    """Return an ended trial as Optuna has it.

    Parameters
    ----------
    record : TrialRecord
    stored : mapping
        What the storage keeps of its params.
    distributions : mapping
        Of the space.
    values : list of float or None
        Its score and costs, if it is complete.
    attrs : mapping
        User attributes.
    """
    at_steps = {report.step - 1: report.value for report in record.reports}
    several = values is not None and len(values) > 1  # Optuna then has no place for values at steps
    return create_trial(
        state=TO_OPTUNA[record.state],
        values=values,
        params=dict(stored),
        distributions={name: distributions[name] for name in stored},
        user_attrs=dict(attrs),
        intermediate_values={} if several else at_steps,
    )


def _unpack(number: int, item: Sequence[Any]) -> Report:
    kept = dict(zip(_REPORT, item, strict=False))  # older studies have no `recorded`
    kept["metrics"] = {name: tuple(values) for name, values in kept["metrics"].items()}
    frozen: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in kept.items()
    }
    return Report(number, **frozen)
