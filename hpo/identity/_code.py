"""Find out from byte code what a function does, and what it reads and writes."""

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
"""The value of a name that is not defined."""

_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"}
_FREE = {"LOAD_DEREF", "LOAD_CLASSDEREF"}
_STORES = {"STORE_GLOBAL", "DELETE_GLOBAL"}
_FREE_STORES = {"STORE_DEREF", "DELETE_DEREF"}
_BY_MEANING = {*dis.hasname, *dis.hasfree, *dis.hasjrel, *dis.hasjabs, *dis.hascompare}
"""Operations whose argument is described by its meaning; for others it is a number."""
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
"""Methods that modify a container."""


def instructions(code: CodeType) -> list[list[Any]]:
    """Return the instructions of a code object as plain data.

    Comments, the docstring, the names of local variables and the position in the file are not
    part of it. Constants appear by value instead of by index, nested code objects among them.
    """
    result: list[list[Any]] = [[_arguments(code), _flags(code)]]
    for step in _steps(code):
        if step.opcode in dis.hasconst:
            result.append([step.opname, constant(step.argval)])
        else:
            result.append([step.opname, step.argval if step.opcode in _BY_MEANING else step.arg])
    result.append([code.co_exceptiontable.hex()])
    return result


def _arguments(code: CodeType) -> list[Any]:
    n = code.co_argcount + code.co_kwonlyargcount
    return [code.co_posonlyargcount, code.co_argcount, *code.co_varnames[:n]]


def _flags(code: CodeType) -> int:
    # *args, **kwargs, generators and coroutines; the other flags are about nesting or docstrings
    return code.co_flags & 0x2AC


def constant(value: Any) -> Any:
    """Return a constant of byte code as plain data, ordered the same in every process."""
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
    """Yield a code object and those of all functions, classes and comprehensions inside it."""
    yield code
    for item in code.co_consts:
        if isinstance(item, CodeType):
            yield from nested_code(item)


def names_written(code: CodeType) -> set[str]:
    """Return the globals and outer variables that a function modifies: counters, caches, logs."""
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
    """Return the class attributes that a function modifies, as ``(owner, name)`` pairs.

    The owner is the name of a class (``Net.count += 1``), or empty for the object's own class
    (``type(self).count``, ``cls.cache[k] = v``, ``self.calls.append(x)``). An assignment to
    an attribute of ``self`` affects only the instance.
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
    """Return the name of the class that instruction ``i`` may load; "" is the object's own."""
    if i < 0:
        return None
    last = steps[i]
    if last.opname in _LOADS:
        return str(last.argval)
    of_instance = (
        (last.opname in _ATTRIBUTES and last.argval == "__class__")
        or (last.opname.startswith("LOAD_FAST") and last.argval == "cls")
        or (last.opname == "CALL" and any(s.argval == "type" for s in steps[max(0, i - 4) : i]))
    )
    return "" if of_instance else None


def _is_changed(
    after: dis.Instruction | None, later: dis.Instruction | None, *, by_attribute: bool = True
) -> bool:
    """Return whether the two instructions that follow the load of a value modify it.

    With ``by_attribute``, an assignment to one of its attributes counts too.
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
    item_changed = later.opname in {"STORE_SUBSCR", "DELETE_SUBSCR"}
    item_changed = item_changed or (later.opname == "COPY" and later.arg == 2)
    return after.opname.count("LOAD") == 1 and item_changed


def names_read(code: CodeType, scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the globals that a function reads.

    Parameters
    ----------
    code : code
    scope : mapping of str to object
        The function's globals.

    Returns
    -------
    dict of str to object
        Maps ``name`` to its value, or ``name.attribute`` for an attribute of a module. Builtins,
        names such as ``__name__`` and names that are not defined yet are left out.
    """
    values: dict[str, Any] = {}
    for inner in nested_code(code):
        steps = _steps(inner)
        for i, step in enumerate(steps):
            if step.opname in _LOADS and not _is_dunder(step.argval):
                value = scope.get(step.argval, NOTHING)
                if value is not NOTHING:
                    name, value = _resolve_attributes(step.argval, value, steps[i + 1 :])
                    values[name] = value
    return values


def _resolve_attributes(name: str, value: Any, steps: list[dis.Instruction]) -> tuple[str, Any]:
    """Follow ``module.attribute.attribute`` as long as it leads through the user's own modules."""
    for step in steps:
        in_own = isinstance(value, ModuleType) and is_own(value.__name__)
        if not (in_own and step.opname in _ATTRIBUTES):
            break
        name, value = f"{name}.{step.argval}", getattr(value, step.argval, NOTHING)
    return name, value


def modules_imported(code: CodeType, scope: Mapping[str, Any]) -> set[str]:
    """Return the names of the modules that a function imports when it is called."""
    modules = set()
    for inner in nested_code(code):
        steps = _steps(inner)
        for i, step in enumerate(steps):
            if step.opname == "IMPORT_NAME":
                level = steps[i - 2].argval
                name = "." * level + step.argval
                modules.add(importlib.util.resolve_name(name, scope.get("__package__") or "_"))
    return modules


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
