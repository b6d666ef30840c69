"""Describe classes: a library's by name, the user's own by their code."""

import functools
from types import (
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    WrapperDescriptorType,
)
from typing import Any

from hpo.identity._base import BaseDescriber
from hpo.identity._code import attributes_written
from hpo.identity._description import Description, leaf, mark_of
from hpo.identity._origin import is_own, path_of

__all__ = ["describe_class"]

_OF_THE_INTERPRETER = GetSetDescriptorType | MemberDescriptorType | WrapperDescriptorType


def describe_class(of: BaseDescriber, cls: type[Any]) -> Description:
    """Return the description of a class.

    A library's class is described by its path, so that an upgrade does not change the study. A
    class of the user's own is described by its name, since its module is not the same in a script
    and under ``hpo run``; its methods, attributes and bases are stored separately, as code. The
    same holds for a class that a library creates in a function: its name does not identify it.
    """
    if not is_own(cls.__module__) and "<locals>" not in cls.__qualname__:
        return leaf("class", cls.__name__, path_of(cls))
    key, new = of.key(("class", id(cls)), cls.__qualname__, cls)
    if new:
        for name in _changing(cls):
            of.change_attribute(cls, name)
        marks = {name: _attribute(of, cls, name, value) for name, value in _attributes(cls)}
        bases = [of.describe(base).mark for base in (*cls.__bases__, type(cls))]
        of.keep_code(key, mark_of("class", *marks, of=[*bases, *marks.values()]))
    return leaf("own class", cls.__name__, key)


def _attributes(cls: type[Any]) -> list[tuple[str, Any]]:
    """Return what the body of a class defines, without what Python adds."""
    return [
        (name, value)
        for name, value in sorted(vars(cls).items())
        if not isinstance(value, _OF_THE_INTERPRETER)
        and (_is_method(value) or not name.startswith(("__", "_abc_")))
    ]


def _changing(cls: type[Any]) -> set[str]:
    """Return the attributes that a class modifies itself: counters, caches, logs."""
    names = set()
    for base in cls.__mro__:
        for value in vars(base).values() if is_own(base.__module__) else ():
            function = getattr(value, "__func__", getattr(value, "fget", value))
            code = getattr(function, "__code__", None)
            written = attributes_written(code) if code is not None else set()
            names |= {name for owner, name in written if not owner}
    return names


def _is_method(value: Any) -> bool:
    return isinstance(value, FunctionType | staticmethod | classmethod | property)


def _attribute(of: BaseDescriber, cls: type[Any], name: str, value: Any) -> str:
    """Return the mark of an attribute; a value that is not a method is stored separately."""
    if isinstance(value, staticmethod | classmethod):
        return mark_of(type(value).__name__, of=[of.value_in_code(value.__func__)])
    if isinstance(value, property):
        parts = (value.fget, value.fset, value.fdel)
        return mark_of("property", of=[of.value_in_code(part) for part in parts])
    if isinstance(value, functools.cached_property):
        return mark_of("cached property", of=[of.value_in_code(value.func)])
    if isinstance(value, FunctionType | type):
        return of.value_in_code(value)
    place = (id(cls), name)
    key, _ = of.key(place, f"{cls.__qualname__}.{name}")
    of.keep_value(key, place, value)
    return mark_of("attribute", key)
