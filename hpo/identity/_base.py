"""What the parts of a describer know of it."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from hpo.identity._description import Description, mark_of

__all__ = ["BaseDescriber"]

_CHANGES = mark_of("changes")


class BaseDescriber(ABC):
    """Describes values, and keeps the marks of the user's own code that they reach.

    Attributes
    ----------
    stateful : bool
        Whether estimators are described with what they have learned: those among an estimator's
        parameters are cloned before each fit, which keeps their parameters alone.
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
        self._taken: set[str] = set()
        self._kept: list[Any] = []

    @abstractmethod
    def describe(self, value: Any) -> Description:
        """Return the description of a value."""

    @property
    def code(self) -> dict[str, str]:
        """Name of each class, function and global of the user's own to its mark.

        What the code reads, such as a global, is described when all functions are known that
        have been reached so far: one that they change themselves tells nothing of the study.
        """
        while self._waiting:
            key, place, value = self._waiting.pop(0)
            self._code[key] = _CHANGES if place in self._written else self.value_in_code(value)
        return self._code

    def keep_code(self, key: str, mark: str, written: Iterable[Hashable] = ()) -> None:
        """Keep the mark of a piece of code, and the places that it writes to."""
        self._code[key] = mark
        self._written.update(written)

    def change_attribute(self, cls: type[Any], name: str) -> None:
        """Note that code changes an attribute of a class, wherever that has it from."""
        self._written.update((id(base), name) for base in cls.__mro__ if name in vars(base))

    def keep_value(self, key: str, place: Hashable, value: Any) -> None:
        """Keep the mark of what code reads from a place, unless code writes there."""
        self._code[key] = _CHANGES
        self._waiting.append((key, place, value))

    def value_in_code(self, value: Any) -> str:
        """Return the mark of what code reads; that of its class, if it cannot be described."""
        with self.with_state():
            found = self.describe(value)
        return self.describe(type(value)).mark if found.is_unknown else found.mark

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
