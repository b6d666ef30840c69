"""What the code of a function does, and what it reads, from its byte code."""

import dis
import importlib.util
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

__all__ = [
    "NOTHING",
    "constant",
    "instructions",
    "modules_imported",
    "names_read",
    "names_written",
    "nested_code",
    "written_in",
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


def _is_changed(after: dis.Instruction | None, later: dis.Instruction | None) -> bool:
    """Return whether the two instructions after a value is loaded change it."""
    if after is None:
        return False
    if after.opname in _ATTRIBUTES:
        return after.argval in _CHANGES
    if after.opname in {"STORE_ATTR", "DELETE_ATTR"}:
        return True
    if later is None:
        return False
    if after.opname == "COPY":  # value.attribute += 1
        return later.opname in _ATTRIBUTES
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
    """Return what ``module.attribute.attribute`` comes to."""
    for step in steps:
        if not (isinstance(value, ModuleType) and step.opname in _ATTRIBUTES):
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


def written_in(scope: Mapping[str, Any]) -> set[str]:
    """Return the globals that the functions and classes of a module change."""
    written: set[str] = set()
    for value in list(scope.values()):
        for function in _functions(value, scope):
            written |= names_written(function.__code__)
    return written


def _functions(value: Any, scope: Mapping[str, Any]) -> Iterator[FunctionType]:
    members = vars(value).values() if isinstance(value, type) else [value]
    for member in members:
        plain = getattr(member, "__func__", member)
        plain = getattr(plain, "fget", plain)
        if isinstance(plain, FunctionType) and plain.__globals__ is scope:
            yield plain
