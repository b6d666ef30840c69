"""How the search went: best score so far, learning curves, epochs saved, a timeline."""

import heapq
import math
import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from hpo.result import StudyResult
from hpo.review._axes import has_epochs
from hpo.review._colors import STATES, WINNER
from hpo.review.interactive._style import (
    HOVER,
    Figure,
    axis,
    figure,
    rounded,
    score_range,
    scored,
    state_traces,
    winner_trace,
)
from hpo.trial import TrialRecord, TrialState

__all__ = ["curves", "history", "saved", "timeline"]

MOST_POINTS = 30_000
"""Points of all learning curves together; longer curves are thinned evenly."""
FEWEST_POINTS = 12
"""Points that are left of each curve whatever their number."""
MOST_CURVES = 4000
"""Trials whose curves are drawn: the best ones."""
FEW_CURVES = 200
"""From so many curves on they are thinner."""
MOST_NAMES = 24
"""Workers that are named beside the timeline; of more, some are."""
N_MEDIAN = 3
"""Fewest trials of which a median is drawn."""


def history(result: StudyResult) -> Figure | None:
    """Return the score of each trial and the best one so far; None without scores."""
    trials = scored(result)
    if not trials:
        return None
    numbers = [record.number for record in result.records]
    values = [r.value if r.state is TrialState.COMPLETE else math.nan for r in result.records]
    traces = state_traces(trials, lambda record: (record.number, record.value))
    if not all(map(math.isnan, values)):
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "best so far",
                "x": numbers,
                "y": rounded(np.fmax.accumulate(values)),
                "line": {"color": WINNER, "width": 2, "shape": "hv"},
                "hoverinfo": "skip",
            }
        )
    winner = result.winner
    traces += winner_trace(winner, winner.number, winner.value) if winner else []
    return figure(
        traces,
        420,
        xaxis=axis("trial"),
        yaxis=axis(result.scoring, range=score_range(result)),
    )


def curves(result: StudyResult) -> Figure | None:
    """Return the scores by epoch: pruned trials faded, the winner bold, the median dashed.

    None if no trial has made more than one step.
    """
    if not has_epochs(result):
        return None
    winner = result.winner
    trials = [record for record in _with_curves(result) if record is not winner]
    if len(trials) > MOST_CURVES:
        trials = sorted(trials, key=lambda record: -record.value)[:MOST_CURVES]
    most = max(FEWEST_POINTS, MOST_POINTS // max(1, len(trials)))
    traces = []
    for state in (TrialState.PRUNED, *(s for s in TrialState if s is not TrialState.PRUNED)):
        those = [record for record in trials if record.state is state]
        if those:
            traces.append(_lines(state, those, most))
            traces.append(_ends(state, those))
    traces += _median(result)
    if winner is not None:
        traces += _winner_lines(winner)
    raced = any(record.screening for record in result.records)
    of = f"{result.scoring} (stopped trials: first fold alone)" if raced else result.scoring
    return figure(traces, 480, xaxis=axis("epoch"), yaxis=axis(of, range=_curve_range(result)))


def _with_curves(result: StudyResult) -> list[TrialRecord]:
    """Return the trials; one that was stopped before it got all folds as its first fold."""
    return [r.furthest for r in result.records if r.furthest.best_report]


def _lines(state: TrialState, records: Sequence[TrialRecord], most: int) -> dict[str, Any]:
    """Return all curves of a state as one trace: a thousand of their own take a browser long."""
    x: list[float | None] = []
    y: list[float | None] = []
    numbers: list[int] = []
    for record in records:
        reports = _thinned(record, most)
        x += [*(report.step for report in reports), None]
        y += [*rounded(report.value for report in reports), None]
        numbers += [record.number] * (len(reports) + 1)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"{len(records)} {state}",
        "legendgroup": str(state),
        "x": x,
        "y": y,
        "customdata": numbers,
        "hovertemplate": HOVER,
        "line": {
            "color": STATES[state],
            "width": 1 if len(records) < FEW_CURVES else 0.5,
            "dash": "dot" if state is TrialState.PRUNED else "solid",
        },
        "opacity": 0.5 if state is TrialState.PRUNED else 0.65,
        "connectgaps": False,
    }


def _thinned(record: TrialRecord, most: int) -> list[Any]:
    """Return some of a trial's reports, evenly; the first, the best and the last among them."""
    n = len(record.reports)
    if n <= most:
        return list(record.reports)
    kept = {round(i * (n - 1) / (most - 1)) for i in range(most)}
    best = record.best_report
    return [r for i, r in enumerate(record.reports) if i in kept or r is best]


def _ends(state: TrialState, records: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return the last point of each curve, on which the reason of its end can be read."""
    (trace,) = state_traces(
        records, lambda record: (record.last_step, record.reports[-1].value), legend=False
    )
    faded = state is TrialState.PRUNED
    return {**trace, "marker": {**trace["marker"], "size": 6, "opacity": 0.55 if faded else 0.8}}


def _median(result: StudyResult) -> list[dict[str, Any]]:
    by_step: dict[int, list[float]] = {}
    for record in result.records:
        for report in record.screening or record.reports:  # what the pruner compares
            if math.isfinite(report.value):
                by_step.setdefault(report.step, []).append(report.value)
    steps = sorted(step for step, values in by_step.items() if len(values) >= N_MEDIAN)
    if not steps:
        return []
    medians = rounded(float(np.median(by_step[step])) for step in steps)
    shared = {"type": "scatter", "mode": "lines", "x": steps, "y": medians}
    name = "median of the trials that got there"
    return [
        {  # a white edge, to be seen on a thousand curves
            **shared,
            "line": {"color": "#ffffff", "width": 6},
            "legendgroup": "median",
            "showlegend": False,
            "hoverinfo": "skip",
        },
        {
            **shared,
            "name": name,
            "legendgroup": "median",
            "line": {"color": "#d55e00", "width": 3, "dash": "dash"},
            "hovertemplate": "median at epoch %{x}: %{y}<extra></extra>",
        },
    ]


def _winner_lines(record: TrialRecord) -> list[dict[str, Any]]:
    best = record.best_report
    assert best is not None
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": f"winner: trial {record.number}",
        "legendgroup": "winner",
        "x": [report.step for report in record.reports],
        "y": rounded(report.value for report in record.reports),
        "customdata": [record.number] * len(record.reports),
        "hovertemplate": HOVER,
        "line": {"color": WINNER, "width": 3},
        "showlegend": False,
    }
    return [line, *winner_trace(record, best.step, record.value)]


def _curve_range(result: StudyResult) -> list[float] | None:
    values = [
        report.value
        for record in _with_curves(result)
        for report in record.reports
        if math.isfinite(report.value)
    ]
    if not values:
        return None
    low, high = float(np.quantile(values, 0.05)), max(values)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return [low - margin, high + margin]


def saved(result: StudyResult) -> Figure | None:
    """Return the epochs that were trained, and those that would have been without pruning.

    Trials count in the order in which they ended. None if nothing was pruned.
    """
    ended = [
        record
        for record in result.records
        if record.state in {TrialState.COMPLETE, TrialState.PRUNED} and record.max_steps
    ]
    ended.sort(key=lambda record: (record.ended or math.inf, record.number))
    if not has_epochs(result) or not any(r.state is TrialState.PRUNED for r in ended):
        return None
    made = list(accumulate(record.n_made for record in ended))
    planned = list(
        accumulate(
            r.n_made if r.state is TrialState.COMPLETE else (r.max_steps or 0) for r in ended
        )
    )
    shared = {"type": "scatter", "x": list(range(1, len(ended) + 1)), "mode": "lines"}
    numbers = {"customdata": [record.number for record in ended], "hovertemplate": HOVER}
    traces = [
        {
            **shared,
            **numbers,
            "y": made,
            "name": f"trained: {made[-1]:,}",
            "line": {"color": STATES[TrialState.COMPLETE], "width": 2.5},
        },
        {
            **shared,
            "y": planned,
            "name": f"without pruning: {planned[-1]:,}",
            "fill": "tonexty",
            "fillcolor": "rgba(230, 159, 0, 0.18)",
            "line": {"color": STATES[TrialState.PRUNED], "width": 2, "dash": "dash"},
            "hovertemplate": "%{y:,} epochs without pruning<extra></extra>",
        },
    ]
    return figure(traces, 330, xaxis=axis("ended trials"), yaxis=axis("epochs, all together"))


def timeline(result: StudyResult) -> Figure | None:
    """Return when each trial ran, one row a worker.

    A worker that trained several trials at the same time has a row for each of them, and so have
    trials whose worker is not known. None if no trial has its times.
    """
    timed = [r for r in result.records if r.started is not None and (r.ended or r.all_reports)]
    if not timed:
        return None
    timed.sort(key=lambda record: (record.started or 0.0, record.number))
    rows, names = _rows(timed)
    began = timed[0].started or 0.0
    unit, seconds = _unit(max(map(_end, timed)) - began)
    traces = []
    for state in TrialState:
        those = [i for i, record in enumerate(timed) if record.state is state]
        if not those:
            continue
        starts = [((timed[i].started or 0.0) - began) / seconds for i in those]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": f"{len(those)} {state}",
                "y": [rows[i] + 1 for i in those],
                "base": rounded(starts),
                "x": rounded((_end(timed[i]) - (timed[i].started or 0.0)) / seconds for i in those),
                "customdata": [timed[i].number for i in those],
                "hovertemplate": HOVER,
                "marker": {
                    "color": STATES[state],
                    "line": {"color": "#ffffff", "width": 0.5 if len(timed) < 500 else 0},
                    "pattern": {"shape": "/" if state is TrialState.PRUNED else ""},
                },
            }
        )
    return figure(
        traces,
        min(700, 190 + 22 * len(names)),
        barmode="overlay",
        bargap=0.15,
        xaxis=axis(f"{unit} since the first trial began"),
        yaxis=axis(
            "worker",
            autorange="reversed",
            tickvals=list(range(1, len(names) + 1, 1 + len(names) // MOST_NAMES)),
            ticktext=names[:: 1 + len(names) // MOST_NAMES],
            automargin=True,
        ),
    )


def _end(record: TrialRecord) -> float:
    last = record.last_reported.time if record.last_reported else 0.0
    return max(record.ended or last, record.started or 0.0)


def _rows(records: Sequence[TrialRecord]) -> tuple[list[int], list[str]]:
    """Return the row of each trial, given in the order in which they began, and the rows' names."""
    by_worker: dict[str, list[int]] = {}
    for i, record in enumerate(records):
        by_worker.setdefault(record.worker, []).append(i)
    rows = [0] * len(records)
    names: list[str] = []
    for worker in sorted(by_worker, key=_in_order):
        those = by_worker[worker]
        lanes, n = _lanes([records[i] for i in those])
        for i, lane in zip(those, lanes, strict=True):
            rows[i] = len(names) + lane
        several = [f"{worker} · {k + 1}" if worker else f"place {k + 1}" for k in range(n)]
        names += [worker] if worker and n == 1 else several
    return rows, names


def _in_order(name: str) -> list[tuple[int, str]]:
    """Return a key by which ``process 10`` comes after ``process 9``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _lanes(records: Sequence[TrialRecord]) -> tuple[list[int], int]:
    """Return the lane of each trial, the first that is free when it begins, and their number."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    rows, n = [], 0
    for record in records:
        while busy and busy[0][0] <= (record.started or 0.0):
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            row = heapq.heappop(free)
        else:
            row, n = n, n + 1
        heapq.heappush(busy, (_end(record), row))
        rows.append(row)
    return rows, n


def _unit(seconds: float) -> tuple[str, float]:
    if seconds > 3 * 3600:
        return "hours", 3600.0
    return ("minutes", 60.0) if seconds > 300 else ("seconds", 1.0)
