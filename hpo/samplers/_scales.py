"""Map a position in a parameter's range, from 0 to 1, to a value."""

import math
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

__all__ = ["value_at"]


def value_at(share: float, dist: BaseDistribution) -> Any:
    """Return the value at a relative position in a distribution's range.

    The range is logarithmic if the distribution is. With steps it is extended by half a step at
    both ends, so that all steps are equally wide. A float with a single value has no range.

    Parameters
    ----------
    share : float
        In the interval [0, 1).
    dist : FloatDistribution or IntDistribution
    """
    low, high = _ends(dist)
    place = low + share * (high - low)
    if isinstance(dist, IntDistribution):
        return _integer(place, dist)
    assert isinstance(dist, FloatDistribution)
    if dist.step is not None:
        value = round((place - dist.low) / dist.step) * dist.step + dist.low
        return float(min(max(value, dist.low), dist.high))
    if dist.low == dist.high:
        return dist.low
    value = math.exp(place) if dist.log else place
    # Like Optuna, which samples floats from a range that is open at its upper end.
    return max(min(value, math.nextafter(dist.high, -math.inf)), dist.low)


def _ends(dist: Any) -> tuple[float, float]:
    half = 0.5 * (dist.step or 0.0)
    if dist.log:
        return math.log(dist.low - half), math.log(dist.high + half)
    return float(dist.low) - half, float(dist.high) + half


def _integer(place: float, dist: IntDistribution) -> int:
    if dist.log:
        value = round(math.exp(place))
    else:
        value = math.floor((place - dist.low) / dist.step + 0.5) * dist.step + dist.low
    return min(max(value, dist.low), dist.high)
