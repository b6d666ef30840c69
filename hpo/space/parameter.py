"""A parameter of a search space, and the list of problems found in a space."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from hpo.space._quantiles import Quantiles
from hpo.space.choices import Choice, Stored

__all__ = ["Bounds", "Parameter", "Problems", "shorten"]


class Bounds(NamedTuple):
    """The range of a number.

    Parameters
    ----------
    low, high : float
        Both included; of a distribution of scipy.stats, its outermost values that are searched.
    log : bool
    step : float or None
        Distance of two values; None if there is none.
    is_integer : bool
    """

    low: float
    high: float
    log: bool
    step: float | None
    is_integer: bool


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """One checked parameter.

    Parameters
    ----------
    name : str
    distribution : optuna.distributions.BaseDistribution
        The distribution of the stored values.
    choices : tuple of Choice
        The choices of a categorical parameter, in the order of the distribution's.
    when : mapping of str to tuple
        Maps each parent to those of its stored values under which this parameter exists.
    quantiles : Quantiles or None
        For a parameter whose quantile is stored instead of its value.
    target : str
        The estimator's name of the parameter, if its stored name differs.
    default : tuple
        The value to try first, as trials have it; empty if none is given.
    """

    name: str
    distribution: BaseDistribution
    choices: tuple[Choice, ...] = ()
    when: Mapping[str, tuple[Stored, ...]] = field(default_factory=dict)
    quantiles: Quantiles | None = None
    target: str = ""
    default: tuple[Any, ...] = ()

    @property
    def estimator_name(self) -> str:
        """The estimator's name of the parameter."""
        return self.target or self.name

    @property
    def bounds(self) -> Bounds | None:
        """The range of the values of a number; None for choices."""
        d = self.distribution
        if self.quantiles is not None:
            ends = float(self.quantiles.low), float(self.quantiles.high)
            return Bounds(*ends, log=False, step=None, is_integer=self.quantiles.discrete)
        if isinstance(d, FloatDistribution | IntDistribution):
            return Bounds(d.low, d.high, d.log, d.step, isinstance(d, IntDistribution))
        return None

    def read(self, stored: Any) -> Any:
        """Return the value for a stored value."""
        return stored if self.quantiles is None else self.quantiles.value(stored)

    def keep(self, value: Any) -> Any:
        """Return the stored value for a value."""
        return value if self.quantiles is None else self.quantiles.quantile(value)


@dataclass(slots=True)
class Problems:
    """Collects messages, each with the position of its parameter in the file."""

    source: str
    lines: Mapping[tuple[Any, ...], int]
    order: Mapping[Any, int]
    unread: frozenset[Any] = frozenset()
    entries: list[tuple[int, str]] = field(default_factory=list)

    def add(self, name: Any, message: str, key: str | None = None) -> None:
        """Add a message about parameter ``name``, with the line of ``key`` if that is known."""
        if name in self.unread:  # the YAML reader has reported it
            return
        line = self.lines.get((name, key), self.lines.get((name,)))
        where = f" (line {line})" if line else ""
        text = f"{self.source}: {name}: {message.removesuffix('.')}{where}"
        self.entries.append((self.order.get(name, 0), text if text.endswith("?") else text + "."))

    def sorted(self) -> list[str]:
        """Return the messages in the order of the parameters."""
        return [message for _, message in sorted(self.entries, key=lambda pair: pair[0])]


def shorten(value: Any) -> str:
    """Return the repr of ``value``, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
