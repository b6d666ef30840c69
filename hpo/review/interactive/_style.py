"""What all interactive figures have in common: axes, markers, numbers."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hpo.result import StudyResult
from hpo.review._axes import Axis
from hpo.review._colors import STATES, WINNER
from hpo.review._html import escape
from hpo.trial import TrialRecord, TrialState

__all__ = [
    "Figure",
    "axis",
    "axis_of",
    "figure",
    "rounded",
    "score_range",
    "scored",
    "state_traces",
    "values_on",
    "winner_trace",
]

Figure = dict[str, Any]

SYMBOLS = {
    TrialState.COMPLETE: "circle",
    TrialState.PRUNED: "diamond",
    TrialState.FAILED: "x",
    TrialState.RUNNING: "square",
    TrialState.INTERRUPTED: "cross",
}
FEW_DECADES = 5
"""Of more, every other one has a tick."""
FEW = 12
"""So many values of a parameter have a tick each."""
MANY = 3000
"""From so many points on they are drawn by WebGL."""
GRID = "#e3e7ec"
HOVER = "%{hovertext}<extra></extra>"
"""The text of the trial, which the page's script sets."""


def rounded(values: Iterable[float], digits: int = 6) -> list[float | None]:
    """Return numbers with so many significant digits; None for those that are not finite."""
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in values]


def axis(title: str, *, log: bool = False, **more: Any) -> dict[str, Any]:
    """Return an axis."""
    kind: dict[str, Any] = {"type": "log", "dtick": 1} if log else {}
    if log:
        kind["exponentformat"] = "power"
    return {
        "title": {"text": escape(title)},
        "gridcolor": GRID,
        "zeroline": False,
        "automargin": True,
        **kind,
        **more,
    }


def axis_of(parameter: Axis, **more: Any) -> dict[str, Any]:
    """Return the axis of a parameter: logarithmic, linear, or with a tick for each choice."""
    if parameter.is_number:
        few = parameter.step is not None and parameter.n_values <= FEW
        whole: dict[str, Any] = {"dtick": parameter.step, "tick0": parameter.low} if few else {}
        ends = (parameter.low, parameter.high)
        low, high = map(math.log10, ends) if parameter.log else ends
        if parameter.log and high - low > FEW_DECADES:  # they would be turned, and overlap
            whole |= {"dtick": 2}
        margin = 0.04 * (high - low) or 0.5
        shown: dict[str, Any] = {"range": rounded([low - margin, high + margin])}
        return axis(parameter.name, log=parameter.log, **whole, **shown, **more)
    ticks: dict[str, Any] = {
        "tickvals": list(range(len(parameter.choices))),
        "ticktext": [escape(choice) for choice in parameter.choices],
        "range": [-0.6, len(parameter.choices) - 0.4],
    }
    return axis(parameter.name, **ticks, **more)


def values_on(parameter: Axis, records: Sequence[TrialRecord]) -> list[float]:
    """Return where each trial is on the axis of a parameter; choices are spread a little."""
    found = []
    for i, record in enumerate(records):
        value = record.trial.params[parameter.name]
        if parameter.is_number:
            found.append(float(value))
        else:  # multiples of the golden ratio spread more evenly than random numbers
            found.append(parameter.place(value) + (i * 0.618034) % 1.0 * 0.4 - 0.2)
    return found


def figure(traces: Sequence[Mapping[str, Any]], height: int, **layout: Any) -> Figure:
    """Return a figure."""
    return {
        "data": list(traces),
        "layout": {
            "height": height,
            "margin": {"l": 70, "r": 20, "t": 30, "b": 55},
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1c2430"},
            "plot_bgcolor": "#ffffff",
            "paper_bgcolor": "#ffffff",
            "hovermode": "closest",
            "hoverlabel": {"align": "left", "bgcolor": "#ffffff"},
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            **layout,
        },
    }


def scored(result: StudyResult) -> list[TrialRecord]:
    """Return the trials that have a score."""
    return [record for record in result.records if record.best_report]


def score_range(result: StudyResult) -> list[float] | None:
    """Return the range of an axis of scores: all but the lowest tenth.

    It is that of complete trials, if there are a few: a pruned trial's score is that of an early
    epoch and often much lower.
    """
    trials = scored(result)
    complete = [record.value for record in trials if record.state is TrialState.COMPLETE]
    values = complete if len(complete) > 2 else [record.value for record in trials]
    if not values:
        return None
    low, high = float(np.quantile(values, 0.1)), max(values)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return [low - 2 * margin, high + margin]


def state_traces(
    records: Sequence[TrialRecord],
    place: Callable[[TrialRecord], tuple[float, float]],
    *,
    legend: bool = True,
) -> list[dict[str, Any]]:
    """Return a trace of points for each state, with a colour and a marker of its own.

    Parameters
    ----------
    records : sequence of TrialRecord
    place : callable
        Returns x and y of a trial.
    legend : bool
    """
    traces = []
    for state in TrialState:
        those = [record for record in records if record.state is state]
        if not those:
            continue
        places = [place(record) for record in those]
        traces.append(
            {
                "type": "scattergl" if len(records) > MANY else "scatter",
                "mode": "markers",
                "name": f"{len(those)} {state}",
                "legendgroup": str(state),
                "showlegend": legend,
                "x": rounded(x for x, _ in places),
                "y": rounded(y for _, y in places),
                "customdata": [record.number for record in those],
                "hovertemplate": HOVER,
                "marker": {
                    "color": STATES[state],
                    "symbol": SYMBOLS[state],
                    "size": 7,
                    "opacity": 0.75,
                },
            }
        )
    return traces


def winner_trace(record: TrialRecord | None, x: float, y: float) -> list[dict[str, Any]]:
    """Return a star where the winner is; nothing without one."""
    if record is None:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": f"winner: trial {record.number}",
            "legendgroup": "winner",
            "x": rounded([x]),
            "y": rounded([y]),
            "customdata": [record.number],
            "hovertemplate": HOVER,
            "marker": {"color": WINNER, "symbol": "star", "size": 13},
        }
    ]
