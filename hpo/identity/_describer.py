"""Describes any value, so that two of them can be compared in two processes."""

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
"""Objects that one describer looks at: a value that leads further is not described."""
_SHOWN = 20
_MOST_PARTS = 64
"""Parts of a list or mapping that are kept to tell a difference by."""


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
    """Describes values by what they are, never by where they are.

    * Numbers, texts and containers by value: 1 is not 1.0, a list is no tuple, a mapping and a set
      have no order. NumPy's numbers are Python's.
    * Arrays, tensors and frames by value, whatever their layout (`describe_array`).
    * Estimators by their parameters, but ``verbose`` and ``n_jobs``, since they are cloned before
      they are fitted; torch's modules by their settings, weights and submodules; any other object
      by its class and its state, as pickle would take it.
    * Classes and functions of libraries by name, so that an upgrade makes no other study. The
      user's own by their name, defaults and closure; what their code is, and what it reads from
      around it, is kept apart in ``code``.

    What cannot be described (a generator, a connection) is unknown and equals nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[int, int] = {}
        self._known: dict[tuple[int, bool], tuple[Any, Description]] = {}
        self._seen = 0
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
        known = self._known.get((id(value), self.stateful))
        if known is not None:
            return known[1]
        if id(value) in self._open:
            return self._again(value)
        self._seen += 1
        if self._seen > _MOST:
            return unknown(f"a {type(value).__name__}", "it leads to too many others")
        return self._new(value)

    def _again(self, value: Any) -> Description:
        """Return the description of a value inside that of itself."""
        if isinstance(value, FunctionType):
            return describe_again(self, value)
        return leaf("again", "itself", str(len(self._open) - self._open[id(value)]))

    def _new(self, value: Any) -> Description:
        key = (id(value), self.stateful)
        self._open[id(value)] = len(self._open)
        try:
            found = self._described(value)
        except RecursionError:
            found = unknown(f"a {type(value).__name__}", "it is nested too deeply")
        finally:
            del self._open[id(value)]
        self._known[key] = value, found  # the value too, or its address might be another's
        return found

    def _described(self, value: Any) -> Description:
        found = describe_array(value, self.describe)
        if found is not None:
            return found
        contained = self._containers.get(type(value))
        if contained is not None:
            return contained(value)
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
            shown = repr(items) if len(items) <= _SHOWN else f"{kind} of {len(items)}"
            return leaf(kind, shown, "plain", text)
        found = [self.describe(item) for item in items]
        names = [_name_of(i, item) for i, item in enumerate(items)]
        parts = {name: _inner(item) for name, item in zip(names, found, strict=True)}
        inner = ", ".join(item.text for item in found[:_SHOWN])
        told = f"[{inner}]" if kind == "list" else f"({inner})"
        mark = mark_of(kind, of=[item.mark for item in found])
        return Description(cut(told), mark, parts if len(items) <= _MOST_PARTS else {})

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
        found = sorted((self.describe(item) for item in items), key=lambda item: item.mark)
        inner = ", ".join(sorted(item.text for item in found)[:_SHOWN])
        mark = mark_of(type(items).__name__, of=[item.mark for item in found])
        return Description(cut(f"{{{inner}}}"), mark)


def _name_of(place: int, item: Any) -> str:
    """Return what an item is called: a step of a Pipeline by its name, any other by its place."""
    named = isinstance(item, tuple) and item and isinstance(item[0], str)
    return item[0] if named else str(place)


def _inner(item: Description) -> Description:
    """Return what stands beside a name in a pair of both."""
    return item.parts["1"] if set(item.parts) == {"0", "1"} else item
