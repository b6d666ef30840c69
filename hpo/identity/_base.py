"""What the parts of a describer know of it."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from hpo.identity._description import Description

__all__ = ["BaseDescriber"]


class BaseDescriber(ABC):
    """Describes values, and keeps the marks of the user's own code that they reach.

    Attributes
    ----------
    code : dict of str to str
        Name of a class, function or global of the user's own to its mark.
    stateful : bool
        Whether estimators are described with what they have learned: those among an estimator's
        parameters are cloned before each fit, which keeps their parameters alone.
    changing : dict of int to set of str
        Address of the globals of a module to the names of those that the module changes.
    """

    def __init__(self) -> None:
        self.code: dict[str, str] = {}
        self.stateful = False
        self.changing: dict[int, set[str]] = {}
        self._keys: dict[Hashable, str] = {}
        self._taken: set[str] = set()
        self._kept: list[Any] = []

    @abstractmethod
    def describe(self, value: Any) -> Description:
        """Return the description of a value."""

    @contextmanager
    def with_state(self) -> Iterator[None]:
        """Describe estimators inside the block with what they have learned."""
        before, self.stateful = self.stateful, True
        try:
            yield
        finally:
            self.stateful = before

    def key(self, thing: Hashable, name: str, *kept: Any) -> tuple[str, bool]:
        """Return the name that a piece of code goes by, and whether it is a new one.

        Parameters
        ----------
        thing : hashable
            What makes it one and the same.
        name : str
            Numbered where something else has it.
        *kept : object
            Must not be freed, for ``thing`` holds their addresses.
        """
        known = self._keys.get(thing)
        if known is not None:
            return known, False
        key, number = name, 1
        while key in self._taken:
            number += 1
            key = f"{name} #{number}"
        self._taken.add(key)
        self._keys[thing] = key
        self._kept.append(kept)
        return key, True
