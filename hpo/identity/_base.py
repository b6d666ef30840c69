"""The base class of the describer: the interface that the describing functions use."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from hpo.identity._description import Description, mark_of

__all__ = ["BaseDescriber"]

_CHANGES = mark_of("changes")


class BaseDescriber(ABC):
    """Describes values, and collects the marks of the user's own code that they refer to.

    Attributes
    ----------
    stateful : bool
        Whether estimators are described with their fitted state. Estimators that are parameters
        of another one are not: they are cloned before each fit, which keeps only parameters.
    singletons : dict
        See `singleton_name`.
    """

    def __init__(self) -> None:
        self.stateful = False
        self._code: dict[str, str] = {}
        self._waiting: list[tuple[str, Hashable, Any]] = []
        self._written: set[Hashable] = set()
        self.singletons: dict[str, dict[int, str]] = {}
        self._keys: dict[Hashable, str] = {}
        self._used_keys: set[str] = set()
        self._references: list[Any] = []

    @abstractmethod
    def describe(self, value: Any) -> Description:
        """Return the description of a value."""

    @property
    def code(self) -> dict[str, str]:
        """Maps each class, function and global of the user's own code to its mark.

        What the code reads, such as a global, is described only after all functions that refer
        to it are known: a global that they modify themselves says nothing about the study.
        """
        while self._waiting:
            key, place, value = self._waiting.pop(0)
            self._code[key] = _CHANGES if place in self._written else self.value_in_code(value)
        return self._code

    def keep_code(self, key: str, mark: str, written: Iterable[Hashable] = ()) -> None:
        """Store the mark of a piece of code, and the places that it writes to."""
        self._code[key] = mark
        self._written.update(written)

    def change_attribute(self, cls: type[Any], name: str) -> None:
        """Note that code changes an attribute of a class, also if a base class defines it."""
        self._written.update((id(base), name) for base in cls.__mro__ if name in vars(base))

    def keep_value(self, key: str, place: Hashable, value: Any) -> None:
        """Store the mark of what code reads from a place, unless some code writes there."""
        self._code[key] = _CHANGES
        self._waiting.append((key, place, value))

    def value_in_code(self, value: Any) -> str:
        """Return the mark of a value that code reads, or of its class if it is unknown."""
        with self.with_state():
            description = self.describe(value)
        return self.describe(type(value)).mark if description.is_unknown else description.mark

    @contextmanager
    def with_state(self) -> Iterator[None]:
        """Describe estimators inside the block with their fitted state."""
        before, self.stateful = self.stateful, True
        try:
            yield
        finally:
            self.stateful = before

    def key(self, thing: Hashable, name: str, *references: Any) -> tuple[str, bool]:
        """Return the unique name of a piece of code, and whether it is new.

        Parameters
        ----------
        thing : hashable
            Identifies the piece of code.
        name : str
            A number is added if something else has this name.
        *references : object
            Objects to keep alive, since ``thing`` contains their addresses.
        """
        known_key = self._keys.get(thing)
        if known_key is not None:
            return known_key, False
        key, number = name, 1
        while key in self._used_keys:
            number += 1
            key = f"{name} #{number}"
        self._used_keys.add(key)
        self._keys[thing] = key
        self._references.append(references)
        return key, True
