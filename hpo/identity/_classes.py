"""Classes: by name in a library, by their code in the user's own."""

import functools
from types import (
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    WrapperDescriptorType,
)
from typing import Any

from hpo.identity._base import BaseDescriber
from hpo.identity._callables import value_in_code
from hpo.identity._description import Description, leaf, mark_of
from hpo.identity._origin import is_own, path_of

__all__ = ["describe_class"]

_OF_THE_INTERPRETER = GetSetDescriptorType | MemberDescriptorType | WrapperDescriptorType


def describe_class(of: BaseDescriber, cls: type[Any]) -> Description:
    """Return the description of a class.

    That of a library is told by its path, so that an upgrade makes no other study. One of the
    user's own is told by its name, for its module is another one in a script and under
    ``hpo run``; its methods, attributes and bases go into ``of.code``.
    """
    if not is_own(cls.__module__):
        return leaf("class", cls.__name__, path_of(cls))
    key, new = of.key(("class", id(cls)), cls.__qualname__, cls)
    if new:
        marks = {name: _attribute(of, value) for name, value in _attributes(cls)}
        bases = [of.describe(base).mark for base in (*cls.__bases__, type(cls))]
        of.code[key] = mark_of("class", *marks, of=[*bases, *marks.values()])
    return leaf("own class", cls.__name__, key)


def _attributes(cls: type[Any]) -> list[tuple[str, Any]]:
    """Return what the body of a class has defined, without what Python makes of it."""
    return [
        (name, value)
        for name, value in sorted(vars(cls).items())
        if not isinstance(value, _OF_THE_INTERPRETER)
        and (_is_method(value) or not name.startswith(("__", "_abc_")))
    ]


def _is_method(value: Any) -> bool:
    return isinstance(value, FunctionType | staticmethod | classmethod | property)


def _attribute(of: BaseDescriber, value: Any) -> str:
    if isinstance(value, staticmethod | classmethod):
        return mark_of(type(value).__name__, of=[of.describe(value.__func__).mark])
    if isinstance(value, property):
        parts = (value.fget, value.fset, value.fdel)
        return mark_of("property", of=[of.describe(part).mark for part in parts])
    if isinstance(value, functools.cached_property):
        return mark_of("cached property", of=[of.describe(value.func).mark])
    if isinstance(value, FunctionType):
        return of.describe(value).mark
    return value_in_code(of, value)
