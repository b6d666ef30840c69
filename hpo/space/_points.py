"""Validate points that users pass in and convert them to trial params; reports all mistakes."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from hpo._discovery import did_you_mean
from hpo.exceptions import SpaceError
from hpo.space.choices import find_choice, same
from hpo.space.parameter import Parameter, shorten

__all__ = ["is_valid_value", "read_points", "read_value"]

Part = tuple[Mapping[str, Parameter], Callable[[str, Mapping[str, Any]], bool]]
"""The parameters of one space, and its ``is_active(name, params)``."""

_CLOSE = 1e-9
"""Tolerance for a number on a grid, in steps: the rounding error of decimals as floats."""


def read_points(points: Any, parts: Sequence[Part], source: str) -> tuple[dict[str, Any], ...]:
    """Return points in the form of trial params; see `SearchSpace.points`.

    Parameters
    ----------
    points : sequence of mapping
    parts : sequence of Part
        A point belongs to the first part that it fits.
    source : str
        Names the points in messages.
    """
    if isinstance(points, Mapping | str) or not isinstance(points, Sequence):
        raise SpaceError([f"{source}: must be a list of mappings. Got {shorten(points)} instead."])
    parsed, problems = [], []
    for i, point in enumerate(points):
        values, mistakes = _in_any(point, parts)
        parsed.append(values)
        problems += [f"{source}[{i}]: {problem}" for problem in mistakes]
    if problems:
        raise SpaceError(problems)
    return tuple(parsed)


def _in_any(point: Any, parts: Sequence[Part]) -> tuple[dict[str, Any], list[str]]:
    """Return the point for the first part that it fits, or the problems with the closest one."""
    if not isinstance(point, Mapping):
        return {}, [f"must be a mapping of names to values. Got {shorten(point)} instead."]
    attempts = [_in_part(point, *part) for part in parts]
    return min(attempts, key=lambda attempt: len(attempt[1]))


def _in_part(
    point: Mapping[Any, Any],
    parameters: Mapping[str, Parameter],
    is_active: Callable[[str, Mapping[str, Any]], bool],
) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    problems = []
    for name, value in point.items():
        if name not in parameters:
            hint = did_you_mean(str(name), parameters) or f"; it has {', '.join(parameters)}."
            problems.append(f"{name}: is not in the search space{hint}")
            continue
        try:
            values[name] = read_value(parameters[name], value)
        except ValueError as error:
            problems.append(f"{name}: {error}" if str(error)[-1] in "?." else f"{name}: {error}.")
    if not problems:
        absent = [name for name in values if not is_active(name, values)]
        problems = [f"{name}: {_why_absent(parameters[name], values)}" for name in absent]
    return values, problems


def _why_absent(parameter: Parameter, point: Mapping[str, Any]) -> str:
    conditions = ", ".join(
        f"{parent} is {' or '.join(map(str, allowed))}"
        for parent, allowed in parameter.when.items()
    )
    missing = [parent for parent in parameter.when if parent not in point]
    if missing:
        return f"exists only when {conditions}: give {' and '.join(missing)} too."
    return f"exists only when {conditions}, which the point does not say."


def read_value(parameter: Parameter, value: Any) -> Any:
    """Return a value of a parameter in the form of trial params.

    Raises
    ------
    ValueError
        If the parameter cannot have this value.
    """
    if parameter.choices:
        choice = find_choice(value, parameter.choices)
        if choice is None:
            stored = [str(choice.stored) for choice in parameter.choices]
            hint = did_you_mean(str(value), stored) or f"; they are {_abbreviate(stored)}"
            raise ValueError(f"{shorten(value)} is none of its choices{hint}")
        return choice.stored
    number = _number(value)
    if parameter.quantiles is not None:
        quantiles = parameter.quantiles
        return _between(number, quantiles.low, quantiles.high, whole=quantiles.discrete)
    return _on_grid(number, parameter.distribution)


def _abbreviate(texts: Sequence[str]) -> str:
    return ", ".join(texts[:10]) + (", ..." if len(texts) > 10 else "")


def _number(value: Any) -> float | int:
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"must be a number, got {shorten(value)}")
    return value


def _between(number: float | int, low: Any, high: Any, *, whole: bool) -> float | int:
    if not low <= number <= high:
        raise ValueError(f"{number!r} is outside its range, {low} .. {high}")
    if whole and number != int(number):
        raise ValueError(f"{number!r} is no integer")
    return int(number) if whole else float(number)


def _on_grid(number: float | int, d: BaseDistribution) -> float | int:
    assert isinstance(d, FloatDistribution | IntDistribution)
    whole = isinstance(d, IntDistribution)
    number = _between(number, d.low, d.high, whole=whole)
    if d.step is None or d.log:
        return number
    steps = (number - d.low) / d.step
    if abs(steps - round(steps)) > _CLOSE * max(1.0, abs(steps)):
        raise ValueError(f"{number!r} is off its steps, {d.low} .. {d.high} by {d.step}")
    return number


def is_valid_value(parameter: Parameter, value: Any) -> bool:
    """Return whether the parameter can have this value."""
    if parameter.choices:
        return any(same(choice.stored, value) for choice in parameter.choices)
    try:
        read_value(parameter, value)
    except ValueError:
        return False
    return True
