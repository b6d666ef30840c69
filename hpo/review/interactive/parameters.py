"""What the parameters did: importance, parallel coordinates, slices, a contour of two of them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpo._format import short_names
from hpo.result import StudyResult
from hpo.review._axes import Axis, axes_of
from hpo.review._colors import SCALE, STATES
from hpo.review._html import escape
from hpo.review.importance import Importance
from hpo.review.interactive._style import (
    Figure,
    axis,
    axis_of,
    figure,
    rounded,
    score_range,
    scored,
    state_traces,
    values_on,
    winner_trace,
)
from hpo.trial import TrialRecord, TrialState

__all__ = ["contour", "importance", "parallel", "slices"]

MOST_PANELS = 24
"""Parameters that have a slice of their own: the most important ones."""
MOST_LINES = 2000
"""Trials with a line in the parallel coordinates: the best ones."""
MOST_AXES = 12
N_CONTOUR = 45
"""Cells of the contour in each direction."""
FEWEST_FOR_CONTOUR = 10


def importance(found: Sequence[Importance]) -> Figure | None:
    """Return the importance of each parameter beside what shuffled scores reach."""
    if not found:
        return None
    rows = list(reversed(found))
    names = [f"{escape(each.name)}  {each.value:.1%}" for each in rows]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": "importance",
            "y": names,
            "x": rounded(each.value for each in rows),
            "marker": {"color": [_shade(each) for each in rows]},
            "hovertext": [
                f"{escape(each.name)}: {each.value:.1%} over {each.n_trials} trials<br>"
                f"shuffled scores reach {each.chance:.1%} in one of 20 studies"
                for each in rows
            ],
            "hoverinfo": "text",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "what shuffled scores reach (95 %)",
            "y": names,
            "x": rounded(each.chance for each in rows),
            "marker": {
                "symbol": "line-ns-open",
                "size": 16,
                "color": "#000000",
                "line": {"width": 2.5},
            },
            "hoverinfo": "skip",
        },
    ]
    return figure(
        traces,
        150 + 28 * len(rows),
        xaxis=axis("share of the importance (PED-ANOVA)", tickformat=".0%", rangemode="tozero"),
        yaxis=axis("", type="category"),
    )


def _shade(each: Importance) -> str:
    return STATES[TrialState.COMPLETE] if each.is_more_than_chance else "#b9c2cc"


def _ordered(result: StudyResult, found: Sequence[Importance], n: int) -> list[Axis]:
    """Return the axes of the ``n`` most important parameters, the most important first."""
    axes = axes_of(result, scored(result))
    names = [each.name for each in found if each.name in axes]
    return [axes[name] for name in dict.fromkeys([*names, *axes])][:n]


def _comparable(result: StudyResult) -> list[TrialRecord]:
    """Return the complete trials, best first, or all that have a score if they are too few.

    A pruned trial's score is that of an early epoch.
    """
    complete = result.top(result.n_trials)
    return complete if len(complete) > 2 else scored(result)


def parallel(result: StudyResult, found: Sequence[Importance]) -> Figure | None:
    """Return parallel coordinates of the complete trials; ranges can be selected on each axis."""
    records = _comparable(result)[:MOST_LINES]
    axes = _ordered(result, found, MOST_AXES)
    if len(records) < 2 or not axes:
        return None
    values = [record.value for record in records]
    low = max(min(values), (score_range(result) or [-math.inf])[0])
    names = short_names(each.name for each in axes)
    traces = [
        {
            "type": "parcoords",
            "line": {
                "color": rounded(values),
                "colorscale": _named(SCALE),
                "cmin": low,
                "cmax": max(values),
                "showscale": True,
                "colorbar": {"title": {"text": escape(result.scoring)}, "thickness": 14},
            },
            "labelangle": -12 if len(axes) > 4 else 0,
            "dimensions": [
                *(_dimension(each, names[each.name], records) for each in axes),
                {
                    "label": escape(result.scoring),
                    "values": rounded(max(value, low) for value in values),
                    "range": rounded([low, max(values)]),
                    "tickvals": rounded(np.linspace(low, max(values), 5)),
                    "ticktext": [f"{each:.4g}" for each in np.linspace(low, max(values), 5)],
                },
            ],
        }
    ]
    return figure(traces, 430, margin={"l": 70, "r": 30, "t": 80, "b": 30})


def _dimension(each: Axis, name: str, records: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return an axis of the parallel coordinates; trials without the parameter are below it."""
    known = [record.trial.params.get(each.name, math.nan) for record in records]
    values = [_coordinate(each, v) for v in known]
    if each.is_number:
        low, high = (math.log10(v) if each.log else v for v in (each.low, each.high))
        ticks = _ticks(each)
    else:
        low, high = 0.0, len(each.choices) - 1.0
        ticks = [(float(i), label) for i, label in enumerate(each.choices)]
    missing = any(math.isnan(value) for value in values)
    if missing:
        below = low - 0.12 * ((high - low) or 1.0)
        values = [below if math.isnan(value) else value for value in values]
        ticks = [(below, "none"), *ticks]
        low = below
    margin = 0.02 * ((high - low) or 1.0)
    return {
        "label": escape(name),
        "values": rounded(values),
        "range": rounded([low - margin, high + margin]),
        "tickvals": rounded(place for place, _ in ticks),
        "ticktext": [escape(label) for _, label in ticks],
    }


def _coordinate(each: Axis, value: Any) -> float:
    if not each.is_number:
        return math.nan if isinstance(value, float) and math.isnan(value) else each.place(value)
    return math.log10(value) if each.log and value > 0 else float(value)


def _ticks(each: Axis) -> list[tuple[float, str]]:
    """Return the ticks of a number: powers of ten, or five even steps."""
    if not each.log:
        n = min(5, each.n_values)
        places = [each.low + i * (each.high - each.low) / max(1, n - 1) for i in range(int(n))]
        return [(place, f"{place:.3g}") for place in places]
    low, high = math.log10(each.low), math.log10(each.high)
    powers = [float(p) for p in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)]
    inner = [p for p in powers if min(p - low, high - p) > 0.08 * (high - low)]
    return [(place, f"{10**place:.3g}") for place in (low, *inner, high)]


def slices(result: StudyResult, found: Sequence[Importance]) -> Figure | None:
    """Return the score against each parameter, the most important one first."""
    trials, axes = scored(result), _ordered(result, found, MOST_PANELS)
    if not axes:
        return None
    n_columns = min(3, len(axes))
    n_rows = -(-len(axes) // n_columns)
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    gap, row_gap = 0.035, min(0.12, 0.3 / n_rows)
    width = (1 - gap * (n_columns - 1)) / n_columns
    height = (1 - row_gap * (n_rows - 1)) / n_rows
    for i, each in enumerate(axes):
        row, column = divmod(i, n_columns)
        number = "" if i == 0 else str(i + 1)
        left, top = column * (width + gap), 1 - row * (height + row_gap)
        x = axis_of(each, domain=[left, min(1.0, left + width)], anchor=f"y{number}")
        x |= {"automargin": False, "title": {**x["title"], "standoff": 4}}
        layout[f"xaxis{number}"] = x
        layout[f"yaxis{number}"] = axis(
            result.scoring if column == 0 else "",
            domain=[max(0.0, top - height), top],
            anchor=f"x{number}",
            range=score_range(result),
            showticklabels=column == 0,
            matches="y" if i else None,
        )
        on = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        traces += [{**trace, **on} for trace in _slice(result, each, trials)]
    told: set[str] = set()
    for trace in traces:  # one entry for all panels
        group = trace["legendgroup"]
        trace |= {"showlegend": group not in told, "name": group}
        told.add(group)
    return figure(traces, 90 + 250 * n_rows, **layout)


def _slice(result: StudyResult, each: Axis, trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    those = [record for record in trials if each.name in record.trial.params]
    places = dict(zip((r.number for r in those), values_on(each, those), strict=True))
    traces = state_traces(those, lambda record: (places[record.number], record.value))
    winner = result.winner
    if winner is not None and winner.number in places:
        traces += winner_trace(winner, places[winner.number], winner.value)
    return traces


def contour(result: StudyResult, found: Sequence[Importance]) -> Figure | None:
    """Return the score over the two most important numbers, smoothed, with the trials.

    The mean of the scores around each point, weighted by a normal distribution; left empty where
    no trial is near. None with fewer than 10 trials that have both.
    """
    numbers = [each for each in _ordered(result, found, 10_000) if each.is_number]
    numbers = [each for each in numbers if each.high > each.low]
    if len(numbers) < 2:
        return None
    x, y = numbers[:2]
    records = [r for r in _comparable(result) if {x.name, y.name} <= r.trial.params.keys()]
    if len(records) < FEWEST_FOR_CONTOUR:
        return None
    at = np.array([[a.place(r.trial.params[a.name]) for a in (x, y)] for r in records], dtype=float)
    values = np.array([record.value for record in records])
    low = float(np.quantile(values, 0.1))
    grid = np.linspace(0.0, 1.0, N_CONTOUR)
    surface = _smoothed(at, np.maximum(values, low), grid)
    traces: list[dict[str, Any]] = [
        {
            "type": "contour",
            "x": rounded(map(x.value_at, grid)),
            "y": rounded(map(y.value_at, grid)),
            "z": [rounded(row, 5) for row in surface],
            "colorscale": _named(SCALE),
            "ncontours": 16,
            "colorbar": {"title": {"text": escape(result.scoring)}, "thickness": 14},
            "hoverinfo": "skip",
            "line": {"width": 0.4, "color": "#ffffff"},
        },
        *state_traces(
            records, lambda r: (r.trial.params[x.name], r.trial.params[y.name]), legend=False
        ),
    ]
    for trace in traces[1:]:
        trace["marker"] = {
            "color": "#ffffff",
            "size": 5,
            "line": {"color": "#000000", "width": 1},
            "symbol": "circle",
        }
    winner = result.winner
    if winner is not None and {x.name, y.name} <= winner.trial.params.keys():
        (star,) = winner_trace(winner, winner.trial.params[x.name], winner.trial.params[y.name])
        star["marker"] = {
            "color": "#d55e00",
            "symbol": "star",
            "size": 15,
            "line": {"color": "#ffffff", "width": 1},
        }
        traces.append(star)
    return figure(traces, 480, xaxis=axis_of(x), yaxis=axis_of(y))


def _smoothed(at: np.ndarray, values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return smoothed values, of shape (n_grid, n_grid) with y first; nan far from all trials."""
    width = max(0.05, 0.35 * len(values) ** (-1 / 6))
    wx = np.exp(-0.5 * ((grid[:, None] - at[:, 0]) / width) ** 2)
    wy = np.exp(-0.5 * ((grid[:, None] - at[:, 1]) / width) ** 2)
    weights = wy @ wx.T
    means = (wy * values) @ wx.T / np.maximum(weights, 1e-12)
    surface: np.ndarray = np.where(weights > math.exp(-2.0), means, math.nan)
    return surface


def _named(scale: str) -> list[list[Any]]:
    """Return a colour scale by stops: plotly.js need not know its name."""
    stops = {
        "cividis": (
            "#00224e", "#123570", "#3b496c", "#575d6d", "#707173",
            "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838",
        )
    }[scale]  # fmt: skip
    return [[i / (len(stops) - 1), color] for i, color in enumerate(stops)]
