"""A parameter of a search space, and the list of mistakes made in one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution

from hpo.space._quantiles import Quantiles
from hpo.space.choices import Choice, Stored

__all__ = ["Parameter", "Problems", "shorten"]


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """One checked parameter.

    Parameters
    ----------
    name : str
    distribution : optuna.distributions.BaseDistribution
        Over what the storage keeps.
    choices : tuple of Choice
        Of a categorical parameter, in the order of the distribution's choices.
    when : mapping of str to tuple
        Parent to those of its stored values under which this parameter exists.
    quantiles : Quantiles or None
        Of a parameter whose quantile is stored, not its value.
    target : str
        The estimator's name of it, where the storage knows it under another one.
    """

    name: str
    distribution: BaseDistribution
    choices: tuple[Choice, ...] = ()
    when: Mapping[str, tuple[Stored, ...]] = field(default_factory=dict)
    quantiles: Quantiles | None = None
    target: str = ""

    @property
    def of(self) -> str:
        """The estimator's name of the parameter."""
        return self.target or self.name

    def read(self, stored: Any) -> Any:
        """Return the value for what the storage has."""
        return stored if self.quantiles is None else self.quantiles.value(stored)

    def keep(self, value: Any) -> Any:
        """Return what the storage keeps for a value."""
        return value if self.quantiles is None else self.quantiles.quantile(value)


@dataclass(slots=True)
class Problems:
    """The mistakes found so far, each with its parameter's place in the file."""

    source: str
    lines: Mapping[tuple[Any, ...], int]
    order: Mapping[Any, int]
    unread: frozenset[Any] = frozenset()
    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, name: Any, message: str, key: str | None = None) -> None:
        """Note one mistake of parameter ``name``, in the line of ``key`` if that is known."""
        if name in self.unread:  # told by the reader
            return
        line = self.lines.get((name, key), self.lines.get((name,)))
        where = f" (line {line})" if line else ""
        told = f"{self.source}: {name}: {message.removesuffix('.')}{where}"
        self.found.append((self.order.get(name, 0), told if told.endswith("?") else told + "."))

    def sorted(self) -> list[str]:
        """Return the messages in the order of the parameters."""
        return [message for _, message in sorted(self.found, key=lambda pair: pair[0])]


def shorten(value: Any) -> str:
    """Return the repr of ``value``, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
