"""Convert between a `TrialRecord` and what is stored of it in an Optuna study.

Parameters, values per step and states are where Optuna has them, for its samplers and for any
other tool. What Optuna has no place for (scores of the folds, reasons, errors, times) is stored in
system attributes of the trial, which other tools do not display: one when the trial starts, one
for each report, and one at its end. A short reason is a user attribute, which Optuna's dashboard
shows.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from hpo._format import single_line
from hpo._redaction import redact
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
    "END",
    "FIXED",
    "FROM_OPTUNA",
    "OWNER",
    "REASON",
    "REPORT",
    "RESUMED",
    "RETRY",
    "SEED_NUMBER",
    "SOURCE",
    "START",
    "SURPLUS",
    "TO_OPTUNA",
    "attributes_of",
    "cause_of",
    "frozen_of",
    "outline_of",
    "packed_end",
    "packed_report",
    "packed_start",
    "params_of",
    "record_of",
    "shown_reason",
    "stored_of",
    "was_interrupted",
]

OWNER = "hpo:owner"
"""The attribute of a trial with the name of the driver that runs it."""

FIXED = "fixed_params"
"""Optuna's attribute of a trial with the parameters with which it was enqueued."""

START = "hpo:start"
"""The attribute of a trial with what is known of it when it starts."""

END = "hpo:end"
"""The attribute of a trial with how it ended, written before Optuna's state."""

REASON = "reason"
"""The user attribute of a trial that says why it ended early, in a few words, for other tools."""

_LONGEST = 120
"""Characters of that; all of it is in `END`."""

REPORT = "hpo:report:"
"""Start of the names of the attributes of a trial that contain a report each."""

_SCREENING = f"{REPORT}s"
"""Start of the names of those that contain a screening report each."""

_SCREENED = "screened"
"""Key of the number of screening reports of a trial."""

_OLDER_RECORD = "hpo:record"
"""The user attribute in which studies of version 0.2 and before have all of a record."""

RETRY = "hpo:retry_of"
"""The user attribute with the number of the interrupted trial that this trial runs again."""

SURPLUS = "hpo:surplus"
"""The attribute of a trial that was withdrawn for good: its parameters are tried elsewhere."""

RESUMED = "resumed"
"""Key of the number of the interrupted trial that a trial goes on with, and of the step there."""

SEED_NUMBER = "seed_number"
"""Key of the number under which a trial that was copied from another study was trained."""

SOURCE = "hpo:source"
"""The user attribute with the origin of a trial of another study, as ``key/number``."""

_OWN_PLACES = {"number", "rows", "screening", "n_screened", "last"}
_FIELDS = tuple(f.name for f in dataclasses.fields(Report) if f.name not in _OWN_PLACES)
"""Fields of a report in the order in which they are stored, without names: add new ones last."""

_METRICS = _FIELDS.index("metrics")

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
    *,
    first_step: int = 0,
) -> TrialRecord:
    """Return the record of a trial, as far as it was stored.

    Parameters
    ----------
    trial : FrozenTrial
    seed : int
        Seed of the study, from which those of trials follow that version 0.2 or before stored.
    read : callable
        Converts stored values to the trial's params (`SearchSpace.read`).
    select : {"best", "last"}
        Which report stands for a trial in this study.
    first_step : int
        See `StoredStudy`.
    """
    stored = stored_of(trial)
    params = stored["params"] if "params" in stored else read(trial.params)
    screening = tuple(
        dataclasses.replace(_unpack(trial.number, _same_nan(item)), screening=True, last=last)
        for *item, last in stored.get("screening", ())
    )
    n = screening[-1].step if screening else 0
    reports = tuple(
        dataclasses.replace(_unpack(trial.number, item), n_screened=n)
        for item in stored.get("reports", ())
    )
    if not reports and not screening:
        steps = sorted(trial.intermediate_values.items())
        reports = tuple(Report(trial.number, s + 1 - first_step, value) for s, value in steps)
    own_seed = derive_seed(seed, "trial", stored.get(SEED_NUMBER, trial.number))
    return _record(
        trial,
        stored,
        params=params,
        reports=reports,
        screening=screening,
        seed=stored.get("seed", own_seed),
        select=select,
    )


def _record(
    trial: FrozenTrial,
    stored: Mapping[str, Any],
    *,
    params: dict[str, Any],
    reports: tuple[Report, ...],
    seed: int,
    select: str,
    screening: tuple[Report, ...] = (),
) -> TrialRecord:
    started = trial.datetime_start.timestamp() if trial.datetime_start else None
    ended = trial.datetime_complete.timestamp() if trial.datetime_complete else None
    state, cause, reason = _end(trial, stored)
    trained_by, why = stored.get(TRAINED_BY, ("", ""))  # older studies do not have it
    return TrialRecord(
        trial=Trial(trial.number, params, seed, *stored.get(RESUMED, (None, 0))),
        state=state,
        reports=reports,
        reason=reason,
        error=stored.get("error"),
        max_steps=stored.get("max_steps"),
        started=stored.get("started", started),
        ended=stored.get("ended", ended),
        select=select,
        trained_by=trained_by,
        trained_by_reason=why,
        worker=stored.get("worker", ""),
        cause=cause,
        screening=screening,
    )


def outline_of(
    trial: FrozenTrial,
    read: Callable[[Mapping[str, Any]], dict[str, Any]],
    select: str,
    first_step: int = 0,
) -> TrialRecord | None:
    """Return the record of a trial that has ended, with two of its reports at most.

    They are the one that stands for the trial and the last one, with their scores alone. It is None
    for a trial of which that cannot be known without reading its reports: a running one, one of
    another program or of an older version, or of a study with several objectives.
    """
    end = trial.system_attrs.get(END)
    values = trial.intermediate_values
    if end is None or "seed" not in end or not values or not trial.state.is_finished():
        return None
    n_screened = end.get(_SCREENED, 0)
    if n_screened:
        first_step += n_screened
        values = {step: value for step, value in values.items() if step >= first_step}
        if not values:
            return None
    last = max(values)
    finite = [step for step in values if math.isfinite(values[step])]
    best = max(finite, key=lambda step: (values[step], -step), default=last)
    return _record(
        trial,
        end,
        params=end["params"] if "params" in end else read(trial.params),
        reports=tuple(
            Report(trial.number, step + 1 - first_step, values[step])
            for step in sorted({best, last})
        ),
        seed=end["seed"],
        select=select,
    )


def _end(trial: FrozenTrial, stored: Mapping[str, Any]) -> tuple[TrialState, Cause | None, str]:
    """Return state, cause and reason; the record, written first, may be ahead of Optuna."""
    state = FROM_OPTUNA.get(trial.state) or TrialState(stored.get("state", TrialState.RUNNING))
    if was_interrupted(trial):
        state = TrialState.INTERRUPTED
    reason = str(stored.get("reason", ""))
    if "cause" in stored:
        return state, Cause(stored["cause"]) if stored["cause"] else None, reason
    return state, *_older_cause(state, reason)


def _older_cause(state: TrialState, reason: str) -> tuple[Cause | None, str]:
    """Return cause and reason of a trial of version 0.2 or before, which stored only a reason."""
    if state is TrialState.INTERRUPTED:
        cleaned = reason.removeprefix(_INTERRUPTED).removeprefix(": ").strip()
        return Cause.BUDGET if cleaned.endswith("is spent") else Cause.STOPPED, cleaned
    if state is TrialState.PRUNED:
        if reason.startswith("out of memory"):
            return Cause.OUT_OF_MEMORY, reason
        return Cause.DIVERGED if ": diverged, " in reason else Cause.PRUNER, reason
    return Cause.ERROR if state is TrialState.FAILED else None, reason


def was_interrupted(trial: FrozenTrial) -> bool:
    """Return whether a trial was interrupted from outside."""
    if trial.state is not OptunaState.FAIL:
        return False
    stored = trial.system_attrs.get(END) or trial.user_attrs.get(_OLDER_RECORD, {})
    older = "cause" not in stored and str(stored.get("reason", "")).startswith(_INTERRUPTED)
    return older or stored.get("state") == TrialState.INTERRUPTED


def cause_of(trial: FrozenTrial) -> str | None:
    """Return why a trial ended before its last step, as stored by version 0.3 and later."""
    cause: str | None = trial.system_attrs.get(END, {}).get("cause")
    return cause


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's parameters as stored; for a waiting trial, those it was enqueued with."""
    waits = trial.state is OptunaState.WAITING
    return dict(trial.system_attrs[FIXED] if waits else trial.params)


def stored_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return everything that is stored of a trial besides what Optuna has a place for."""
    if _OLDER_RECORD in trial.user_attrs:
        return dict(trial.user_attrs[_OLDER_RECORD])
    attributes = trial.system_attrs
    reports: list[Any] = []
    screening: list[Any] = []
    for key, value in attributes.items():
        if key.startswith(REPORT):
            (screening if key.startswith(_SCREENING) else reports).append(value)
    return {
        **attributes.get(START, {}),
        **attributes.get(END, {}),
        "reports": sorted(reports, key=itemgetter(0)),
        **({"screening": sorted(screening, key=itemgetter(0))} if screening else {}),
    }


def attributes_of(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a finished trial; `stored_of` is the inverse."""
    reports = {f"{REPORT}{report[0]}": report for report in stored["reports"]}
    reports |= {f"{_SCREENING}{report[0]}": report for report in stored.get("screening", ())}
    end = {key: value for key, value in stored.items() if key not in {"reports", "screening"}}
    return reports | {END: end}


def packed_start(record: TrialRecord, *, params: bool) -> tuple[str, dict[str, Any]]:
    """Return name and value of the attribute of a trial that has started.

    Parameters
    ----------
    record : TrialRecord
    params : bool
        Whether to store the params too, because those that Optuna has differ.
    """
    trial = record.trial
    resumed = [trial.resumed_from, trial.resumed_step]
    return START, {
        **({"params": dict(trial.params)} if params else {}),
        **({RESUMED: resumed} if trial.resumed_from is not None else {}),
        "seed": trial.seed,
        "max_steps": record.max_steps,
        "started": record.started,
        TRAINED_BY: [record.trained_by, record.trained_by_reason],
        **({"worker": record.worker} if record.worker else {}),
    }


def packed_report(report: Report) -> tuple[str, list[Any]]:
    """Return name and value of the attribute of a report."""
    values = [getattr(report, name) for name in _FIELDS]
    if report.screening:
        return f"{_SCREENING}{report.step}", [*values, report.last]
    return f"{REPORT}{report.step}", values


def packed_end(record: TrialRecord, *, params: bool) -> tuple[str, dict[str, Any]]:
    """Return name and value of the attribute of a trial that has ended; see `packed_start`."""
    _, start = packed_start(record, params=params)
    return END, start | {
        "state": str(record.state),
        "reason": record.reason,
        "cause": record.cause and str(record.cause),
        "error": record.error,
        "ended": record.ended,
        **({_SCREENED: record.screening[-1].step} if record.screening else {}),
    }


def shown_reason(reason: str) -> dict[str, str]:
    """Return the user attribute that tells other tools why a trial ended early; empty without."""
    text = redact(single_line(reason))
    return {REASON: text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"} if text else {}


def frozen_of(
    record: TrialRecord,
    stored: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    values: list[float] | None,
    source: str,
    *,
    first_step: int,
) -> FrozenTrial:
    """Return Optuna's form of a finished trial.

    Parameters
    ----------
    record : TrialRecord
    stored : mapping
        The stored values of its params.
    distributions : mapping
        Distributions of the space.
    values : list of float or None
        Its score and costs, if it is complete.
    source : str
        Where the trial comes from, as ``key/number``.
    first_step : int
        See `StoredStudy`.
    """
    _, end = packed_end(record, params=True)
    stored_record = end | {
        "reports": [packed_report(report)[1] for report in record.reports],
        "screening": [packed_report(report)[1] for report in record.screening],
    }
    at_steps = {report.position - 1 + first_step: report.value for report in record.all_reports}
    # Optuna does not store intermediate values of trials with several objectives.
    several = values is not None and len(values) > 1
    return create_trial(
        state=TO_OPTUNA[record.state],
        values=values,
        params=dict(stored),
        distributions={name: distributions[name] for name in stored},
        user_attrs={SOURCE: source, **shown_reason(record.reason)},
        system_attrs=attributes_of(stored_record),
        intermediate_values={} if several else at_steps,
    )


def _same_nan(value: Any) -> Any:
    """Return the value with one nan for all, so that what is read equals what was written."""
    if isinstance(value, list):
        return [_same_nan(each) for each in value]
    if isinstance(value, dict):
        return {key: _same_nan(each) for key, each in value.items()}
    return math.nan if isinstance(value, float) and math.isnan(value) else value


def _unpack(number: int, item: Sequence[Any]) -> Report:
    # In the order of the fields; older studies lack the last ones.
    values: list[Any] = [tuple(each) if isinstance(each, list) else each for each in item]
    values[_METRICS] = {name: tuple(each) for name, each in item[_METRICS].items()}
    return Report(number, *values)
