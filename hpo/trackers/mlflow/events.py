"""The events of a study as plain data for a spool."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from hpo.observer import StudyInfo
from hpo.trial import TRAINED_BY, Cause, Report, TrialRecord, TrialState

__all__ = [
    "loose_ends",
    "study_ended",
    "study_started",
    "trial_ended",
    "trial_reported",
    "trial_started",
    "whole_trial",
]

Event = dict[str, Any]


def study_started(info: StudyInfo) -> Event:
    """Return the event of a study that starts or is resumed."""
    return {
        "kind": "study_started",
        "time": time.time(),
        "name": info.name,
        "params": dict(info.params),
        "tags": dict(info.tags),
        "texts": dict(info.artifacts),
    }


def study_ended(
    metrics: Mapping[str, float],
    params: Mapping[str, Any],
    files: Mapping[str, str],
    state: str,
) -> Event:
    """Return the event of a study's end; ``files`` maps names to paths in the spool."""
    return {
        "kind": "study_ended",
        "time": time.time(),
        "metrics": dict(metrics),
        "params": dict(params),
        "files": dict(files),
        "state": state,
    }


def trial_started(record: TrialRecord) -> Event:
    """Return the event of a trial that begins."""
    now = time.time()
    return {
        "kind": "trial_started",
        "time": now,
        "number": record.number,
        "params": dict(record.trial.params),
        "seed": record.trial.seed,
        "started": record.started or now,
    }


def trial_reported(report: Report) -> Event:
    """Return the event of a step."""
    metrics = {name: list(values) for name, values in report.metrics.items()}
    return {
        "kind": "trial_reported",
        "time": time.time(),
        "number": report.number,
        "step": report.step,
        "value": report.value,
        "fold_values": list(report.fold_values),
        "metrics": metrics,
        "recorded": list(report.recorded),
        "seconds": report.seconds,
    }


def trial_ended(record: TrialRecord) -> Event:
    """Return the event of a trial's end; it is self-contained, as its start may be lost."""
    best = record.best_report
    return {
        **trial_started(record),
        "kind": "trial_ended",
        "state": str(record.state),
        "reason": record.reason,
        "cause": record.cause and str(record.cause),
        "error": record.error,
        TRAINED_BY: record.trained_by,
        f"{TRAINED_BY}_reason": record.trained_by_reason,
        "best": [best.step, best.value] if best else None,
        "ended": record.ended or time.time(),
    }


def whole_trial(record: TrialRecord) -> list[Event]:
    """Return the events of a trial that has ended."""
    steps = [trial_reported(report) for report in record.reports]
    return [trial_started(record), *steps, trial_ended(record)]


def loose_ends(events: Iterable[Event], *, study_too: bool = True) -> list[Event]:
    """Return the events that close the trials and the study that a dead driver left open.

    Parameters
    ----------
    events : iterable of dict
        All events of the driver.
    study_too : bool, default=True
        Whether to close the study as well; not while another driver continues it.
    """
    open_trials: dict[int, Event] = {}
    study_open, last = False, 0.0
    for event in events:
        last = event["time"]
        match event["kind"]:
            case "study_started":
                study_open = True
            case "study_ended":
                study_open = False
            case "trial_started":
                open_trials[event["number"]] = event
            case "trial_ended":
                open_trials.pop(event["number"], None)
    interruption = {
        "kind": "trial_ended",
        "state": str(TrialState.INTERRUPTED),
        "cause": str(Cause.DRIVER_DIED),
        "reason": "the process that drove the study died",
        "error": None,
        "time": last,
        "ended": last,
    }
    ends: list[Event] = [{**event, **interruption} for event in open_trials.values()]
    if study_open and study_too:
        ends.append({**study_ended({}, {}, {}, "interrupted"), "time": last})
    return ends
