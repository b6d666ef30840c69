"""Figures of a comparison: each group's score with its error, and the groups' curves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from hpo._figure import Figure
from hpo._format import brief_value, short_names
from hpo.result import StudyResult
from hpo.review import plots
from hpo.review._colors import CURVES, SCALE, STATES, WINNER
from hpo.review.comparison import (
    BEST,
    BETTER,
    SAME,
    WORSE,
    Comparison,
    Group,
    compare,
    is_number,
    place_of,
)
from hpo.trial import Report, TrialRecord, TrialState

__all__ = ["comparison", "comparison_curves"]

N_CURVES = len(CURVES)
"""Maximal number of groups with different colors; the best ones are drawn."""
_SECONDS = "seconds per epoch"
_VERDICTS = {
    BEST: WINNER,
    SAME: STATES[TrialState.COMPLETE],
    BETTER: STATES[TrialState.RUNNING],
    WORSE: STATES[TrialState.FAILED],
    "": "#888888",
}


def comparison(result: StudyResult) -> Figure | None:
    """Plot the score of each compared value, with seconds per epoch and the watched metrics.

    Names are listed vertically, the best on top; numbers form an axis, which is logarithmic from
    a factor of 30 on. With several parameters, the one with most values is the axis, and each
    combination of the others is a line. Bars are one standard error over the folds. Return None
    without a comparison.
    """
    comparison_data = compare(result)
    if comparison_data is None:
        return None
    names, groups = (
        comparison_data.names,
        [g for g in comparison_data.groups if g.record is not None],
    )
    if len(names) == 1 and not _is_axis([group.values[0] for group in groups]):
        return _strips(result, comparison_data)
    return _lines(result, comparison_data)


def _panels(compared: Comparison) -> list[tuple[str, str | None]]:
    """Return the title of each panel and its watched metric."""
    watched: list[tuple[str, str | None]] = [(name, name) for name in compared.watch]
    return [(compared.scoring, None), (_SECONDS, None), *watched]


def _estimates(groups: Sequence[Group], i: int, metric: str | None) -> np.ndarray:
    """Return means and errors of panel ``i``, an array of shape (n_groups, 2)."""
    if metric is not None:
        estimates = [group.watched.get(metric, (math.nan, math.nan)) for group in groups]
    else:
        estimates = [group.seconds if i else group.score for group in groups]
    values = np.array(estimates, dtype=float).reshape(-1, 2)
    values[~np.isfinite(values[:, 1]), 1] = 0.0
    return values


# -- names: one below the other ---------------------------------------------------------------


def _strips(result: StudyResult, compared: Comparison) -> Figure:
    groups = [g for g in compared.groups if g.record is not None][::-1]  # the best on top
    panels = _panels(compared)
    figure = Figure(
        figsize=(5.5 + 2.1 * (len(panels) - 1), 1.5 + 0.36 * len(groups)),
        dpi=plots.DPI,
        layout="constrained",
    )
    grid = figure.subplots(
        1,
        len(panels),
        sharey=True,
        squeeze=False,
        width_ratios=[2.2, *[1.0] * (len(panels) - 1)],
    )[0]
    ys = np.arange(len(groups))
    for i, (axes, (title, metric)) in enumerate(zip(grid, panels, strict=True)):
        plots._tidy(axes)
        values = _estimates(groups, i, metric)
        for y, group, (value, error) in zip(ys, groups, values, strict=True):
            color = _VERDICTS.get(group.verdict, "#888888") if i == 0 else "#5b6673"
            axes.errorbar(value, y, xerr=error, fmt="o", color=color, capsize=3, markersize=5)
        axes.set_title(title, fontsize="medium", loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(5 if i == 0 else 3))
        axes.set_yticks(ys, [group.label for group in groups])
        axes.set_ylim(-0.6, len(groups) - 0.4)
        if title == _SECONDS:
            axes.set_xlim(0, 1.12 * np.nanmax(values.sum(axis=1), initial=1e-9))
    figure.suptitle(f"{result.name}: {_display_names(compared)}", x=0.01, ha="left")
    _verdict_legend(figure, groups)
    return figure


def _display_names(compared: Comparison) -> str:
    return " × ".join(short_names(compared.names).values())


def _verdict_legend(figure: Figure, groups: Sequence[Group]) -> None:
    verdicts = {group.verdict for group in groups}
    labels = {BEST: "best", SAME: "not told apart from the best", WORSE: "worse", BETTER: "better"}
    handles = [
        Line2D([], [], color=_VERDICTS[key], marker="o", linestyle="", label=label)
        for key, label in labels.items()
        if key in verdicts
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=3, frameon=False, fontsize=9)


# -- numbers, and several parameters: lines ----------------------------------------------------


def _lines(result: StudyResult, compared: Comparison) -> Figure:
    scored = [group for group in compared.groups if group.record is not None]
    main = _main_parameter(scored)
    series = _series(scored, main)
    panels = _panels(compared)
    n_small = len(panels) - 1
    n_columns = min(3, n_small)
    n_rows = -(-n_small // n_columns)
    names = [f"small {i}" for i in range(n_small)]
    names += ["."] * (n_rows * n_columns - n_small)
    rows = [names[i * n_columns : (i + 1) * n_columns] for i in range(n_rows)]
    figure = Figure(figsize=(8.6, 4.0 + 2.3 * n_rows), dpi=plots.DPI, layout="constrained")
    layout: list[Any] = [["score"] * n_columns, *rows]
    grid = figure.subplot_mosaic(layout, height_ratios=[1.8, *[1.0] * n_rows])
    axis = _Axis([group.values[main] for group in scored])
    for i, (title, metric) in enumerate(panels):
        axes = grid["score" if i == 0 else f"small {i - 1}"]
        plots._tidy(axes)
        for n, (groups, color) in enumerate(zip(series.values(), _colors(series), strict=True)):
            shift = (n - (len(series) - 1) / 2) * 0.08 if axis.places is not None else 0.0
            values = [group.values[main] for group in groups]
            places = np.array([axis.place(value) for value in values]) + shift
            apart = np.array([axis.is_apart(value) for value in values])
            estimates = _estimates(groups, i, metric)
            _draw_line(axes, places, apart, estimates, color=color, capsize=2.5, markersize=4)
            for place, group in zip(places, groups, strict=True):
                if i == 0 and group.verdict == BEST:
                    axes.plot(place, group.score[0], "*", color=color, markersize=14, zorder=5)
        axis.set_ticks(axes, small=i > 0)
        axes.set_title(title, fontsize="medium", loc="left")
    grid["score"].set_xlabel(list(short_names(compared.names).values())[main])
    figure.suptitle(f"{result.name}: {_display_names(compared)}", x=0.01, ha="left")
    _series_legend(figure, compared, series, main)
    return figure


def _main_parameter(groups: Sequence[Group]) -> int:
    """Return the index of the parameter with most values, preferring numbers in a tie."""

    def rank(i: int) -> tuple[int, bool]:
        values = [group.values[i] for group in groups]
        return len(set(map(repr, values))), _is_axis(values)

    return max(range(len(groups[0].values)), key=rank)


def _series(groups: Sequence[Group], main: int) -> dict[str, list[Group]]:
    """Return the groups by the values of the other parameters: the best ones, in order."""
    order: dict[str, list[Any]] = {}
    series: dict[str, list[Group]] = {}
    for group in groups:
        others = [brief_value(v) for i, v in enumerate(group.values) if i != main]
        key = ", ".join(others)
        series.setdefault(key, []).append(group)
        order[key] = [place_of(v) for i, v in enumerate(group.values) if i != main]
    ranked = sorted(series, key=lambda key: -max(group.score[0] for group in series[key]))
    selected = ranked[:N_CURVES]
    if all(number for key in selected for number, *_ in order[key]):
        selected.sort(key=order.__getitem__)
    return {key: series[key] for key in selected}


def _colors(series: Mapping[str, object]) -> Sequence[str]:
    return CURVES[: len(series)]


def _draw_line(
    axes: Axes, places: np.ndarray, apart: np.ndarray, values: np.ndarray, **style: Any
) -> None:
    """Draw means with their errors, joined by a line except for separate ones."""
    for part, line in ((~apart, "-"), (apart, "")):
        chosen = np.flatnonzero(part)
        chosen = chosen[np.argsort(places[chosen])]
        if len(chosen):
            means, errors = values[chosen].T
            axes.errorbar(places[chosen], means, errors, linestyle=line, marker="o", **style)


def _series_legend(
    figure: Figure, compared: Comparison, series: Mapping[str, Sequence[Group]], main: int
) -> None:
    star = Line2D([], [], color="#555555", marker="*", markersize=11, linestyle="", label="best")
    handles = [star]
    if len(series) > 1:
        handles = [
            Line2D([], [], color=color, marker="o", markersize=4, label=label)
            for label, color in zip(series, _colors(series), strict=True)
        ] + handles
    names = list(short_names(compared.names).values())
    title = ", ".join(name for i, name in enumerate(names) if i != main)
    figure.legend(
        handles=handles,
        title=title or None,
        loc="outside right upper",
        frameon=False,
        fontsize=9,
        title_fontsize=9,
    )


def _is_axis(values: Sequence[object]) -> bool:
    """Return whether values are at least two numbers and at most one name."""
    different = {repr(value): value for value in values}
    n_numbers = sum(map(is_number, different.values()))
    return n_numbers > 1 and len(different) - n_numbers <= 1


class _Axis:
    """An axis for the values of a parameter: numbers by value, anything else by index.

    Zero on a logarithmic axis, and a name among numbers, get a separate position at the left.
    """

    def __init__(self, values: Sequence[object]) -> None:
        different = list({repr(value): value for value in values}.values())
        numbers = sorted(float(v) for v in different if is_number(v))  # type: ignore[arg-type]
        self.places: list[str] | None = None
        self._apart: dict[str, str] = {}
        if not _is_axis(different):
            ordered = [*(v for v in different if not is_number(v)), *numbers]
            labels = [brief_value(value) for value in ordered]
            self.places = list(dict.fromkeys(labels))
            return
        positive = [number for number in numbers if number > 0]
        self.log = (
            len(positive) > 1 and numbers[0] >= 0 and positive[-1] / positive[0] >= plots.LOG_RANGE
        )
        self._numbers = positive if self.log else numbers
        apart = [v for v in different if not is_number(v) or (self.log and v == 0)]
        self._apart = {brief_value(value): repr(value) for value in apart}
        low, high = self._numbers[0], self._numbers[-1]
        step = (high / low) ** (1 / 8) if self.log else (high - low) / 8
        self._left = [
            low / step ** (i + 1.5) if self.log else low - step * (i + 1.5)
            for i in range(len(apart))
        ]

    def is_apart(self, value: object) -> bool:
        """Return whether a value is drawn separately from the line."""
        return brief_value(value) in self._apart

    def place(self, value: object) -> float:
        """Return the position of a value on the axis."""
        label = brief_value(value)
        if self.places is not None:
            return float(self.places.index(label))
        if label in self._apart:
            return self._left[list(self._apart).index(label)]
        return float(value)  # type: ignore[arg-type]

    def set_ticks(self, axes: Axes, *, small: bool) -> None:
        """Set the ticks of the x axis."""
        if self.places is not None:
            axes.set_xticks(range(len(self.places)), self.places)
            axes.set_xlim(-0.5, len(self.places) - 0.5)
            if sum(map(len, self.places)) > (14 if small else 55):
                axes.tick_params(axis="x", labelrotation=35)
            return
        if self.log:
            axes.set_xscale("log")
        if not self._apart and not self.log:
            axes.xaxis.set_major_locator(MaxNLocator(4 if small else 8))
            return
        tick_values = self._subset(4 if small else 9)
        axes.set_xticks(
            [*self._left, *tick_values], [*self._apart, *(f"{n:g}" for n in tick_values)]
        )
        axes.xaxis.set_minor_locator(NullLocator())
        for place in self._left:
            axes.axvline(place, color="#d8dde3", linewidth=6, alpha=0.5, zorder=0)

    def _subset(self, n: int) -> list[float]:
        step = -(-len(self._numbers) // n)
        return self._numbers[::step]


# -- curves ------------------------------------------------------------------------------------


def comparison_curves(result: StudyResult) -> Figure | None:
    """Plot the groups' scores by epoch, and each watched metric that changes by epoch.

    The curves are means over the folds of the trial that represents the group; a dot marks the
    epoch of its score. At most the best 8 groups are drawn. Return None without a comparison,
    or if no trial has more than one epoch.
    """
    compared = compare(result)
    if compared is None:
        return None
    groups = compared.ranked[:N_CURVES]
    if max(group.record.last_step for group in groups if group.record) < 2:
        return None
    watched = [name for name in compared.watch if _changes(groups, name)]
    titles: list[tuple[str, str | None]] = [(compared.scoring, None), *((n, n) for n in watched)]
    n_columns = min(2, len(titles))
    n_rows = -(-len(titles) // n_columns)
    figure = Figure(
        figsize=(5.6 * n_columns + 1.6, 3.7 * n_rows + 0.5), dpi=plots.DPI, layout="constrained"
    )
    grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    drawn = [group for group in compared.groups if group in groups]
    colors = _group_colors(drawn)
    for axes, (title, metric) in zip(grid, titles, strict=False):
        plots._tidy(axes)
        for group, color in zip(drawn, colors, strict=True):
            if group.record is not None:
                _draw_curve(axes, group.record, metric, color)
        axes.set_title(title, fontsize="medium", loc="left")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(drawn) > 2:
        curves = [group.record.reports for group in drawn if group.record]
        plots._limit_scores(grid[0], [report.value for curve in curves for report in curve])
    for axes in grid[len(titles) :]:
        axes.set_axis_off()
    _curves_legend(figure, compared, drawn, colors)
    figure.suptitle(f"{result.name}: {_display_names(compared)}", x=0.01, ha="left")
    return figure


def _group_colors(groups: Sequence[Group]) -> list[str]:
    values = [group.values[0] for group in groups]
    if len(groups[0].values) == 1 and _is_axis(values):
        n = len(groups)
        shades = [colormaps[SCALE](0.9 * i / max(1, n - 1)) for i in range(n)]
        return ["#%02x%02x%02x" % tuple(round(255 * x) for x in rgb[:3]) for rgb in shades]  # noqa: UP031
    return list(CURVES[: len(groups)])


def _changes(groups: Sequence[Group], metric: str) -> bool:
    curves = [_curve(group.record, metric) for group in groups if group.record is not None]
    return any(len({v for v in curve if math.isfinite(v)}) > 1 for curve in curves)


def _curve(record: TrialRecord, metric: str | None) -> list[float]:
    return [_value(report, metric) for report in record.reports]


def _value(report: Report, metric: str | None) -> float:
    if metric is None:
        return report.value
    values = report.metrics.get(metric, ())
    return sum(values) / len(values) if values else math.nan


def _draw_curve(axes: Axes, record: TrialRecord, metric: str | None, color: str) -> None:
    steps = [report.step for report in record.reports]
    values = _curve(record, metric)
    axes.plot(steps, values, color=color, linewidth=1.5)
    best = record.best_report
    if best is not None:
        axes.plot(best.step, _value(best, metric), "o", color=color, markersize=4.5)


def _curves_legend(
    figure: Figure, compared: Comparison, groups: Sequence[Group], colors: Sequence[str]
) -> None:
    handles = [
        Line2D([], [], color=color, label=group.label)
        for group, color in zip(groups, colors, strict=True)
    ]
    n_left = len(compared.ranked) - len(groups)
    title = ", ".join(short_names(compared.names).values())
    if n_left:
        title += f"\n(the best {len(groups)}, {n_left} more)"
    figure.legend(
        handles=handles,
        title=title,
        loc="outside right upper",
        frameon=False,
        fontsize=9,
        title_fontsize=9,
    )
