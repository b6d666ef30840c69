"""Points that a rehearsal tries, those most likely to work first."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo.space._grid import grid_values
from hpo.space._space import SearchSpace

__all__ = ["rehearsed_points"]

_MIDDLE = 0.5
_FEWEST, _MOST = 3, 12


def rehearsed_points(
    space: SearchSpace, enqueued: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Return a few different points of ``space``, in the form of trial params.

    The list starts with the first enqueued point, if any; then comes the middle of all ranges
    with the first choices; then each choice of all parameters (12 at most), with values from one
    end of the ranges to the other and the conditional parameters that go with it.
    """
    n = min(_MOST, max([_FEWEST, *map(_n_values, space.distributions.values())]))
    points = [_point(space, _MIDDLE, 0, point) for point in enqueued[:1]]
    points += [_point(space, _MIDDLE, 0)]
    points += [_point(space, i / (n - 1), i) for i in range(n)]
    different: list[dict[str, Any]] = []
    for point in points:
        if point not in different:
            different.append(point)
    return different


def _point(
    space: SearchSpace, share: float, choice: int, base: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    fixed = space.keep(base or {})
    suggest: Callable[[str, BaseDistribution], Any] = lambda name, distribution: (  # noqa: E731
        fixed[name] if name in fixed else _value(distribution, share, choice)
    )
    return space.read(space.sample(suggest))


def _n_values(distribution: BaseDistribution) -> int:
    return len(grid_values(distribution) or ())


def _value(distribution: BaseDistribution, share: float, choice: int) -> Any:
    match distribution:
        case CategoricalDistribution():
            return distribution.choices[choice % len(distribution.choices)]
        case FloatDistribution() | IntDistribution():
            return _number(distribution, share)
    raise TypeError(f"unknown distribution {distribution!r}")


def _number(distribution: FloatDistribution | IntDistribution, share: float) -> float | int:
    low, high, step = distribution.low, distribution.high, distribution.step
    if distribution.log:
        value = math.exp((1 - share) * math.log(low) + share * math.log(high))
    else:
        value = (1 - share) * low + share * high
    if isinstance(distribution, IntDistribution):
        whole = distribution.step
        return int(min(high, low + whole * round((value - low) / whole)))
    if step is not None:
        value = low + step * round((value - low) / step)
    return float(min(max(value, low), high))
