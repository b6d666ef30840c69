"""Describe any value so that it can be compared with one from another process."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping, Set
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from hpo.identity._arrays import describe_array
from hpo.identity._base import BaseDescriber
from hpo.identity._callables import (
    describe_again,
    describe_builtin,
    describe_function,
    describe_method,
    describe_partial,
)
from hpo.identity._classes import describe_class
from hpo.identity._description import Description, cut, leaf, mark_of, unknown
from hpo.identity._objects import (
    describe_estimator,
    describe_module,
    describe_object,
    is_estimator,
    is_module,
)
from hpo.identity._plain import PLAIN, as_json, unboxed

__all__ = ["Describer"]

_MOST = 300_000
"""Maximum number of objects that one describer visits; beyond it, values are unknown."""
_SHOWN = 20
_MOST_PARTS = 64
"""Maximum number of parts of a list or mapping that are stored to explain a difference."""


def _describe_bytes(of: BaseDescriber, value: Any) -> Description:
    content = bytes(value)
    return leaf("bytes", f"{len(content)} bytes", content)


def _describe_namespace(of: BaseDescriber, value: ModuleType) -> Description:
    return leaf("module", value.__name__)


_KINDS: tuple[tuple[Any, Callable[[BaseDescriber, Any], Description]], ...] = (
    (FunctionType, describe_function),
    (MethodType, describe_method),
    (BuiltinFunctionType, describe_builtin),
    (functools.partial, describe_partial),
    (ModuleType, _describe_namespace),
    ((bytes, bytearray, memoryview), _describe_bytes),
)


class Describer(BaseDescriber):
    """Describes values by their content, never by their address.

    * Numbers, text and containers are described by value: 1 is not 1.0, a list is not a tuple,
      the order of a mapping or a set does not count. NumPy scalars equal Python's.
    * Arrays, tensors and frames are described by value, whatever their layout (`describe_array`).
    * Estimators are described by their parameters except ``verbose`` and ``n_jobs``, since they
      are cloned before they are fitted; torch modules by their settings, weights and submodules;
      any other object by its class and its state, as pickle would store it.
    * Classes and functions of libraries are described by name, so that an upgrade does not change
      the study; the user's own by their name, defaults and closure. Their code, and the globals
      that it reads, are stored separately in ``code``.

    What cannot be described (a generator, a connection) is unknown and equals nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._in_progress: dict[int, int] = {}
        self._cache: dict[tuple[int, bool], tuple[Any, Description]] = {}
        self._n_described = 0
        self._containers: dict[type[Any], Callable[[Any], Description]] = {
            list: self._sequence,
            tuple: self._sequence,
            dict: self._mapping,
            OrderedDict: self._mapping,
            set: self._unordered,
            frozenset: self._unordered,
        }

    def describe(self, value: Any) -> Description:
        """Return the description of a value."""
        value = unboxed(value)
        if type(value) in PLAIN:
            return leaf(type(value).__name__, repr(value), repr(value))
        if isinstance(value, type):
            return describe_class(self, value)
        cached = self._cache.get((id(value), self.stateful))
        if cached is not None:
            return cached[1]
        if id(value) in self._in_progress:
            return self._describe_recursion(value)
        self._n_described += 1
        if self._n_described > _MOST:
            return unknown(f"a {type(value).__name__}", "it leads to too many others")
        return self._describe_new(value)

    def _describe_recursion(self, value: Any) -> Description:
        """Return the description of a value that occurs inside itself."""
        if isinstance(value, FunctionType):
            return describe_again(self, value)
        return leaf("again", "itself", str(len(self._in_progress) - self._in_progress[id(value)]))

    def _describe_new(self, value: Any) -> Description:
        key = (id(value), self.stateful)
        self._in_progress[id(value)] = len(self._in_progress)
        try:
            description = self._dispatch(value)
        except RecursionError:
            description = unknown(f"a {type(value).__name__}", "it is nested too deeply")
        finally:
            del self._in_progress[id(value)]
        # The value is kept alive, or its address might be reused by another object.
        self._cache[key] = value, description
        return description

    def _dispatch(self, value: Any) -> Description:
        array = describe_array(value, self.describe)
        if array is not None:
            return array
        describe_container = self._containers.get(type(value))
        if describe_container is not None:
            return describe_container(value)
        for kinds, describe in _KINDS:
            if isinstance(value, kinds):
                return describe(self, value)
        if is_module(value):
            return describe_module(self, value)
        return (describe_estimator if is_estimator(value) else describe_object)(self, value)

    def _sequence(self, items: list[Any] | tuple[Any, ...]) -> Description:
        kind = type(items).__name__
        text = as_json(items)
        if text is not None:
            summary = repr(items) if len(items) <= _SHOWN else f"{kind} of {len(items)}"
            return leaf(kind, summary, "plain", text)
        descriptions = [self.describe(item) for item in items]
        names = [_name_of(i, item) for i, item in enumerate(items)]
        parts = {name: _inner(item) for name, item in zip(names, descriptions, strict=True)}
        inner = ", ".join(item.text for item in descriptions[:_SHOWN])
        listing = f"[{inner}]" if kind == "list" else f"({inner})"
        mark = mark_of(kind, of=[item.mark for item in descriptions])
        return Description(cut(listing), mark, parts if len(items) <= _MOST_PARTS else {})

    def _mapping(self, items: Mapping[Any, Any]) -> Description:
        pairs = [(self.describe(key), self.describe(value)) for key, value in items.items()]
        if type(items) is not OrderedDict:
            pairs.sort(key=lambda pair: (pair[0].text, pair[0].mark))
        marks = [mark for key, value in pairs for mark in (key.mark, value.mark)]
        inner = ", ".join(f"{key.text}: {value.text}" for key, value in pairs[:_SHOWN])
        parts = {key.text.strip("'"): value for key, value in pairs}
        mark = mark_of(type(items).__name__, of=marks)
        return Description(cut(f"{{{inner}}}"), mark, parts if len(pairs) <= _MOST_PARTS else {})

    def _unordered(self, items: Set[Any]) -> Description:
        descriptions = sorted((self.describe(item) for item in items), key=lambda item: item.mark)
        inner = ", ".join(sorted(item.text for item in descriptions)[:_SHOWN])
        mark = mark_of(type(items).__name__, of=[item.mark for item in descriptions])
        return Description(cut(f"{{{inner}}}"), mark)


def _name_of(place: int, item: Any) -> str:
    """Return the name of an item: the step's name in a Pipeline, else the index."""
    named = isinstance(item, tuple) and item and isinstance(item[0], str)
    return item[0] if named else str(place)


def _inner(item: Description) -> Description:
    """Return the description of the second item if it is a pair, such as (name, step)."""
    return item.parts["1"] if set(item.parts) == {"0", "1"} else item
