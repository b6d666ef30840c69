"""Compare values of parameters in a study: which differences are larger than noise.

Pure functions of a `StudyResult`. A group is a combination of the compared values, and is
represented by the best complete trial with these values.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpo._discovery import did_you_mean
from hpo._format import brief_value, score, short_names
from hpo.result import StudyResult
from hpo.review._differences import LEVEL, Difference, differences_to
from hpo.trial import SECONDS, TrialRecord, TrialState

__all__ = [
    "BEST",
    "BETTER",
    "LEVEL",
    "MISSING",
    "SAME",
    "WORSE",
    "Comparison",
    "Group",
    "compare",
    "is_number",
    "place_of",
    "seconds_per_epoch",
]

MISSING = "–"
"""Placeholder for a parameter that does not exist with the values of the others."""
BEST, BETTER, WORSE, SAME = "best", "better", "worse", "not told apart"

_MANY_REPEATS = 100

Estimate = tuple[float, float]
"""A mean over the folds and its standard error, nan if there is none."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """One combination of the compared values.

    Parameters
    ----------
    values : tuple
        One for each compared parameter; `MISSING` if it does not exist.
    record : TrialRecord or None
        The best complete trial; None if none is complete.
    n_trials : int
        Trials that ended with these values.
    score : (float, float)
        Mean over the folds at the trial's best epoch (its last with ``select="last"``), and its
        standard error over the folds.
    seconds : (float, float)
        See `seconds_per_epoch`.
    watched : mapping of str to (float, float)
        The watched metrics at that epoch, in the same form.
    difference : (float, float)
        This score minus the best group's, and its standard error; see `differences_to`.
    verdict : str
        `BEST`, `BETTER`, `WORSE` or `SAME`; how its trials ended if none is complete; empty if it
        cannot be told.
    n_times : float
        How many times as many repeats it would take to tell it from the best group; nan if it is.
    """

    values: tuple[Any, ...]
    record: TrialRecord | None = None
    n_trials: int = 0
    score: Estimate = (math.nan, math.nan)
    seconds: Estimate = (math.nan, math.nan)
    watched: Mapping[str, Estimate]
    difference: Estimate = (math.nan, math.nan)
    verdict: str = ""
    n_times: float = math.nan

    @property
    def more_repeats(self) -> str:
        """About how many more repeats would tell it from the best group; empty if it is."""
        if not math.isfinite(self.n_times):
            return ""
        n_more = max(1, math.ceil(self.n_times - 1))
        return f"{n_more}" if n_more <= _MANY_REPEATS else f"> {_MANY_REPEATS}"

    @property
    def label(self) -> str:
        """The values in a short form, such as ``Adam, 0.01``."""
        return ", ".join(map(brief_value, self.values))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The groups of a study.

    Parameters
    ----------
    names : tuple of str
        The compared parameters.
    groups : tuple of Group
        Ordered by the values of a single numeric parameter, otherwise best first.
    watch : tuple of str
        Metrics to display.
    scoring : str
    note : str
        One line on how to read the differences.
    """

    names: tuple[str, ...]
    groups: tuple[Group, ...]
    watch: tuple[str, ...]
    scoring: str
    note: str

    @property
    def ranked(self) -> list[Group]:
        """The groups that have a score, best first."""
        scored = [group for group in self.groups if group.record is not None]
        return sorted(scored, key=lambda group: -group.score[0])

    @property
    def header(self) -> list[str]:
        """Headers of `rows`."""
        names = [*short_names(self.names).values(), self.scoring, "epoch", "s/epoch"]
        return [*names, *self.watch, "difference", "verdict", "repeats"]

    def rows(self, *, errors: bool = True) -> list[list[str]]:
        """Return a row of texts per group; ``errors=False`` omits errors of watched metrics."""
        return [self._row(group, errors) for group in self.groups]

    def _row(self, group: Group, errors: bool) -> list[str]:
        report = group.record.best_report if group.record else None
        watched = [group.watched.get(name, (math.nan, math.nan)) for name in self.watch]
        seconds = group.seconds[0]
        return [
            *map(brief_value, group.values),
            _format(*group.score),
            str(report.step) if report else MISSING,
            f"{seconds:.3g}" if math.isfinite(seconds) else MISSING,
            *(_format(value, error if errors else math.nan) for value, error in watched),
            MISSING if group.verdict == BEST else _format(*group.difference, sign=True),
            group.verdict or MISSING,
            group.more_repeats or MISSING,
        ]


def compare(result: StudyResult) -> Comparison | None:
    """Return the comparison that ``result`` defines.

    None if it defines none, has only one group, or no score.
    """
    ended = [
        record
        for record in result.records
        if record.state is not TrialState.RUNNING and not record.interrupted
    ]
    by_values: dict[tuple[str, ...], list[TrialRecord]] = {}
    for record in ended:
        key = tuple(repr(record.trial.params.get(name, MISSING)) for name in result.compare)
        by_values.setdefault(key, []).append(record)
    watch = tuple(name for name in result.watch if name != SECONDS)  # it has its own column
    groups = [_group(records, result.compare, watch) for records in by_values.values()]
    scored = [group for group in groups if group.record is not None]
    if not result.compare or len(groups) < 2 or not scored:
        return None
    best = max(scored, key=lambda group: group.score[0])
    judged, method = _add_verdicts(groups, list(by_values.values()), best, result)
    n_folds = len(best.record.best_report.fold_values)  # type: ignore[union-attr]
    return Comparison(
        names=result.compare,
        groups=tuple(_sort_groups(judged)),
        watch=watch,
        scoring=result.scoring,
        note=_note(n_folds, method) + _note_on_unreported(watch, scored),
    )


def _group(records: Sequence[TrialRecord], names: Iterable[str], watch: Iterable[str]) -> Group:
    values = tuple(records[0].trial.params.get(name, MISSING) for name in names)
    complete = [r for r in records if r.state is TrialState.COMPLETE and r.best_report]
    if not complete:
        states = Counter(str(record.state) for record in records).most_common()
        text = ", ".join(f"{n} {state}" for state, n in states)
        return Group(values=values, n_trials=len(records), watched={}, verdict=text)
    record = max(complete, key=lambda record: (record.value, -record.number))
    report = record.best_report
    assert report is not None
    return Group(
        values=values,
        record=record,
        n_trials=len(records),
        score=(record.value, _estimate(report.fold_values)[1]),
        seconds=seconds_per_epoch(record),
        watched={name: _estimate(report.metrics.get(name, ())) for name in watch},
    )


def seconds_per_epoch(record: TrialRecord) -> Estimate:
    """Return the mean training seconds per fold and epoch, without scoring, with its error.

    For a trial without times of its folds, the seconds per epoch of all folds together.
    """
    if not record.reports:
        return math.nan, math.nan
    n_steps = len(record.reports)
    fit = [seconds / n_steps for seconds in record.reports[-1].fit_seconds]
    return _estimate(fit) if fit else (sum(r.seconds for r in record.reports) / n_steps, math.nan)


def _estimate(values: Sequence[float]) -> Estimate:
    if not values:
        return math.nan, math.nan
    mean = float(np.mean(values))
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    # Rounding errors of equal values are not displayed as an error.
    return mean, 0.0 if error < 1e-6 * abs(mean) else float(error)


def _add_verdicts(
    groups: Sequence[Group],
    trials: Sequence[Sequence[TrialRecord]],
    best: Group,
    result: StudyResult,
) -> tuple[list[Group], str]:
    """Return the groups with their differences to the best one and verdicts, and the method."""
    scored = [i for i, group in enumerate(groups) if group.record is not None]
    place = [groups[i] is best for i in scored].index(True)
    differences, method = differences_to(place, [trials[i] for i in scored], result)
    judged = list(groups)
    for i, difference in zip(scored, differences, strict=True):
        if groups[i] is best:
            judged[i] = replace(groups[i], verdict=BEST, difference=(0.0, math.nan))
            continue
        judged[i] = replace(
            groups[i],
            verdict=_verdict(difference),
            difference=(difference.value, difference.se),
            n_times=difference.n_times,
        )
    return judged, method


def _verdict(difference: Difference) -> str:
    if math.isnan(difference.p):
        return ""
    if not difference.is_told_apart:
        return SAME
    return WORSE if difference.value < 0 else BETTER


def _sort_groups(groups: Sequence[Group]) -> list[Group]:
    """Sort groups by the values of a single numeric parameter, otherwise best first."""
    values = [group.values[0] for group in groups]
    if len(groups[0].values) == 1 and sum(map(is_number, values)) > 1:
        return sorted(groups, key=lambda g: place_of(g.values[0]))
    return sorted(groups, key=lambda g: (g.record is None, -g.score[0] if g.record else 0.0))


def place_of(value: Any) -> tuple[bool, float, str]:
    """Return a sort key: names before numbers, each kind in its own order."""
    return (True, float(value), "") if is_number(value) else (False, 0.0, str(value))


def is_number(value: Any) -> bool:
    """Return whether a value is a number and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _note(n_folds: int, method: str) -> str:
    if n_folds < 2:
        return "One fold alone does not tell which differences are larger than chance."
    return (
        f"± is one standard error over {n_folds} folds. Differences to the best are {method}, "
        f"level {LEVEL}. Repeats: about how many more of the folds, reshuffled, would tell "
        "a difference of that size apart."
    )


def _note_on_unreported(watch: Iterable[str], groups: Iterable[Group]) -> str:
    """Return a note on watched metrics that no trial reports."""
    reports = [group.record.best_report for group in groups if group.record]
    reported = {name for report in reports if report for name in report.metrics}
    texts = [
        f" No trial reports '{n}'{did_you_mean(n, reported) or '.'}"
        for n in watch
        if n not in reported
    ]
    return "".join(texts)


def _format(value: float, error: float = math.nan, *, sign: bool = False) -> str:
    if not math.isfinite(value):
        return MISSING
    return f"{'+' if sign and value >= 0 else ''}{score(value, error)}"
