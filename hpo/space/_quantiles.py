"""Distributions of scipy.stats as parameters.

Optuna draws from uniform, logarithmic and integer ranges. Any other distribution is searched by
its quantile, which is uniform whatever the distribution: the storage keeps the quantile, and
the trial gets the value at that quantile.
"""

import ast
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["HIGH", "LOW", "Quantiles", "distribution_form", "is_distribution"]

LOW, HIGH = 0.001, 0.999
"""The quantiles that are searched: most distributions have no finite ends."""

_DIGITS = 12
"""Significant digits of a value, so that a value survives the round trip unchanged."""

_HINT = (
    "give it low and high, a list of values, or a distribution of scipy.stats with its "
    "parameters, such as scipy.stats.expon(scale=10)"
)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Converts between the values of a distribution and their quantiles.

    Parameters
    ----------
    text : str
        The distribution as scipy.stats writes it: ``"expon(scale=10)"``.
    discrete : bool
        Whether its values are integers.
    """

    text: str
    discrete: bool

    def value(self, quantile: float) -> float | int:
        """Return the value at ``quantile``, from 0 to 1; any other number is returned as it is."""
        if not 0 <= quantile <= 1:  # stored by an earlier version of the space
            return quantile
        value = float(_frozen(self.text).ppf(quantile))
        return round(value) if self.discrete else float(f"{value:.{_DIGITS}g}")

    def quantile(self, value: float) -> float:
        """Return a quantile whose value is ``value``."""
        frozen = _frozen(self.text)
        probability = frozen.cdf(value)
        if self.discrete:  # the cdf itself might round to the next value
            probability = (probability + frozen.cdf(value - 1)) / 2
        return min(max(float(probability), LOW), HIGH)

    step = None

    @property
    def low(self) -> float | int:
        """The smallest value that is searched."""
        return self.value(LOW)

    @property
    def high(self) -> float | int:
        """The largest value that is searched."""
        return self.value(HIGH)


def is_distribution(spec: Any) -> bool:
    """Return whether ``spec`` is a distribution object, which can draw random values."""
    return any(hasattr(spec, name) for name in ("rvs", "icdf")) and not isinstance(spec, type)


def distribution_form(spec: Any) -> dict[str, Any]:
    """Return the short form of a distribution.

    Parameters
    ----------
    spec : object or str
        A distribution of scipy.stats with its parameters, as an object or as text.

    Returns
    -------
    dict
        ``low``, ``high`` and ``log`` where Optuna has the same distribution, else
        ``distribution``, a `Quantiles`; and ``type``.

    Raises
    ------
    ValueError
        If it cannot be searched; the message says why.
    """
    text = spec if isinstance(spec, str) else _text(spec)
    frozen = _frozen(text)
    name = frozen.dist.name
    ends = [float(end) for end in (frozen.ppf(LOW), frozen.ppf(HIGH), *frozen.support())]
    if any(map(math.isnan, ends)) or not all(map(math.isfinite, ends[:2])):
        raise ValueError(f"scipy.stats has no quantiles for {text}: are its parameters in range?")
    if name == "randint":
        return {"type": "int", "low": int(ends[2]), "high": int(ends[3])}
    if name == "uniform":
        return {"type": "float", "low": ends[2], "high": ends[3]}
    if name in {"loguniform", "reciprocal"} and _is_logarithmic(frozen, *ends[2:]):
        return {"type": "float", "low": ends[2], "high": ends[3], "log": True}
    discrete = hasattr(frozen, "pmf")
    kind = "int" if discrete else "float"
    return {"type": kind, "distribution": Quantiles(_canonical(text), discrete)}


def _is_logarithmic(frozen: Any, low: float, high: float) -> bool:
    """Return whether it is not shifted: a shifted one is not uniform on a logarithmic scale."""
    return low > 0 and math.isclose(float(frozen.median()), math.sqrt(low * high), rel_tol=1e-9)


def _text(spec: Any) -> str:
    """Return the text of a distribution of scipy.stats, frozen or without parameters."""
    import scipy.stats

    dist = getattr(spec, "dist", spec)
    name = getattr(dist, "name", None)
    standard = getattr(scipy.stats, name, None) if isinstance(name, str) else None
    if standard is None or type(standard) is not type(dist):
        raise ValueError(f"the distribution {spec!r} is none of scipy.stats' own: {_HINT}")
    args = [_number(value, spec) for value in getattr(spec, "args", ())]
    kwds = [f"{key}={_number(v, spec)}" for key, v in getattr(spec, "kwds", {}).items()]
    return f"{name}({', '.join([*args, *kwds])})"


def _number(value: Any, spec: Any) -> str:
    plain = value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise ValueError(f"the distribution {spec!r} has a parameter that is no number: {_HINT}")
    return repr(plain)


def _canonical(text: str) -> str:
    """Return a distribution's text without the module's name and spaces."""
    return ast.unparse(ast.parse(text.rpartition("stats.")[2].strip(), mode="eval"))


@functools.lru_cache(maxsize=128)
def _frozen(text: str) -> Any:
    """Return the distribution that ``text`` names, with its parameters."""
    name, args, kwds = _call(text)
    import scipy.stats

    dist: Any = getattr(scipy.stats, name, None)
    if not hasattr(dist, "ppf"):
        raise ValueError(f"scipy.stats has no distribution '{name}'{_suggestion(name)}")
    try:
        return dist(*args, **kwds)
    except (TypeError, ValueError) as error:
        raise ValueError(f"scipy.stats refuses {text}: {error}") from error


def _suggestion(name: str) -> str:
    import scipy.stats

    from hpo._discovery import did_you_mean

    names = [key for key, value in vars(scipy.stats).items() if hasattr(value, "ppf")]
    return did_you_mean(name, names)


def _call(text: str) -> tuple[str, list[Any], Mapping[str, Any]]:
    """Return the name and the parameters in a text such as ``expon(scale=10)``."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        called = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        name = ast.unparse(called.func).rpartition(".")[2]
        args = [ast.literal_eval(value) for value in called.args]
        kwds = {str(item.arg): ast.literal_eval(item.value) for item in called.keywords}
    except (SyntaxError, ValueError):
        raise ValueError(
            f"`distribution` must be one of scipy.stats with numbers for its parameters, such as "
            f"expon(scale=10), got {text!r}"
        ) from None
    return name, args, kwds
