"""What the scores are made of: compared values, costs, and the rows that the folds validated."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpo.out_of_fold import OutOfFold
from hpo.result import StudyResult
from hpo.review._axes import LOG_RANGE
from hpo.review._colors import STATES, WINNER
from hpo.review._html import escape
from hpo.review.comparison import BEST, BETTER, SAME, Comparison
from hpo.review.interactive._style import (
    HOVER,
    Figure,
    axis,
    figure,
    rounded,
    state_traces,
)
from hpo.trial import TrialState

__all__ = ["calibration", "compared", "confusion", "pareto_front", "predicted"]

N_BINS = 10
MOST_CLASSES = 60
MOST_ROWS = 3000
"""Rows that are drawn of a regression."""

_VERDICTS = {
    BEST: (WINNER, "star"),
    SAME: (STATES[TrialState.COMPLETE], "circle"),
    BETTER: (STATES[TrialState.RUNNING], "triangle-up"),
}
_OTHER = (STATES[TrialState.FAILED], "triangle-down")


def compared(comparison: Comparison) -> Figure | None:
    """Return the score of each compared value with its standard error, the best on top."""
    groups = comparison.ranked[::-1]
    if not groups:
        return None
    traces = []
    for verdict in dict.fromkeys(group.verdict for group in reversed(groups)):
        those = [group for group in groups if group.verdict == verdict]
        color, symbol = _VERDICTS.get(verdict, _OTHER)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": escape(verdict or "not judged"),
                "y": [escape(group.label) for group in those],
                "x": rounded(group.score[0] for group in those),
                "error_x": {
                    "type": "data",
                    "array": rounded(
                        0.0 if math.isnan(group.score[1]) else group.score[1] for group in those
                    ),
                    "color": color,
                    "thickness": 1.5,
                },
                "customdata": [group.record.number for group in those if group.record],
                "hovertemplate": HOVER,
                "marker": {"color": color, "symbol": symbol, "size": 10},
            }
        )
    labels = [escape(group.label) for group in groups]
    return figure(
        traces,
        150 + 26 * len(groups),
        xaxis=axis(f"{comparison.scoring}, one standard error"),
        yaxis=axis("", type="category", categoryorder="array", categoryarray=labels),
    )


def pareto_front(result: StudyResult) -> Figure | None:
    """Return the score of the complete trials against each cost, with the front as a line."""
    if not result.costs or not result.top(1):
        return None
    n = len(result.costs)
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    width = (1 - 0.08 * (n - 1)) / n
    for i, name in enumerate(result.costs):
        number = "" if i == 0 else str(i + 1)
        on = {"xaxis": f"x{number}", "yaxis": f"y{number}", "showlegend": i == 0}
        traces += [{**trace, **on} for trace in _front(result, name)]
        costs = [c for r in result.top(result.n_trials) if math.isfinite(c := r.cost(name))]
        log = bool(costs) and min(costs) > 0 and max(costs) / min(costs) >= LOG_RANGE
        left = i * (width + 0.08)
        layout[f"xaxis{number}"] = axis(
            name, log=log, domain=[left, min(1.0, left + width)], anchor=f"y{number}"
        )
        layout[f"yaxis{number}"] = axis(result.scoring if i == 0 else "", anchor=f"x{number}")
    return figure(traces, 430, **layout)


def _front(result: StudyResult, cost: str) -> list[dict[str, Any]]:
    complete = result.top(result.n_trials)
    front = sorted(result.pareto_front(), key=lambda record: record.cost(cost))
    return [
        *state_traces(complete, lambda record: (record.cost(cost), record.value)),
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"Pareto front: {len(front)} trials",
            "legendgroup": "front",
            "x": rounded(record.cost(cost) for record in front),
            "y": rounded(record.value for record in front),
            "customdata": [record.number for record in front],
            "hovertemplate": HOVER,
            "line": {"color": WINNER, "shape": "hv", "width": 2},
            "marker": {"symbol": "star", "size": 11, "color": WINNER},
        },
    ]


def confusion(oof: OutOfFold) -> Figure | None:
    """Return the confusion matrix of the validated rows; None for anything but classes."""
    if not _has_classes(oof):
        return None
    assert oof.y is not None
    assert oof.classes is not None
    labels = [escape(str(label)) for label in oof.classes]
    matrix = _matrix(oof)
    n = matrix.sum(axis=1, keepdims=True)
    share = matrix / np.maximum(1, n)
    size = min(720, 200 + 30 * len(labels))
    few = len(labels) <= 15
    cells: dict[str, Any] = {
        "type": "heatmap",
        "x": labels,
        "y": labels,
        # the square root makes small numbers of mistakes visible
        "z": [rounded(row, 4) for row in np.sqrt(share)],
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "#ffffff"], [0.5, "#7fb2d6"], [1, "#08306b"]],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hovertext": [
            [
                f"{labels[i]} taken for {labels[j]}: {matrix[i, j]} of {n[i, 0]} "
                f"({share[i, j]:.1%})"
                for j in range(len(labels))
            ]
            for i in range(len(labels))
        ],
        "hoverinfo": "text",
    }
    if few:
        cells |= {
            "text": [[str(v) if v else "" for v in row] for row in matrix.tolist()],
            "texttemplate": "%{text}",
        }
    ticks: dict[str, Any] = {"type": "category", "showgrid": False}
    return figure(
        [cells],
        size,
        width=size + 60,
        xaxis=axis("taken for", constrain="domain", **ticks),
        yaxis=axis("is", autorange="reversed", scaleanchor="x", **ticks),
    )


def calibration(oof: OutOfFold) -> Figure | None:
    """Return accuracy by confidence of the validated rows; None without probabilities."""
    if not _has_classes(oof) or oof.kind != "predict_proba":
        return None
    p = np.asarray(oof.predictions, dtype=float)
    confidence = np.maximum(p, 1 - p) if p.ndim == 1 else p.max(axis=1)
    right = np.asarray(oof.labels == oof.y)
    place = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    bins = [place == i for i in range(N_BINS) if (place == i).any()]
    n = [int(each.sum()) for each in bins]
    x = [float(confidence[each].mean()) for each in bins]
    y = [float(right[each].mean()) for each in bins]
    error = [math.sqrt(a * (1 - a) / k) for a, k in zip(y, n, strict=True)]
    gap = sum(abs(a - c) * k for a, c, k in zip(y, x, n, strict=True)) / len(right)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [0, 1],
            "y": [0, 1],
            "name": "as confident as right",
            "line": {"color": "#9aa5b1", "dash": "dash"},
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"winner, calibration error {gap:.3g}",
            "x": rounded(x),
            "y": rounded(y),
            "error_y": {"type": "data", "array": rounded(error), "thickness": 1},
            "line": {"color": STATES[TrialState.COMPLETE]},
            "marker": {"size": rounded(5 + 15 * math.sqrt(k / max(n)) for k in n)},
            "hovertext": [
                f"{k} rows: confidence {c:.3f}, right {a:.3f}"
                for k, c, a in zip(n, x, y, strict=True)
            ],
            "hoverinfo": "text",
        },
    ]
    low = min(0.9, *x, *y) - 0.05
    return figure(
        traces,
        420,
        width=620,
        xaxis=axis("confidence", range=[low, 1.02]),
        yaxis=axis("accuracy", range=[min(low, *y) - 0.03, 1.03]),
    )


def predicted(oof: OutOfFold) -> Figure | None:
    """Return predictions of the validated rows against their targets; None for classes."""
    if oof.classes is not None or oof.y is None:
        return None
    y, values = np.asarray(oof.y).squeeze(), np.asarray(oof.predictions).squeeze()
    if y.ndim != 1 or values.shape != y.shape or not np.issubdtype(y.dtype, np.number):
        return None
    kept = np.unique(np.linspace(0, len(y) - 1, min(len(y), MOST_ROWS)).astype(int))
    y, values, rows = y[kept].astype(float), values[kept].astype(float), oof.rows[kept]
    ends = rounded([float(y.min()), float(y.max())])
    traces: Sequence[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": f"{len(kept)} of {len(oof.rows)} rows",
            "x": rounded(y.tolist()),
            "y": rounded(values.tolist()),
            "hovertext": [f"row {row}" for row in rows],
            "hoverinfo": "text+x+y",
            "marker": {"size": 5, "opacity": 0.5, "color": STATES[TrialState.COMPLETE]},
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "predicted as it is",
            "x": ends,
            "y": ends,
            "line": {"color": "#9aa5b1", "dash": "dash"},
            "hoverinfo": "skip",
        },
    ]
    return figure(
        traces, 460, width=620, xaxis=axis("target"), yaxis=axis("out-of-fold prediction")
    )


def _has_classes(oof: OutOfFold) -> bool:
    return (
        oof.classes is not None
        and oof.y is not None
        and oof.y.ndim == 1
        and 1 < len(oof.classes) <= MOST_CLASSES
        and np.asarray(oof.labels).ndim == 1
    )


def _matrix(oof: OutOfFold) -> np.ndarray:
    """Return the counts of rows by true class and predicted class."""
    assert oof.classes is not None
    place = {label: i for i, label in enumerate(oof.classes.tolist())}
    matrix = np.zeros((len(place), len(place)), dtype=int)
    assert oof.y is not None
    for true, taken in zip(oof.y.tolist(), np.asarray(oof.labels).tolist(), strict=True):
        if true in place and taken in place:
            matrix[place[true], place[taken]] += 1
    return matrix
