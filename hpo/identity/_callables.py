"""Functions, methods and partials: by name in a library, by code and closure in the user's own."""

import ast
import functools
import json
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any

from hpo.identity._base import BaseDescriber
from hpo.identity._code import (
    NOTHING,
    instructions,
    modules_imported,
    names_read,
    names_written,
    written_in,
)
from hpo.identity._description import Description, cut, leaf, mark_of
from hpo.identity._origin import is_own, own_file, path_of, resolves

__all__ = [
    "describe_again",
    "describe_builtin",
    "describe_function",
    "describe_method",
    "describe_partial",
    "value_in_code",
]


def describe_function(of: BaseDescriber, function: FunctionType) -> Description:
    """Return the description of a function of Python.

    What a library offers by name is told by its name. Anything else is told by its code, its
    defaults and the values of its closure; the code of the user's own goes into ``of.code``.
    """
    if not is_own(function.__module__) and resolves(function):
        return leaf("function", function.__name__, path_of(function))
    scope = function.__globals__
    if is_own(scope.get("__name__")):
        code = _code_key(of, function)
    else:
        code = f"{scope['__name__']}.{function.__code__.co_qualname}"
    with of.with_state():
        parts = {name: of.describe(value) for name, value in _values(function).items()}
    mark = mark_of("function", code, *parts, of=[part.mark for part in parts.values()])
    return Description(function.__qualname__.rpartition(".")[2], mark, parts)


def describe_again(of: BaseDescriber, function: FunctionType) -> Description:
    """Return the description of a function within that of itself."""
    code, scope = function.__code__, function.__globals__
    key, _ = of.key((code, id(scope)), function.__qualname__, scope)
    return leaf("function again", function.__qualname__, key)


def _values(function: FunctionType) -> dict[str, Any]:
    """Return what a function holds beside its code: defaults, closure and attributes."""
    code, defaults = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
    values = dict(zip(names, defaults, strict=True)) | (function.__kwdefaults__ or {})
    written = names_written(code)
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        values[name] = "changes" if name in written else _content(cell)
    return values | vars(function)  # `__wrapped__` among them


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return NOTHING


def _code_key(of: BaseDescriber, function: FunctionType) -> str:
    """Return the name that the code of one of the user's functions is kept under."""
    code, scope = function.__code__, function.__globals__
    key, new = of.key((code, id(scope)), function.__qualname__, scope)
    if new:
        marks = _references(of, function)
        of.code[key] = mark_of("code", json.dumps(instructions(code)), *marks, of=marks.values())
    return key


def _references(of: BaseDescriber, function: FunctionType) -> dict[str, str]:
    """Return the marks of what a function reads from around it, by name."""
    code, scope = function.__code__, function.__globals__
    marks = {}
    for name, value in sorted(names_read(code, scope).items()):
        if isinstance(value, ModuleType):
            marks[name] = mark_of("module", value.__name__)
        elif isinstance(value, type | FunctionType | BuiltinFunctionType):
            marks[name] = of.describe(value).mark
        else:
            marks[name] = mark_of("global", _global_key(of, name, value, scope))
    for module in sorted(modules_imported(code, scope)):
        marks[f"import {module}"] = mark_of("module", _module_key(of, module))
    return marks


def _global_key(of: BaseDescriber, name: str, value: Any, scope: dict[str, Any]) -> str:
    """Return the name that a global of the user's module is kept under.

    One that the module changes itself, such as a counter, tells nothing of the study.
    """
    key, new = of.key(("global", name, id(scope)), name, scope)
    if new:
        if id(scope) not in of.changing:
            of.changing[id(scope)] = written_in(scope)
        changes = name.partition(".")[0] in of.changing[id(scope)]
        of.code[key] = mark_of("changes") if changes else value_in_code(of, value)
    return key


def _module_key(of: BaseDescriber, module: str) -> str:
    """Return the name that a module is kept under which a function imports when it is called."""
    file = own_file(module)
    if file is None:
        return module
    key, new = of.key(("module", module), module)
    if new:
        of.code[key] = mark_of("file", ast.dump(ast.parse(file.read_bytes())))
    return key


def value_in_code(of: BaseDescriber, value: Any) -> str:
    """Return the mark of a value that the user's code reads; its class, if no more can be told."""
    with of.with_state():
        found = of.describe(value)
    return of.describe(type(value)).mark if found.is_unknown else found.mark


def describe_method(of: BaseDescriber, method: MethodType) -> Description:
    """Return the description of a bound method: its function and its object."""
    function = of.describe(method.__func__)
    with of.with_state():
        owner = of.describe(method.__self__)
    mark = mark_of("method", of=[function.mark, owner.mark])
    return Description(cut(f"{owner.text}.{function.text}"), mark, {"self": owner})


def describe_builtin(of: BaseDescriber, function: Any) -> Description:
    """Return the description of a function that is not written in Python."""
    owner = getattr(function, "__self__", None)
    if owner is None or isinstance(owner, ModuleType | type):
        path = path_of(function) if owner is None or isinstance(owner, ModuleType) else None
        return leaf("builtin", function.__name__, path or f"{path_of(owner)}.{function.__name__}")
    with of.with_state():
        whose = of.describe(owner)
    mark = mark_of("builtin method", function.__name__, of=[whose.mark])
    return Description(cut(f"{whose.text}.{function.__name__}"), mark, {"self": whose})


def describe_partial(of: BaseDescriber, partial: "functools.partial[Any]") -> Description:
    """Return the description of a `functools.partial`: its function and its arguments."""
    function = of.describe(partial.func)
    with of.with_state():
        args = {str(i): of.describe(value) for i, value in enumerate(partial.args)}
        named = {name: of.describe(partial.keywords[name]) for name in sorted(partial.keywords)}
    told = [part.text for part in args.values()]
    told += [f"{name}={part.text}" for name, part in named.items()]
    parts = {"func": function, **args, **named}
    mark = mark_of("partial", *parts, of=[part.mark for part in parts.values()])
    return Description(cut(f"functools.partial({', '.join([function.text, *told])})"), mark, parts)
