"""The interactive parts of a report's page: data, scripts, and where they are shown."""

import base64
import gzip
import json
import math
import textwrap
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hpo._format import single_line
from hpo.out_of_fold import OutOfFold
from hpo.result import StudyResult
from hpo.review._axes import has_epochs, is_number
from hpo.review._html import escape
from hpo.review.comparison import Comparison
from hpo.review.importance import Importance
from hpo.review.interactive import parameters, scores, search
from hpo.review.interactive._style import Figure
from hpo.trial import SECONDS, TrialRecord

__all__ = ["figures_of", "interactive_parts"]

_SCRIPT = Path(__file__).with_name("report.js")
_LONGEST = 300
"""Characters of a reason that are shown; all of it is in trials.csv."""
_WIDTH = 90


def figures_of(
    result: StudyResult,
    found: list[Importance],
    comparison: Comparison | None = None,
) -> dict[str, Figure]:
    """Return the interactive figures of a study, by name, without those that it cannot have.

    Parameters
    ----------
    result : StudyResult
    found : list of Importance
        What `importances` returns for it.
    comparison : Comparison or None
        What `compare` returns for it.
    """
    oof = _out_of_fold(result)
    made = {
        "history": search.history(result),
        "curves": search.curves(result),
        "saved": search.saved(result),
        "importance": parameters.importance(found),
        "slices": parameters.slices(result, found),
        "parallel": parameters.parallel(result, found),
        "contour": parameters.contour(result, found),
        "timeline": search.timeline(result),
        "pareto_front": scores.pareto_front(result),
        "comparison": scores.compared(comparison) if comparison is not None else None,
    }
    if oof is not None:
        made |= {
            "confusion": scores.confusion(oof),
            "calibration": scores.calibration(oof),
            "predicted": scores.predicted(oof),
        }
    return {name: figure for name, figure in made.items() if figure is not None}


def _out_of_fold(result: StudyResult) -> OutOfFold | None:
    if result.winner is None:
        return None
    try:
        return result.oof()
    except (KeyError, OSError, ValueError):  # not kept, or on another machine
        return None


def interactive_parts(
    result: StudyResult, figures: Mapping[str, Figure]
) -> tuple[Callable[[str], str], str, str]:
    """Return what the page of a study shows, as HTML.

    Parameters
    ----------
    result : StudyResult
    figures : mapping of str to Figure
        See `figures_of`.

    Returns
    -------
    place : callable
        ``place(name)`` returns the place of a figure; empty if there is no such figure.
    table : str
        The place of the table of all trials.
    scripts : str
        The data and all scripts, for the end of the page: plotly.js is compressed, and no other
        file is needed.
    """

    def place(name: str) -> str:
        if name not in figures:
            return ""
        height = figures[name]["layout"]["height"]
        return f'<div class="plot" data-figure="{name}" style="min-height:{height}px"></div>'

    data = {
        "figures": figures,
        "trials": _table(result),
        "hover": {record.number: _hover_text(record, result.scoring) for record in result.records},
    }
    scripts = (
        f'<script type="application/json" id="report-data">{_json(data)}</script>\n'
        f'<script type="text/plain" id="plotly-gz">{_plotly()}</script>\n'
        f'<script type="text/javascript">\n{_SCRIPT.read_text(encoding="utf-8")}</script>'
    )
    return place, '<div id="all-trials"></div>' if result.records else "", scripts


@cache
def _plotly() -> str:
    """Return plotly.js, compressed, as text: 2 MB instead of 4.8."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode("ascii")


def _json(data: Any) -> str:
    """Return JSON that cannot end the script that it stands in."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hover_text(record: TrialRecord, scoring: str) -> str:
    """Return what is told of a trial where the pointer is on it, as plotly's markup."""
    head = f"<b>trial {record.number}</b>, {record.state}"
    lines = [head]
    best = record.best_report
    if best is not None:
        at = f" at epoch {best.step} of {record.last_step}" if record.last_step > 1 else ""
        lines.append(f"{escape(scoring)} {best.value:.5g}{at}")
    lines += [
        f"{escape(name)} = {escape(_cut(_value(value), 60))}"
        for name, value in record.trial.params.items()
    ]
    if record.reason:
        text = _cut(single_line(record.reason), _LONGEST)
        lines += map(escape, textwrap.wrap(text, _WIDTH))
    return "<br>".join(lines)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else single_line(str(value))


def _table(result: StudyResult) -> dict[str, Any]:
    """Return the columns and rows of the table of all trials; numbers remain numbers."""
    names = list(dict.fromkeys(n for record in result.records for n in record.trial.params))
    epochs = has_epochs(result)
    columns = ["trial", "state", result.scoring, *(["epoch", "epochs"] if epochs else [])]
    columns += ["seconds", *_further_costs(result), *names, "reason"]
    return {"columns": columns, "rows": [_cells(r, result, names, epochs) for r in result.records]}


def _cells(record: TrialRecord, result: StudyResult, names: list[str], epochs: bool) -> list[Any]:
    best = record.best_report
    steps = [best.step if best else None, record.last_step] if epochs else []
    return [
        record.number,
        str(record.state),
        _cell(record.value),
        *steps,
        _cell(record.seconds),
        *(_cell(record.cost(name)) for name in _further_costs(result)),
        *(_cell(record.trial.params.get(name, "")) for name in names),
        _cut(single_line(record.reason), _LONGEST),
    ]


def _further_costs(result: StudyResult) -> list[str]:
    return [name for name in result.costs if name != SECONDS]


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value if is_number(value) else single_line(str(value))
