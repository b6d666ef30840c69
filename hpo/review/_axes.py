"""What a search space says of a parameter's axis: its range, its scale, its choices.

The space is the source. Of a study without one (another program's, an older one) the values of
the trials are all that is known.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.result import StudyResult
from hpo.space import Bounds, Parameter
from hpo.trial import TrialRecord

__all__ = ["LOG_RANGE", "Axis", "axes_of", "has_epochs", "is_number", "label_of"]

LOG_RANGE = 30.0
"""Floats of which no space tells are on a logarithmic axis from this ratio of their ends on."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The axis of a parameter.

    Parameters
    ----------
    name : str
    choices : tuple of str
        Labels in order; empty for a number.
    low, high : float
        Ends of the range; nan for choices.
    log : bool
    step : float or None
        Distance of two values; None if the parameter is continuous, or logarithmic.
    is_integer : bool
    parameter : Parameter or None
        Its only definition; None if there is none, or there are several.
    """

    name: str
    choices: tuple[str, ...] = ()
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    step: float | None = None
    is_integer: bool = False
    parameter: Parameter | None = None

    @property
    def is_number(self) -> bool:
        """Whether values are numbers on a scale."""
        return not self.choices

    @property
    def n_values(self) -> float:
        """Number of different values; infinity for a continuous parameter."""
        if self.choices:
            return len(self.choices)
        if self.step is None:
            return math.inf
        return round((self.high - self.low) / self.step) + 1

    def place(self, value: Any) -> float:
        """Return where a value is on the axis: from 0 to 1, or the number of a choice.

        nan if it is not on the axis.
        """
        if self.choices:
            label = label_of(value)
            return self.choices.index(label) if label in self.choices else math.nan
        if not is_number(value) or (self.log and value <= 0):
            return math.nan
        low, high, at = self.low, self.high, float(value)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return (at - low) / (high - low) if high > low else 0.5

    def value_at(self, place: float) -> float:
        """Return the number at a place between 0 and 1; the inverse of `place`."""
        if self.log:
            return math.exp(math.log(self.low) + place * (math.log(self.high) - math.log(self.low)))
        return self.low + place * (self.high - self.low)


def axes_of(
    result: StudyResult,
    records: Iterable[TrialRecord] | None = None,
    log_names: Collection[str] | None = None,
) -> dict[str, Axis]:
    """Return the axis of each parameter that trials have, by name, in the order of the space.

    Parameters
    ----------
    result : StudyResult
    records : iterable of TrialRecord, optional
        The trials that are drawn; None means all.
    log_names : collection of str, optional
        The parameters on a logarithmic axis; None leaves it to the space.
    """
    values: dict[str, list[Any]] = {}
    for record in result.records if records is None else records:
        for name, value in record.trial.params.items():
            values.setdefault(name, []).append(value)
    space = result.space
    known = [name for name in space if name in values] if space is not None else []
    names = dict.fromkeys([*known, *sorted(values)])
    definitions = {name: space.definitions(name) if space is not None else () for name in names}
    return {name: _axis(name, values[name], definitions[name], log_names) for name in names}


def _axis(
    name: str,
    values: Sequence[Any],
    definitions: Sequence[Parameter],
    log_names: Collection[str] | None,
) -> Axis:
    only = definitions[0] if len(definitions) == 1 else None
    ranges = [d for d in map(_range, definitions) if d is not None]
    in_ranges = len(ranges) == len(definitions) > 0
    if not all(map(is_number, values)) or (definitions and not in_ranges):
        return Axis(name, choices=_labels(definitions, values), parameter=only)
    numbers = [float(value) for value in values if math.isfinite(value)] or [0.0]
    low, high = min(numbers), max(numbers)
    if in_ranges:
        low = min(low, *(d.low for d in ranges))
        high = max(high, *(d.high for d in ranges))
    integers = all(isinstance(value, int) for value in values)
    if log_names is not None:
        log = name in log_names
    elif in_ranges:
        log = all(d.log for d in ranges)
    else:
        log = not integers and low > 0 and high / low >= LOG_RANGE
    steps = [d.step for d in ranges if d.step]
    step = min(steps) if len(steps) == len(ranges) > 0 else (1.0 if integers else None)
    log = log and low > 0
    return Axis(
        name,
        low=low,
        high=high,
        log=log,
        step=None if log else step,
        is_integer=all(d.is_integer for d in ranges) if in_ranges else integers,
        parameter=only,
    )


def _range(parameter: Parameter) -> Bounds | None:
    """Return the range of a number; None for choices."""
    bounds = parameter.bounds
    if bounds is None or parameter.quantiles is None:
        return bounds
    # A distribution has whatever shape scipy.stats gives it.
    log = bounds.low > 0 and bounds.high / bounds.low >= LOG_RANGE
    return Bounds(bounds.low, bounds.high, log, bounds.step, bounds.is_integer)


def _labels(definitions: Sequence[Parameter], values: Sequence[Any]) -> tuple[str, ...]:
    """Return the labels of choices in the order of the space, then of the values."""
    declared = [choice.stored for d in definitions for choice in d.choices]
    tried = sorted({label_of(value) for value in values})
    return tuple(dict.fromkeys([*map(label_of, declared), *tried]))


def has_epochs(result: StudyResult) -> bool:
    """Return whether any trial has reported more than once: others have no learning curves."""
    return any(len(record.reports) > 1 for record in result.records)


def label_of(value: Any) -> str:
    """Return the label of a choice: a dotted path as its last name."""
    text = str(value)
    return text.rpartition(".")[2] if isinstance(value, str) and text.count(".") else text


def is_number(value: Any) -> bool:
    """Return whether a value is a number and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)
