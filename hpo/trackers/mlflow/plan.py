"""Plan what to write to MLflow for the events of a spool: names, lengths and states."""

import math
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.trial import CHANGED, TRAINED_BY

__all__ = ["RunPlan", "plan_runs"]

MAX_KEY = 250
MAX_PARAM = 6000
MAX_TAG = 5000
MAX_ERROR_TAG = 2000

TRIAL_STATUS = {
    "complete": "FINISHED",
    "pruned": "KILLED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}
STUDY_STATUS = {"complete": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


@dataclass(slots=True)
class RunPlan:
    """Everything to write to one run.

    Parameters
    ----------
    number : int or None
        Number of the trial; None for the study's own run.
    start : int
        When it began, in milliseconds since the epoch.
    fresh : bool
        Whether the trial started in these events, so that it cannot have a run yet.
    params, tags, texts, files : dict of str to str
        ``texts`` are artifacts given by their text, ``files`` by their path in the spool.
    params_once : dict of str to str
        Parameters that may have another value since an earlier session of the study.
    metrics : list of (str, float, int, int)
        Key, value, timestamp in milliseconds, step.
    status : str or None
        MLflow's word for the state; None leaves it.
    end : int or None
        When it ended, in milliseconds since the epoch.
    """

    number: int | None
    start: int
    fresh: bool = False
    params: dict[str, str] = field(default_factory=dict)
    params_once: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    status: str | None = None
    end: int | None = None


def plan_runs(events: Iterable[Mapping[str, Any]]) -> list[RunPlan]:
    """Return the plans for events: one per trial between two events of the study."""
    plans: list[RunPlan] = []
    trials: dict[int, RunPlan] = {}
    for event in events:
        kind = event["kind"]
        if kind in {"study_started", "study_ended"}:
            trials.clear()
            plans.append(_study_plan(event))
            continue
        number = event["number"]
        if number not in trials:
            trials[number] = RunPlan(number, _ms(event.get("started", event["time"])))
            plans.append(trials[number])
        _add(trials[number], event)
    return plans


def _study_plan(event: Mapping[str, Any]) -> RunPlan:
    now = _ms(event["time"])
    plan = RunPlan(None, now)
    if event["kind"] == "study_started":
        plan.params_once = _params(event["params"])
        plan.tags = _tags(event["tags"]) | {"state": "running"}
        plan.texts = {_path(name): _text(text) for name, text in event["texts"].items()}
        plan.status = "RUNNING"
    else:
        params = dict(event["params"])
        trained_by = params.pop(TRAINED_BY, None)  # a param cannot change when a study is resumed
        plan.params_once = _params(params)
        # Params can be written only once; tags have the current winner of a resumed study.
        plan.tags = _tags(params) | {"state": str(event["state"])}
        plan.tags |= {} if trained_by is None else _tags({TRAINED_BY: trained_by})
        plan.files = {_path(name): place for name, place in event["files"].items()}
        plan.metrics = [(_key(k), _number(v), now, 0) for k, v in event["metrics"].items()]
        plan.status = STUDY_STATUS.get(event["state"], "FINISHED")
        plan.end = now
    return plan


def _add(plan: RunPlan, event: Mapping[str, Any]) -> None:
    if event["kind"] == "trial_reported":
        now = _ms(event["time"])
        plan.metrics += [(_key(k), v, now, event["step"]) for k, v in _step_metrics(event)]
        return
    plan.params |= _params(event["params"])
    plan.tags |= _tags({"number": event["number"], "seed": event["seed"]})
    if event["kind"] == "trial_started":
        plan.fresh = True
        plan.tags["state"] = "running"
        return
    plan.tags["state"] = str(event["state"])
    plan.status = TRIAL_STATUS.get(event["state"], "FAILED")
    plan.end = _ms(event["ended"])
    if event.get("best"):  # MLflow displays the last `score`, which is not the trial's
        step, value = event["best"]
        plan.metrics += [("best_score", _number(value), plan.end, step)]
        plan.metrics += [("best_step", float(step), plan.end, step)]
    for name in ("cause", TRAINED_BY, f"{TRAINED_BY}_reason"):
        if event.get(name):  # records of an older version have none
            plan.tags[name] = _text(event[name], MAX_TAG)
    if event["reason"]:
        plan.tags["reason"] = _text(event["reason"], MAX_TAG)
    if event["error"]:
        error = _text(event["error"])
        plan.tags["error"] = error.strip()[-MAX_ERROR_TAG:]
        plan.texts["error.txt"] = error


def _step_metrics(event: Mapping[str, Any]) -> list[tuple[str, float]]:
    metrics = [("score", _number(event["value"]))]
    metrics += [(f"score_fold_{i}", _number(v)) for i, v in enumerate(event["fold_values"])]
    recorded = event.get("recorded", ())
    for name, values in event["metrics"].items():
        as_named = name in recorded or name.startswith(("train_", "valid_", CHANGED))
        key = name if as_named else f"score_{name}"
        numbers = [_number(value) for value in values]
        metrics.append((key, sum(numbers) / len(numbers) if numbers else math.nan))
    metrics.append(("seconds", _number(event["seconds"])))
    return metrics


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _text(value: Any, limit: int | None = None) -> str:
    """Return a text that any database and encoding accepts."""
    text = str(value).replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return text if limit is None or len(text) <= limit else text[: limit - 3] + "..."


def _key(name: str) -> str:
    """Return a name that MLflow accepts, also on Windows, and that stays in its folder."""
    key = re.sub(r"[^/\w.\- ]", "_", _text(name))[:MAX_KEY]
    normal = posixpath.normpath(key).lstrip("/")
    if normal.startswith(".."):
        normal = "_" + normal.lstrip("./")
    return "_" if normal in {"", "."} else normal


def _params(params: Mapping[str, Any]) -> dict[str, str]:
    return {_key(name): _text(value, MAX_PARAM) for name, value in params.items()}


def _tags(tags: Mapping[str, Any]) -> dict[str, str]:
    return {_key(name): _text(value, MAX_TAG) for name, value in tags.items()}


def _path(name: str) -> str:
    """Return the name of an artifact, kept inside the run's folder."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in {"", ".", ".."}]
    return "/".join(parts) or "artifact"
