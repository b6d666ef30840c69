"""Plan what to write to MLflow for a study and its trials: names, lengths and states."""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo._format import printable
from hpo.storage.study_facts import BEST_TRIAL, MODEL, MODEL_FACTS, StudyRecord, model_files
from hpo.trackers._progress import Progress
from hpo.trackers.base import TrialChange, number, step_metrics
from hpo.trial import TRAINED_BY, TrialRecord, TrialState

__all__ = ["PROGRESS_TAG", "RunPlan", "progress_plan", "study_plan", "trial_plan"]

PROGRESS_TAG = "hpo.progress"
"""How many entries of the study's course have been written."""

MAX_KEY = 250
MAX_PARAM = 6000
MAX_TAG = 5000
MAX_ERROR_TAG = 2000

TRIAL_STATUS = {
    "running": "RUNNING",
    "complete": "FINISHED",
    "pruned": "KILLED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}
STUDY_STATUS = {
    "running": "RUNNING",
    "complete": "FINISHED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}


@dataclass(slots=True)
class RunPlan:
    """Everything to write to one run.

    Parameters
    ----------
    number : int or None
        Number of the trial; None for the study's own run.
    start : int
        When it began, in milliseconds since the epoch.
    mark : str
        What the run is marked with once all is written.
    params, tags, texts : dict of str to str
        ``texts`` are artifacts given by their text.
    files : dict of str to Path
        Artifacts given by their file.
    data : mapping of str to object
        The data of the study, its input; see `StudyInfo`.
    note : str
        The description of the run, in Markdown.
    model : dict of str to Path
        The files of the winner's model; see `model_files`.
    model_params : dict of str to str
        The winner's parameters.
    params_once : dict of str to str
        Parameters that may have another value since an earlier session of the study.
    metrics : list of (str, float, int, int)
        Key, value, timestamp in milliseconds, step.
    winner : int or None
        Number of the trial that has won the study.
    status : str
        MLflow's word for the state.
    end : int or None
        When it ended, in milliseconds since the epoch.
    """

    number: int | None
    start: int
    mark: str
    params: dict[str, str] = field(default_factory=dict)
    params_once: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    model: dict[str, Path] = field(default_factory=dict)
    model_params: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    winner: int | None = None
    status: str = "RUNNING"
    end: int | None = None


def study_plan(study: StudyRecord, n_ended: int = 0) -> RunPlan:
    """Return the plan for a study's own run.

    Parameters
    ----------
    study : StudyRecord
    n_ended : int, default=0
        Entries of the study's course in its run: what is found at the end comes after them.
    """
    plan = RunPlan(None, _ms(study.started), study.mark, params_once=_params(study.params))
    plan.tags = _tags(study.tags)
    plan.data = study.data
    plan.texts = {_path(name): _text(text) for name, text in study.texts.items()}
    if study.ended is not None:
        results = dict(study.results)
        trained_by = results.pop(TRAINED_BY, None)  # a param cannot change when a study is resumed
        plan.params_once |= _params(results)
        # Params can be written only once; tags have the current winner of a resumed study.
        plan.tags |= _tags(results)
        plan.tags |= {} if trained_by is None else _tags({TRAINED_BY: trained_by})
        plan.model = model_files(study.files)
        others = (name for name in study.files if name not in {MODEL, MODEL_FACTS})
        plan.files = {_path(name): study.files[name] for name in others}
        best = {k.removeprefix("best_"): v for k, v in results.items() if k.startswith("best_")}
        plan.model_params = _params({k: v for k, v in best.items() if k in study.searched})
        plan.end = _ms(study.ended)
        plan.metrics = [(_key(k), number(v), plan.end, n_ended) for k, v in study.metrics.items()]
        plan.winner = results.get(BEST_TRIAL)
    plan.tags["state"] = study.state
    plan.status = STUDY_STATUS[study.state]
    return plan


def trial_plan(change: TrialChange, scoring: str = "") -> RunPlan:
    """Return the plan for a trial's run, with the reports that it does not have yet.

    Parameters
    ----------
    change : TrialChange
    scoring : str
        Name of the scorer, under which the score is recorded too.
    """
    record = change.record
    start = _ms(record.started or 0.0)
    plan = RunPlan(record.number, start, change.mark, status=TRIAL_STATUS[record.state])
    for report in change.new_reports:
        now = _ms(report.time)
        plan.metrics += [(_key(k), v, now, report.step) for k, v in step_metrics(report, scoring)]
    plan.params = _params(record.trial.params)
    plan.tags = _tags({"number": record.number, "seed": record.trial.seed, "state": record.state})
    if record.state is not TrialState.RUNNING:
        _add_end(plan, record)
    for name, text in (
        ("cause", record.cause),
        (TRAINED_BY, record.trained_by),
        (f"{TRAINED_BY}_reason", record.trained_by_reason),
        ("reason", record.reason),
    ):
        if text:
            plan.tags[name] = _text(text, MAX_TAG)
    return plan


def progress_plan(course: Sequence[Progress]) -> RunPlan:
    """Return the plan for what the study's run is told of its course."""
    plan = RunPlan(None, 0, "")
    for each in course:
        now = _ms(each.time)
        plan.metrics += [(name, value, now, each.step) for name, value in each.metrics.items()]
    plan.tags = _tags({PROGRESS_TAG: course[-1].step})
    if course[-1].best_trial is not None:
        plan.tags |= _tags({BEST_TRIAL: course[-1].best_trial})
    return plan


def _add_end(plan: RunPlan, record: TrialRecord) -> None:
    plan.end = _ms(record.ended or 0.0) or plan.start
    best = record.best_report
    if best is not None:  # MLflow displays the last `score`, which is not the trial's
        plan.metrics += [("best_score", number(best.value), plan.end, best.step)]
        plan.metrics += [("best_step", float(best.step), plan.end, best.step)]
    if record.error:
        error = _text(record.error)
        plan.tags["error"] = error.strip()[-MAX_ERROR_TAG:]
        plan.texts["error.txt"] = error


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _text(value: Any, limit: int | None = None) -> str:
    """Return a text that any database, encoding and terminal accepts."""
    text = printable(str(value).replace("\0", ""))
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
