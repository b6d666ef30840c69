"""What is kept of a trial beside Optuna's own tables, and read back as its record."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from hpo.trial import INTERRUPTED, Report, Trial, TrialRecord, TrialState, derive_seed

__all__ = [
    "FROM_OPTUNA",
    "RECORD",
    "SEED_NUMBER",
    "TO_OPTUNA",
    "fingerprint",
    "pack",
    "record_of",
    "was_interrupted",
]

RECORD = "hpo:record"
"""The user attribute that it is kept in."""

SEED_NUMBER = "seed_number"
"""Under which number a trial was trained that has been taken over from another study."""

_REPORT = tuple(field.name for field in dataclasses.fields(Report) if field.name != "number")
"""What is kept of a report, in this order, for places stand for names: new fields go last."""

TO_OPTUNA = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}
FROM_OPTUNA = {theirs: ours for ours, theirs in TO_OPTUNA.items()}


def record_of(trial: FrozenTrial, seed: int, select: str = "best") -> TrialRecord:
    """Return the record of a trial, as far as it was kept; seed and ``select`` are the study's."""
    kept = trial.user_attrs.get(RECORD, {})
    reports = tuple(_unpack(trial.number, item) for item in kept.get("reports", ()))
    if not reports:
        steps = sorted(trial.intermediate_values.items())
        reports = tuple(Report(trial.number, s + 1, value) for s, value in steps)
    started = trial.datetime_start.timestamp() if trial.datetime_start else None
    ended = trial.datetime_complete.timestamp() if trial.datetime_complete else None
    trained = derive_seed(seed, "trial", kept.get(SEED_NUMBER, trial.number))
    return TrialRecord(
        trial=Trial(trial.number, dict(trial.params), trained),
        state=_state(trial, kept),
        reports=reports,
        reason=kept.get("reason", ""),
        error=kept.get("error"),
        max_steps=kept.get("max_steps"),
        started=kept.get("started", started),
        ended=kept.get("ended", ended),
        select=select,
    )


def _state(trial: FrozenTrial, kept: Mapping[str, Any]) -> TrialState:
    """Return the state of a trial; its record, written first, knows an end that Optuna does not."""
    if trial.state in FROM_OPTUNA:
        return FROM_OPTUNA[trial.state]
    return TrialState(kept.get("state", TrialState.RUNNING))


def was_interrupted(trial: FrozenTrial) -> bool:
    """Return whether a trial was cut off for a reason that is not its own."""
    reason = trial.user_attrs.get(RECORD, {}).get("reason", "")
    return trial.state is OptunaState.FAIL and str(reason).startswith(INTERRUPTED)


def fingerprint(trial: FrozenTrial) -> str:
    """Return a text of a trial's parameters, or of those that it waits with."""
    waiting = trial.system_attrs.get("fixed_params")
    return json.dumps(waiting if waiting is not None else trial.params, sort_keys=True)


def pack(record: TrialRecord) -> dict[str, Any]:
    """Return what is kept of a record, as JSON takes it; see `record_of`."""
    return {
        "state": str(record.state),
        "reason": record.reason,
        "error": record.error,
        "max_steps": record.max_steps,
        "started": record.started,
        "ended": record.ended,
        "reports": [[getattr(r, name) for name in _REPORT] for r in record.reports],
    }


def _unpack(number: int, item: Sequence[Any]) -> Report:
    kept = dict(zip(_REPORT, item, strict=False))  # older studies have no `recorded`
    kept["metrics"] = {name: tuple(values) for name, values in kept["metrics"].items()}
    frozen: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in kept.items()
    }
    return Report(number, **frozen)
