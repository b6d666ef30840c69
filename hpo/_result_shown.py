"""How a result shows itself: a few lines of text, and a table with a curve in a notebook.

The functions take a `StudyResult`, which calls them: it stands on a higher floor.
"""

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

from hpo._format import brief_value, printable, score, score_with_interval, short_names

__all__ = ["html_of", "text_of"]

_N_TOP = 5
"""Trials in the table of a notebook."""
_WIDEST = 300
"""Characters of the winner's parameters in a text."""
_MOST_PARAMS = 12
"""Columns of parameters in the table of a notebook."""
_MOST_DOTS = 400
"""Trials that are drawn in a curve, the best of them; the line stands for all."""
_STATES = ("complete", "pruned", "failed", "running")
_WIDTH, _HEIGHT, _MARGIN = 440, 130, 14
_CELL = 'style="text-align:left;padding:2px 14px 2px 0"'


def text_of(result: Any) -> str:
    """Return a result in a few lines: how its trials ended, the winner and its scores."""
    lines = [f"StudyResult {result.name!r}: {_counts(result)}"]
    lines += [f"  {name:<10} {value}" for name, value in _facts(result)]
    return printable("\n".join(lines))


def html_of(result: Any) -> str:
    """Return a result as HTML: its scores, its best trials and the course of the best score."""
    facts = "".join(
        f"<tr><th {_CELL}>{_escape(name)}</th><td {_CELL}>{_escape(value)}</td></tr>"
        for name, value in _facts(result)
    )
    parts = [
        f"<div><strong>{_escape(result.name)}</strong>&ensp;{_escape(_counts(result))}",
        f"<table>{facts}</table>" if facts else "",
        _top(result),
        _curve(result),
        "</div>",
    ]
    return "\n".join(part for part in parts if part)


def _escape(text: str) -> str:
    return html.escape(printable(text))


def _counts(result: Any) -> str:
    states = [str(record.state) for record in result.records]
    counts = [f"{states.count(state)} {state}" for state in _STATES if state in states]
    counts += [f"{result.n_interrupted} interrupted"] if result.n_interrupted else []
    plural = "trial" if result.n_trials == 1 else "trials"
    return f"{result.n_trials} {plural}" + (f" ({', '.join(counts)})" if counts else "")


def _facts(result: Any) -> Iterable[tuple[str, str]]:
    """Yield names and values: the winner and its scores."""
    best = result.winner
    if best is None:
        yield "winner", "none: no trial is complete with a finite score"
        return
    total = f" of {best.max_steps}" if best.max_steps else ""
    yield "winner", f"trial {best.number}, epoch {result.best_step}{total}"
    se = " s.e." if math.isfinite(result.best_score_se) else ""
    yield result.scoring, f"{score(result.best_score, result.best_score_se)}{se}"
    if result.corrected is not None:
        yield (
            "corrected",
            score_with_interval(result.corrected.value, result.corrected.interval),
        )
    if result.nested:
        yield "nested", score(result.nested_score, result.nested_score_se)
    if result.test_score is not None:
        yield "held-out", score_with_interval(result.test_score, result.test_interval)
    params = best.best_params
    names = short_names(params)
    text = ", ".join(f"{names[name]} {brief_value(value)}" for name, value in params.items())
    if text:
        yield "params", text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."
    if result.stopped:
        yield "stopped", result.stopped
    if result.refit_error:
        yield "refit", "failed; its traceback is `refit_error`"


def _top(result: Any) -> str:
    records = result.top(_N_TOP)
    if not records:
        return ""
    all_params = dict.fromkeys(name for record in records for name in record.trial.params)
    names = short_names(list(all_params)[:_MOST_PARAMS])
    rows = [["trial", result.scoring, "epoch", *names.values()]]
    for record in records:
        step = record.best_report.step if record.best_report else 0
        params = record.trial.params
        values = [brief_value(params[name]) if name in params else "" for name in names]
        rows.append([str(record.number), score(record.value), str(step), *values])
    head, *body = (_row(row, "td" if i else "th") for i, row in enumerate(rows))
    return f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"


def _row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag} {_CELL}>{_escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _curve(result: Any) -> str:
    """Return the scores of the complete trials and the best so far, by trial, as SVG."""
    ranked = sorted(result.top(_MOST_DOTS), key=lambda record: record.number)
    scored = sorted(result.top(len(result.records)), key=lambda record: record.number)
    if len(scored) < 2:
        return ""
    steps: list[tuple[int, float]] = []
    for record in scored:
        if not steps or record.value > steps[-1][1]:
            steps.append((record.number, record.value))
    low = min(record.value for record in ranked)
    high, last = steps[-1][1], max(1, scored[-1].number)
    span = (high - low) or 1.0

    def x(number: int) -> str:
        return f"{_MARGIN + number / last * (_WIDTH - 2 * _MARGIN):.1f}"

    def y(value: float) -> str:
        share = (max(value, low) - low) / span
        return f"{_HEIGHT - _MARGIN - share * (_HEIGHT - 2 * _MARGIN):.1f}"

    dots = "".join(
        f'<circle cx="{x(record.number)}" cy="{y(record.value)}" r="2.5"/>' for record in ranked
    )
    first, *others = steps
    path = f"M{x(first[0])} {y(first[1])}"
    path += "".join(f"H{x(number)}V{y(value)}" for number, value in others) + f"H{x(last)}"
    title = _escape(
        f"{result.scoring} by trial, {score(low)} to {score(high)}; the line is the best so far"
    )
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{title}</title>'
        f'<g fill="#4878a8" fill-opacity="0.55">{dots}</g>'
        f'<path d="{path}" fill="none" stroke="#e0995e" stroke-width="2"/></svg>'
        f'<div style="font-size:85%">{title}</div>'
    )
