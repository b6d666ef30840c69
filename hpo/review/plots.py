"""Figures of a study: learning curves, progress, and scores by parameter.

Every function takes a `StudyResult` and returns a new matplotlib figure. pyplot and its global
state are not used, so the functions work in any thread and without a display.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hpo._figure import Figure
from hpo.result import StudyResult
from hpo.review._axes import Axis, axes_of, has_epochs
from hpo.review._colors import MARKERS, STATES, WINNER
from hpo.trial import TrialRecord, TrialState

__all__ = ["history", "learning_curves", "parameters", "pareto_front"]

COLORS = STATES
DPI = 110
LOG_RANGE = 30.0
"""Costs are on a logarithmic axis if the greatest is at least this factor times the smallest."""
FEW = 5
"""Maximal number of different integers that are plotted as categories."""


def learning_curves(result: StudyResult) -> Figure:
    """Plot the score against the step (epoch), one line per trial, colored by state.

    The winner's line is bold, with the step of its score marked and a band for the range of its
    folds. A cross marks where a trial was pruned or failed. Where the folds were raced, the curve
    of a trial that was stopped before it got all folds is that of the first one.
    """
    figure, axes = _figure(10.0, 4.6)
    winner = _winner(result)
    scored = [r.furthest for r in result.records if r.furthest.best_report]
    raced = any(record.screening for record in result.records)
    _draw_curves(axes, [record for record in scored if record is not winner])
    if winner is not None:
        _draw_winner(axes, winner)
    alone = " (pruned trials: their first fold)" if raced else ""
    axes.set_title(f"{result.name}: learning curves{alone}", loc="left")
    axes.set_xlabel("epoch")
    axes.set_ylabel(result.scoring)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _limit_scores(axes, [r.value for record in scored for r in record.reports])
    _legend(figure, scored, winner)
    return figure


def _draw_curves(axes: Axes, records: Sequence[TrialRecord]) -> None:
    """Draw all curves as one: thousands of lines of their own take matplotlib a minute."""
    curves = LineCollection(
        [[(report.step, report.value) for report in record.reports] for record in records],
        colors=[COLORS[record.state] for record in records],
        linewidths=1.0,
        alpha=0.55,
        label="trials",
    )
    axes.add_collection(curves)
    axes.autoscale_view()
    for state in TrialState:
        ends = state in {TrialState.PRUNED, TrialState.FAILED}
        marked = [r.reports[-1] for r in records if r.state is state and (ends or r.last_step == 1)]
        axes.plot(
            [report.step for report in marked],
            [report.value for report in marked],
            "x" if ends else ".",
            color=COLORS[state],
            markersize=5 if ends else None,
            alpha=0.9 if ends else None,
        )


def _draw_winner(axes: Axes, record: TrialRecord) -> None:
    steps = [report.step for report in record.reports]
    lows = [min(report.fold_values, default=report.value) for report in record.reports]
    highs = [max(report.fold_values, default=report.value) for report in record.reports]
    values = [report.value for report in record.reports]
    axes.fill_between(steps, lows, highs, color=WINNER, alpha=0.12, linewidth=0)
    axes.plot(steps, values, color=WINNER, linewidth=2.6, label=f"trial {record.number}", zorder=4)
    best = record.best_report
    if best is not None:
        axes.plot(best.step, best.value, "o", color=WINNER, markersize=7, zorder=5)


def history(result: StudyResult) -> Figure:
    """Plot the best score so far against the trial's number, and against the epochs spent.

    Trials that report once have no epochs, and no panel for them. The left panel shows every trial
    that has a score; only complete ones move the line. On the right, trials count in the order in
    which they ended.
    """
    if has_epochs(result):
        figure, left, right = _two_panels(10.0, 4.2)
    else:
        figure, left = _figure(10.0, 4.2)
    scored = [record for record in result.records if record.best_report]
    ended = sorted(result.records, key=lambda r: (r.ended or math.inf, r.number))
    spent = list(accumulate(record.n_made for record in ended))
    bottom = _limit_scores(left, _comparable(scored))  # the right panel shares its axis
    numbers: list[float] = [record.number for record in result.records]
    panels = [(left, numbers, list(result.records))]
    if has_epochs(result):
        panels.append((right, spent, ended))
        right.set_xlabel("epochs spent, all trials together")
    for axes, xs, records in panels:
        _draw_points(axes, xs, records, bottom)
        _draw_best(axes, xs, records)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    left.set_title(f"{result.name}: best so far", loc="left")
    left.set_xlabel("trial")
    left.set_ylabel(result.scoring)
    _legend(figure, scored, _winner(result), bottom)
    return figure


def _draw_points(
    axes: Axes, xs: Sequence[float], records: Sequence[TrialRecord], bottom: float
) -> None:
    """Scatter the trials' scores; a triangle at ``bottom`` stands for those below it."""
    for state in TrialState:
        for below, marker in ((False, MARKERS[state]), (True, "v")):
            points = [
                (x, max(record.value, bottom))
                for x, record in zip(xs, records, strict=True)
                if record.state is state and record.best_report and (record.value < bottom) is below
            ]
            if points:
                x, y = zip(*points, strict=True)
                color = COLORS[state]
                axes.scatter(x, y, s=22, color=color, marker=marker, alpha=0.75, linewidths=0)


def _draw_best(axes: Axes, xs: Sequence[float], records: Iterable[TrialRecord]) -> None:
    values = [r.value if r.state is TrialState.COMPLETE else math.nan for r in records]
    if all(math.isnan(value) for value in values):
        return
    best = np.fmax.accumulate(values)
    axes.step(xs, best, where="post", color=WINNER, linewidth=2.0)
    first = int(np.nanargmax(values))
    axes.plot(xs[first], values[first], "o", color=WINNER, markersize=7, zorder=5)


def parameters(result: StudyResult, log_names: Collection[str] | None = None) -> Figure:
    """Plot the score against each parameter.

    Numbers are scattered, categories are strips. Trials without a parameter are left out of
    its panel; a pruned trial is plotted with its best score.

    Parameters
    ----------
    result : StudyResult
    log_names : collection of str, optional
        Parameters on a logarithmic axis; None takes those that the search space says. Of a study
        without a space, floats whose positive values span a factor of 30.
    """
    scored = [record for record in result.records if record.best_report]
    names = axes_of(result, scored, log_names)
    n_columns = min(3, max(1, len(names)))
    n_rows = max(1, -(-len(names) // n_columns))
    figure = Figure(figsize=(3.6 * n_columns + 0.6, 2.7 * n_rows), dpi=DPI, layout="constrained")
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel()
    bottom = _limit_scores(grid[0], _comparable(scored))  # all panels share its axis
    for axes, (name, axis) in zip(grid, names.items(), strict=False):
        _tidy(axes)
        records = [record for record in scored if name in record.trial.params]
        xs = _places(axes, axis, [record.trial.params[name] for record in records])
        _draw_points(axes, xs, records, bottom)
        _mark_winner(axes, xs, records, _winner(result))
        axes.set_xlabel(name)
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    for row in grid[::n_columns]:
        row.set_ylabel(result.scoring)
    _legend(figure, scored, _winner(result), bottom)
    return figure


def pareto_front(result: StudyResult) -> Figure:
    """Plot the score of the complete trials against each cost, with the front as a line.

    With several costs a trial of the front may be below the line of one panel.
    """
    names = result.costs
    figure = Figure(figsize=(1.5 + 4.5 * len(names), 4.2), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    complete, front = result.top(result.n_trials), result.pareto_front()
    for axes, name in zip(panels, names, strict=True):
        _tidy(axes)
        xs = [record.cost(name) for record in complete]
        _draw_points(axes, xs, complete, -math.inf)
        line = sorted(front, key=lambda record: record.cost(name))
        axes.plot(
            [record.cost(name) for record in line],
            [record.value for record in line],
            "o-",
            color=WINNER,
            drawstyle="steps-post",
            label="Pareto front",
        )
        for record in line:
            axes.annotate(f" {record.number}", (record.cost(name), record.value), fontsize=8)
        if _is_log([x for x in xs if math.isfinite(x)]):
            axes.set_xscale("log")
        axes.set_xlabel(name)
    panels[0].set_ylabel(result.scoring)
    panels[0].set_title(f"{result.name}: score against cost", loc="left")
    panels[0].legend(frameon=False, loc="lower right")
    return figure


def _places(axes: Axes, axis: Axis, values: Sequence[Any]) -> list[float]:
    """Set up the x axis for ``values``; return the position of each of them."""
    if not axis.is_number:
        return _strip(axes, axis.choices, [int(axis.place(value)) for value in values])
    if axis.log:
        axes.set_xscale("log")
    elif all(isinstance(value, int) for value in values) and len(set(values)) <= FEW:
        categories = sorted(set(values))
        places = [categories.index(value) for value in values]
        return _strip(axes, [str(category) for category in categories], places)
    return [float(value) for value in values]


def _strip(axes: Axes, labels: Sequence[str], places: Sequence[int]) -> list[float]:
    """Use the x axis for categories; return the jittered position of each value."""
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    if sum(map(len, labels)) > 28:
        axes.tick_params(axis="x", labelrotation=25)
    # multiples of the golden ratio spread more evenly than random numbers
    jitter = [(i * 0.618034) % 1.0 * 0.4 - 0.2 for i in range(len(places))]
    return [place + offset for place, offset in zip(places, jitter, strict=True)]


def _mark_winner(
    axes: Axes, xs: Sequence[float], records: Sequence[TrialRecord], winner: TrialRecord | None
) -> None:
    for x, record in zip(xs, records, strict=True):
        if record is winner:
            axes.plot(x, record.value, "o", color=WINNER, markersize=8, zorder=5)


def _is_log(costs: Sequence[float]) -> bool:
    return bool(costs) and min(costs) > 0 and max(costs) / min(costs) >= LOG_RANGE


def _winner(result: StudyResult) -> TrialRecord | None:
    return result.winner


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    _tidy(axes)
    return figure, axes


def _two_panels(width: float, height: float) -> tuple[Figure, Axes, Axes]:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _tidy(left)
    _tidy(right)
    return figure, left, right


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)


def _comparable(scored: Sequence[TrialRecord]) -> list[float]:
    """Return the scores that determine the axis: of complete trials, if there are a few.

    A pruned trial's score is that of an early epoch and often much lower.
    """
    complete = [record.value for record in scored if record.state is TrialState.COMPLETE]
    return complete if len(complete) > 2 else [record.value for record in scored]


def _limit_scores(axes: Axes, values: Iterable[float]) -> float:
    """Limit the axis to all but the lowest tenth of scores; return its lower end."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        axes.text(0.5, 0.5, "no scores yet", transform=axes.transAxes, ha="center", color="#888888")
        return -math.inf
    low, high = float(np.quantile(finite, 0.1)), max(finite)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - 2 * margin, high + margin)
    return low - margin


def _legend(
    figure: Figure,
    records: Sequence[TrialRecord],
    winner: TrialRecord | None,
    bottom: float = -math.inf,
) -> None:
    entries = []
    for state in TrialState:
        n = sum(record.state is state for record in records)
        if n:
            color, marker = COLORS[state], MARKERS[state]
            label = f"{n} {state}"
            entries.append(Line2D([], [], color=color, marker=marker, markersize=4, label=label))
    if winner is not None:
        label = f"best: trial {winner.number}"
        entries.append(Line2D([], [], color=WINNER, linewidth=2.6, marker="o", label=label))
    if any(record.value < bottom for record in records):
        label = "below the axis"
        entries.append(Line2D([], [], color="#888888", marker="v", linestyle="", label=label))
    if entries:
        figure.legend(
            handles=entries, loc="outside upper right", ncols=6, frameon=False, fontsize="small"
        )
