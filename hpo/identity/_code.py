"""What the code of a function does, and what it reads, from its byte code."""

import dis
import importlib.util
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import CodeType, ModuleType
from typing import Any

from hpo.identity._origin import is_own

__all__ = [
    "NOTHING",
    "attributes_written",
    "constant",
    "instructions",
    "modules_imported",
    "names_read",
    "names_written",
    "nested_code",
]

NOTHING = object()
"""Stands for what a name means nothing to."""

_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"}
_FREE = {"LOAD_DEREF", "LOAD_CLASSDEREF"}
_STORES = {"STORE_GLOBAL", "DELETE_GLOBAL"}
_FREE_STORES = {"STORE_DEREF", "DELETE_DEREF"}
_TOLD = {*dis.hasname, *dis.hasfree, *dis.hasjrel, *dis.hasjabs, *dis.hascompare}
"""Operations whose argument is told by what it means; of others it is a number."""
_ATTRIBUTES = {"LOAD_ATTR", "LOAD_METHOD"}
_ADDING = {
    "add",
    "append",
    "appendleft",
    "extend",
    "insert",
    "put",
    "setdefault",
    "update",
    "write",
}
_CHANGES = _ADDING | {"clear", "discard", "pop", "popitem", "popleft", "remove", "reverse", "sort"}
"""Methods by which a container is changed."""


def instructions(code: CodeType) -> list[list[Any]]:
    """Return what a code object does, as plain data.

    Neither comments nor the docstring nor the names of local variables are part of it, nor
    where it stands; constants stand in the place of their numbers, and code objects among them
    as `nested_code` finds them.
    """
    found: list[list[Any]] = [[_arguments(code), _flags(code)]]
    for step in _steps(code):
        if step.opcode in dis.hasconst:
            found.append([step.opname, constant(step.argval)])
        else:
            found.append([step.opname, step.argval if step.opcode in _TOLD else step.arg])
    found.append([code.co_exceptiontable.hex()])
    return found


def _arguments(code: CodeType) -> list[Any]:
    n = code.co_argcount + code.co_kwonlyargcount
    return [code.co_posonlyargcount, code.co_argcount, *code.co_varnames[:n]]


def _flags(code: CodeType) -> int:
    # *args, **kwargs, generators and coroutines; others tell of nesting or of docstrings
    return code.co_flags & 0x2AC


def constant(value: Any) -> Any:
    """Return a constant of byte code as plain data, in the same order in every process."""
    if isinstance(value, CodeType):
        return ["code", value.co_name, instructions(value)]
    if isinstance(value, tuple):
        return ["tuple", *map(constant, value)]
    if isinstance(value, frozenset):
        return ["set", *sorted(map(constant, value), key=repr)]
    return [type(value).__name__, repr(value)]


@lru_cache(maxsize=256)
def _steps(code: CodeType) -> list[dis.Instruction]:
    return [step for step in dis.get_instructions(code) if step.opname not in {"CACHE", "NOP"}]


def nested_code(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and those of the functions, classes and comprehensions in it."""
    yield code
    for item in code.co_consts:
        if isinstance(item, CodeType):
            yield from nested_code(item)


def names_written(code: CodeType) -> set[str]:
    """Return the globals and outer variables that a function changes: counters, caches, logs."""
    written = set()
    for inner in nested_code(code):
        steps = _steps(inner)
        for i, step in enumerate(steps):
            after, later, *_ = (*steps[i + 1 : i + 3], None, None)
            loaded = step.opname in _LOADS | _FREE
            outer = step.opname in _FREE_STORES and step.argval in inner.co_freevars
            if step.opname in _STORES or outer or (loaded and _is_changed(after, later)):
                written.add(step.argval)
    return written


def attributes_written(code: CodeType) -> set[tuple[str, str]]:
    """Return the attributes of classes that a function changes, as ``(owner, name)``.

    The owner is the name of a class (``Net.count += 1``), or empty for that of the object at hand
    (``type(self).count``, ``cls.cache[k] = v``, ``self.calls.append(x)``). What is assigned to
    ``self`` is of the instance, and leaves the class as it is.
    """
    written = set()
    for inner in nested_code(code):
        steps = _steps(inner)
        for i, step in enumerate(steps):
            after, later, *_ = (*steps[i + 1 : i + 3], None, None)
            if step.opname in _ATTRIBUTES and _is_changed(after, later, by_attribute=False):
                written.add((_class_loaded(steps, i - 1) or "", str(step.argval)))
            owner = _class_loaded(steps, i)
            if owner is not None and after is not None:
                if after.opname in {"STORE_ATTR", "DELETE_ATTR"}:
                    written.add((owner, str(after.argval)))
                elif after.opname == "COPY" and later is not None and later.opname in _ATTRIBUTES:
                    written.add((owner, str(later.argval)))
    return written


def _class_loaded(steps: list[dis.Instruction], i: int) -> str | None:
    """Return which class the instruction at ``i`` may load; empty is the object's own."""
    if i < 0:
        return None
    last = steps[i]
    if last.opname in _LOADS:
        return str(last.argval)
    own = (
        (last.opname in _ATTRIBUTES and last.argval == "__class__")
        or (last.opname.startswith("LOAD_FAST") and last.argval == "cls")
        or (last.opname == "CALL" and any(s.argval == "type" for s in steps[max(0, i - 4) : i]))
    )
    return "" if own else None


def _is_changed(
    after: dis.Instruction | None, later: dis.Instruction | None, *, by_attribute: bool = True
) -> bool:
    """Return whether the two instructions after a value is loaded change it.

    With ``by_attribute``, also where an attribute of it is assigned to.
    """
    if after is None:
        return False
    if after.opname in _ATTRIBUTES:
        return str(after.argval) in _CHANGES
    if after.opname in {"STORE_ATTR", "DELETE_ATTR"}:
        return by_attribute
    if later is None:
        return False
    if after.opname == "COPY":  # value.attribute += 1
        return by_attribute and later.opname in _ATTRIBUTES
    # value[key] = 1, del value[key], value[key] += 1
    changed = later.opname in {"STORE_SUBSCR", "DELETE_SUBSCR"}
    changed = changed or (later.opname == "COPY" and later.arg == 2)
    return after.opname.count("LOAD") == 1 and changed


def names_read(code: CodeType, scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a function reads by name from around it.

    Parameters
    ----------
    code : code
    scope : mapping of str to object
        The function's globals.

    Returns
    -------
    dict of str to object
        ``name`` to its value; ``name.attribute`` for what is taken from a module. Builtins, names
        such as ``__name__`` and those that mean nothing yet are left out.
    """
    found: dict[str, Any] = {}
    for inner in nested_code(code):
        steps = _steps(inner)
        for i, step in enumerate(steps):
            if step.opname in _LOADS and not _is_dunder(step.argval):
                value = scope.get(step.argval, NOTHING)
                if value is not NOTHING:
                    name, value = _followed(step.argval, value, steps[i + 1 :])
                    found[name] = value
    return found


def _followed(name: str, value: Any, steps: list[dis.Instruction]) -> tuple[str, Any]:
    """Return what ``module.attribute.attribute`` comes to; a library's is told by its names."""
    for step in steps:
        in_own = isinstance(value, ModuleType) and is_own(value.__name__)
        if not (in_own and step.opname in _ATTRIBUTES):
            break
        name, value = f"{name}.{step.argval}", getattr(value, step.argval, NOTHING)
    return name, value


def modules_imported(code: CodeType, scope: Mapping[str, Any]) -> set[str]:
    """Return the names of the modules that a function imports when it is called."""
    found = set()
    for inner in nested_code(code):
        steps = _steps(inner)
        for i, step in enumerate(steps):
            if step.opname == "IMPORT_NAME":
                level = steps[i - 2].argval
                name = "." * level + step.argval
                found.add(importlib.util.resolve_name(name, scope.get("__package__") or "_"))
    return found


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
