"""The codes of a parameter's values, which Ray Tune's search algorithms work on.

The code of a value on a log scale is its logarithm, that of a value with steps (integers included)
the number of its step, that of a choice its repr. This way algorithms respect scales and steps that
they do not support themselves.
"""

import math
from typing import Any

from optuna.distributions import CategoricalDistribution, IntDistribution
from ray import tune

__all__ = ["code_of", "domain", "value_of"]


def domain(distribution: Any) -> Any:
    """Return Tune's domain of a parameter's codes."""
    if isinstance(distribution, CategoricalDistribution):
        return tune.choice([repr(choice) for choice in distribution.choices])
    low, high = distribution.low, distribution.high
    if distribution.log:
        # Half a step beyond the ends, so that the first and the last value are as likely as others.
        half = 0.5 if isinstance(distribution, IntDistribution) else 0.0
        return tune.uniform(math.log(low - half), math.log(high + half))
    if distribution.step is None:
        return tune.uniform(low, high)
    return tune.randint(0, code_of(distribution, high) + 1)


def code_of(distribution: Any, value: Any) -> Any:
    """Return the code of a value."""
    if isinstance(distribution, CategoricalDistribution):
        return repr(value)
    if distribution.log:
        return math.log(value)
    if distribution.step is None:
        return value
    return round((value - distribution.low) / distribution.step)


def value_of(distribution: Any, code: Any) -> Any:
    """Return the value with this code; numbers are clipped to their range."""
    if isinstance(distribution, CategoricalDistribution):
        return {repr(choice): choice for choice in distribution.choices}[code]
    value = float(code)
    if distribution.log:
        value = math.exp(value)
    elif distribution.step is not None:
        value = distribution.low + round(value) * distribution.step
    if isinstance(distribution, IntDistribution):
        value = round(value)
    return min(max(value, distribution.low), distribution.high)
