"""Every combination of a finite search space, in scikit-learn's order."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo.exceptions import SpaceError
from hpo.space.parameter import Parameter

__all__ = ["grid_of", "grid_values", "number_of_points"]

_MOST = 1_000_000


def grid_values(distribution: BaseDistribution) -> Sequence[Any] | None:
    """Return every value of ``distribution`` in order, or None if it is continuous."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    if not isinstance(distribution, FloatDistribution):
        return None
    if distribution.step is None:
        return (distribution.low,) if distribution.single() else None
    count = _number_of_steps(distribution)
    if count > _MOST:  # too many to list, and more than any grid may have
        return range(count)
    low, step = Decimal(str(distribution.low)), Decimal(str(distribution.step))
    return [float(low + i * step) for i in range(count)]


def _number_of_steps(distribution: FloatDistribution) -> int:
    low, high, step = (
        Decimal(str(number)) for number in (distribution.low, distribution.high, distribution.step)
    )
    return int((high - low) // step) + 1


def grid_of(
    parameters: Mapping[str, Parameter],
    is_active: Callable[[str, Mapping[str, Any]], bool],
    source: str,
) -> list[dict[str, Any]]:
    """Return all combinations, keys sorted and the last one varying fastest.

    Parameters
    ----------
    parameters : mapping of str to Parameter
        Parents before children.
    is_active : callable
        ``is_active(name, params)`` returns whether a parameter exists in a combination.
    source : str
        Names the space in messages.

    Raises
    ------
    SpaceError
        If parameters are continuous, or there are more than a million combinations.
    """
    values = {name: grid_values(p.distribution) for name, p in parameters.items()}
    finite = {name: choices for name, choices in values.items() if choices is not None}
    if len(finite) < len(values):
        raise SpaceError(
            [
                f"{source}: {name}: is continuous, so it has no grid; give it a step or choices."
                for name in values
                if name not in finite
            ]
        )
    too_many = f"{source}: the grid has more than {_MOST:,} combinations; give larger steps."
    always = [len(finite[name]) for name, p in parameters.items() if not p.when]
    if math.prod(always) > _MOST:
        raise SpaceError([too_many])
    names = list(parameters)
    combinations: list[tuple[tuple[int, ...], dict[str, Any]]] = []
    for places in _places(names, finite, is_active, {}):
        if len(combinations) == _MOST:
            raise SpaceError([too_many])
        # A parameter that does not exist is sorted as if it had its first value: that is where
        # the product of all values contains the combination first.
        order = tuple(places.get(name, 0) for name in sorted(names))
        params = {name: finite[name][places[name]] for name in sorted(places)}
        combinations.append((order, params))
    combinations.sort(key=lambda pair: pair[0])
    return [params for _, params in combinations]


def _places(
    names: Sequence[str],
    values: Mapping[str, Sequence[Any]],
    is_active: Callable[[str, Mapping[str, Any]], bool],
    places: dict[str, int],
) -> Iterator[dict[str, int]]:
    """Yield the position of the value of each existing parameter, for every combination."""
    if not names:
        yield dict(places)
        return
    name, rest = names[0], names[1:]
    params = {parent: values[parent][place] for parent, place in places.items()}
    if not is_active(name, params):
        yield from _places(rest, values, is_active, places)
        return
    for place in range(len(values[name])):
        yield from _places(rest, values, is_active, {**places, name: place})


def number_of_points(parameters: Mapping[str, Parameter]) -> int | None:
    """Return the number of combinations, ignoring conditions; None if it is infinite."""
    counts = [_number_of_values(parameter.distribution) for parameter in parameters.values()]
    finite = [count for count in counts if count is not None]
    return math.prod(finite) if len(finite) == len(counts) else None


def _number_of_values(distribution: BaseDistribution) -> int | None:
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        return _number_of_steps(distribution)
    values = grid_values(distribution)
    return None if values is None else len(values)
