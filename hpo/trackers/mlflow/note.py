"""The description of a study in MLflow: a page in Markdown that says what was asked and found."""

import ast
import math
import re
from collections.abc import Callable
from typing import Any

from hpo._format import (
    brief_value,
    number,
    printable,
    score,
    score_with_interval,
    short_names,
)
from hpo._redaction import redact
from hpo.storage.study_facts import BEST_TRIAL, StudyRecord

__all__ = ["study_note"]

_MAX_VALUE = 120
_MAX_PARAMS = 30
_MARKS = re.compile(r"[\\*<>\[\]~&]")
"""What Markdown does not take for text; an underscore within a name it does."""
_LONGEST = 240
"""Characters of the parameters in the first lines."""


def study_note(study: StudyRecord, trial_url: Callable[[int], str], trials_url: str) -> str:
    """Return the description of a study.

    Parameters
    ----------
    study : StudyRecord
    trial_url : callable
        Returns the address of a trial's run by its number; empty if it has none.
    trials_url : str
        Address of the table of trials.
    """
    winner = study.results.get(BEST_TRIAL)
    parts = []
    if winner is not None:
        url = trial_url(winner)
        name = f"[trial {winner}]({url})" if url else f"trial {winner}"
        # MLflow folds all but the first lines of a description.
        parts.append("  \n".join([f"**Winner: {name}**{_in_short(study)}", *_first_lines(study)]))
    parts.append(_question(study))
    if study.state == "running":
        parts.append(f"The study is running: [its trials so far, best first]({trials_url}).")
    elif winner is None:
        parts.append(f"The study is {study.state}, and no trial has a score that counts.")
    if winner is not None:
        parts += [_scores(study), _params(study)]
    if study.state != "running":
        parts.append(f"[All trials, best first]({trials_url})")
    parts.append(_commands(study))
    return redact(printable("\n\n".join(part for part in parts if part)))


def _question(study: StudyRecord) -> str:
    """Return the first paragraph of the study file's docstring, or what is searched."""
    for name, text in study.texts.items():
        if name.endswith(".py"):
            try:
                docstring = ast.get_docstring(ast.parse(text)) or ""
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                docstring = ""
            if docstring:
                return " ".join(docstring.split("\n\n")[0].split())
    scoring = study.params.get("scoring", "score")
    estimator = study.params.get("estimator", "the estimator")
    return f"Which parameters of `{estimator}` give the best `{scoring}`?"


def _in_short(study: StudyRecord) -> str:
    """Return the scores in a line."""
    found, scoring = study.metrics, study.params.get("scoring", "score")
    texts = []
    if "best_score" in found:
        value = score(found["best_score"], found.get("best_score_se", math.nan))
        texts.append(f"{scoring} {value} in cross-validation")
    if "test_score" in found:
        texts.append(f"{score(found['test_score'])} on the held-out test")
    return f": {', '.join(texts)}" if texts else ""


def _first_lines(study: StudyRecord) -> list[str]:
    """Return the winner's parameters, and what pruning saved, in a line each."""
    best = _best_params(study)
    names = short_names(best)
    params = ", ".join(f"{names[name]} {_value(brief_value(v))}" for name, v in best.items())
    params = params if len(params) <= _LONGEST else f"{params[: _LONGEST - 3]}..."
    lines = [_MARKS.sub(r"\\\g<0>", params)]
    if (saved := study.metrics.get("epochs_saved_fraction", 0.0)) > 0:
        n = int(study.metrics.get("n_pruned", 0))
        trials = "1 trial" if n == 1 else f"{n} trials"
        lines.append(f"Pruning {trials} saved {saved:.0%} of the epochs.")
    return [line for line in lines if line]


def _best_params(study: StudyRecord) -> dict[str, Any]:
    return {
        name: study.results[f"best_{name}"]
        for name in study.searched
        if f"best_{name}" in study.results
    }


def _scores(study: StudyRecord) -> str:
    found, scoring = study.metrics, study.params.get("scoring", "score")
    n_folds = study.params.get("n_folds")
    rows = []
    if "best_score" in found:
        value = score(found["best_score"], found.get("best_score_se", math.nan))
        rows.append((f"{scoring}, {n_folds} folds", f"**{value}** (s.e.)"))
    for key, label in (
        ("corrected_score", "corrected for the choice"),
        ("test_score", f"{scoring}, held-out test"),
    ):
        if key in found:
            low, high = (found.get("_".join((key, end))) for end in ("low", "high"))
            interval = None if low is None or high is None else (low, high)
            rows.append((label, score_with_interval(found[key], interval)))
    if "nested_score" in found:
        value = score(found["nested_score"], found.get("nested_score_se", math.nan))
        rows.append(("nested cross-validation", f"{value} (s.e.)"))
    counts = {
        state: int(found[f"n_{state}"])
        for state in ("complete", "pruned", "failed", "interrupted")
        if found.get(f"n_{state}")
    }
    if counts:
        ended = ", ".join(f"{n} {state}" for state, n in counts.items())
        rows.append(("trials", f"{sum(counts.values())}: {ended}"))
    if (saved := found.get("epochs_saved_fraction", 0.0)) > 0:
        rows.append(("pruning saved", f"{saved:.0%} of the epochs"))
    return _table(("score", "value"), rows)


def _params(study: StudyRecord) -> str:
    rows = [(f"`{name}`", f"`{_value(value)}`") for name, value in _best_params(study).items()]
    if len(rows) > _MAX_PARAMS:
        rows = [*rows[:_MAX_PARAMS], ("...", f"{len(rows) - _MAX_PARAMS} more")]
    return _table(("parameter", "value"), rows)


def _commands(study: StudyRecord) -> str:
    lines = []
    if "model.pkl" in study.files:
        lines.append(f"hpo export-model {_quoted(study.name)} DIR")
    if study.storage:
        storage = f" --storage {_quoted(study.storage)}"
        lines.insert(0, f"hpo show {_quoted(study.name)}{storage}")
        lines = [line if "--storage" in line else line + storage for line in lines]
        files = [name for name in study.texts if name.endswith(".py")]
        if files:
            lines.append(f"hpo run {_quoted(files[0])}{storage}    # go on with it")
    return "```\n" + "\n".join(lines) + "\n```" if lines else ""


def _quoted(text: str) -> str:
    return f"'{text}'" if " " in text else text


def _value(value: Any) -> str:
    text = number(value) if isinstance(value, float) else str(value)
    text = text.replace("`", "'").replace("|", "/").replace("\n", " ")
    return text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 3]}..."


def _table(header: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    lines = [header, ("---", "---"), *rows]
    return "\n".join(f"| {left} | {right} |" for left, right in lines)
