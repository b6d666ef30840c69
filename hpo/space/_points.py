"""Points of a space that somebody gives, read as trials have them; every mistake is told."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from hpo._discovery import did_you_mean
from hpo.exceptions import SpaceError
from hpo.space.choices import find_choice, same
from hpo.space.parameter import Parameter, shorten

__all__ = ["fitted", "read_points"]

Part = tuple[Mapping[str, Parameter], Callable[[str, Mapping[str, Any]], bool]]
"""The parameters of one space, and whether one of them exists under others."""

_CLOSE = 1e-9
"""How far a number may be off its grid, in steps: what decimal fractions are off as floats."""


def read_points(given: Any, parts: Sequence[Part], source: str) -> tuple[dict[str, Any], ...]:
    """Return points as trials have them; see `SearchSpace.points`.

    Parameters
    ----------
    given : sequence of mapping
    parts : sequence of Part
        A point belongs to the first of them that it fits.
    source : str
        Names the points in messages.
    """
    if isinstance(given, Mapping | str) or not isinstance(given, Sequence):
        raise SpaceError([f"{source}: must be a list of mappings. Got {shorten(given)} instead."])
    points, problems = [], []
    for i, point in enumerate(given):
        found, wrong = _in_any(point, parts)
        points.append(found)
        problems += [f"{source}[{i}]: {problem}" for problem in wrong]
    if problems:
        raise SpaceError(problems)
    return tuple(points)


def _in_any(point: Any, parts: Sequence[Part]) -> tuple[dict[str, Any], list[str]]:
    """Return the point in the first part that it fits, else what is wrong in the nearest one."""
    if not isinstance(point, Mapping):
        return {}, [f"must be a mapping of names to values. Got {shorten(point)} instead."]
    tried = [_in_part(point, *part) for part in parts]
    return min(tried, key=lambda found: len(found[1]))


def _in_part(
    point: Mapping[Any, Any],
    parameters: Mapping[str, Parameter],
    is_active: Callable[[str, Mapping[str, Any]], bool],
) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {}
    problems = []
    for name, value in point.items():
        if name not in parameters:
            hint = did_you_mean(str(name), parameters) or f"; it has {', '.join(parameters)}."
            problems.append(f"{name}: is not in the search space{hint}")
            continue
        try:
            found[name] = _value(parameters[name], value)
        except ValueError as error:
            problems.append(f"{name}: {error}" if str(error)[-1] in "?." else f"{name}: {error}.")
    if not problems:
        absent = [name for name in found if not is_active(name, found)]
        problems = [f"{name}: {_why_absent(parameters[name], found)}" for name in absent]
    return found, problems


def _why_absent(parameter: Parameter, point: Mapping[str, Any]) -> str:
    told = ", ".join(
        f"{parent} is {' or '.join(map(str, allowed))}"
        for parent, allowed in parameter.when.items()
    )
    missing = [parent for parent in parameter.when if parent not in point]
    if missing:
        return f"exists only when {told}: give {' and '.join(missing)} too."
    return f"exists only when {told}, which the point does not say."


def _value(parameter: Parameter, value: Any) -> Any:
    """Return ``value`` as a trial has it.

    Raises
    ------
    ValueError
        If the parameter never has it.
    """
    if parameter.choices:
        choice = find_choice(value, parameter.choices)
        if choice is None:
            stored = [str(choice.stored) for choice in parameter.choices]
            hint = did_you_mean(str(value), stored) or f"; they are {_few(stored)}"
            raise ValueError(f"{shorten(value)} is none of its choices{hint}")
        return choice.stored
    number = _number(value)
    if parameter.quantiles is not None:
        found = parameter.quantiles
        return _between(number, found.low, found.high, whole=found.discrete)
    return _on_grid(number, parameter.distribution)


def _few(texts: Sequence[str]) -> str:
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


def fitted(parameter: Parameter, value: Any) -> bool:
    """Return whether a trial's value is one that the parameter may have."""
    if parameter.choices:
        return any(same(choice.stored, value) for choice in parameter.choices)
    try:
        _value(parameter, value)
    except ValueError:
        return False
    return True
