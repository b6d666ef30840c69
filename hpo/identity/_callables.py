"""Describe functions, methods and partials: a library's by name, the user's by code and closure."""

import ast
import functools
import json
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any

from hpo.identity._base import BaseDescriber
from hpo.identity._code import (
    NOTHING,
    attributes_written,
    instructions,
    modules_imported,
    names_read,
    names_written,
)
from hpo.identity._description import Description, cut, leaf, mark_of
from hpo.identity._origin import is_own, own_file, path_of, resolves

__all__ = [
    "describe_again",
    "describe_builtin",
    "describe_function",
    "describe_method",
    "describe_partial",
]


def describe_function(of: BaseDescriber, function: FunctionType) -> Description:
    """Return the description of a Python function.

    A function that can be imported from a library is described by its path. Any other one is
    described by its code, its defaults and the values of its closure; the marks of the user's own
    code are stored separately.
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
    """Return the description of a function that occurs inside its own description."""
    code, scope = function.__code__, function.__globals__
    key, _ = of.key((code, id(scope)), function.__qualname__, scope)
    return leaf("function again", function.__qualname__, key)


def _values(function: FunctionType) -> dict[str, Any]:
    """Return what a function has besides its code: defaults, closure and attributes."""
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
    """Return the key under which the code of one of the user's functions is stored."""
    code, scope = function.__code__, function.__globals__
    key, new = of.key((code, id(scope)), function.__qualname__, scope)
    if new:
        marks = _references(of, function)
        mark = mark_of("code", json.dumps(instructions(code)), *marks, of=marks.values())
        of.keep_code(key, mark, {(id(scope), name) for name in names_written(code)})
        for owner, name in attributes_written(code):
            cls = scope.get(owner)
            if isinstance(cls, type):
                of.change_attribute(cls, name)
    return key


def _references(of: BaseDescriber, function: FunctionType) -> dict[str, str]:
    """Return the marks of the globals, modules and imports that a function uses, by name."""
    code, scope = function.__code__, function.__globals__
    marks = {}
    for name, value in sorted(names_read(code, scope).items()):
        if isinstance(value, ModuleType):
            marks[name] = mark_of("module", value.__name__)
        elif isinstance(value, type | FunctionType | BuiltinFunctionType):
            marks[name] = of.value_in_code(value)
        else:
            place = (id(scope), name.partition(".")[0])
            key, new = of.key((*place, name), name, scope)
            if new:
                of.keep_value(key, place, value)
            marks[name] = mark_of("global", key)
    for module in sorted(modules_imported(code, scope)):
        marks[f"import {module}"] = mark_of("module", _module_key(of, module))
    return marks


def _module_key(of: BaseDescriber, module: str) -> str:
    """Return the key of a module that a function imports when it is called."""
    file = own_file(module)
    if file is None:
        return module
    key, new = of.key(("module", module), module)
    if new:
        of.keep_code(key, mark_of("file", ast.dump(ast.parse(file.read_bytes()))))
    return key


def describe_method(of: BaseDescriber, method: MethodType) -> Description:
    """Return the description of a bound method: its function and its object."""
    function = of.describe(method.__func__)
    with of.with_state():
        owner = of.describe(method.__self__)
    mark = mark_of("method", of=[function.mark, owner.mark])
    return Description(cut(f"{owner.text}.{function.text}"), mark, {"self": owner})


def describe_builtin(of: BaseDescriber, function: Any) -> Description:
    """Return the description of a function that is not implemented in Python."""
    owner = getattr(function, "__self__", None)
    if owner is None or isinstance(owner, ModuleType | type):
        path = path_of(function) if owner is None or isinstance(owner, ModuleType) else None
        return leaf("builtin", function.__name__, path or f"{path_of(owner)}.{function.__name__}")
    with of.with_state():
        instance = of.describe(owner)
    mark = mark_of("builtin method", function.__name__, of=[instance.mark])
    return Description(cut(f"{instance.text}.{function.__name__}"), mark, {"self": instance})


def describe_partial(of: BaseDescriber, partial: "functools.partial[Any]") -> Description:
    """Return the description of a `functools.partial`: its function and its arguments."""
    function = of.describe(partial.func)
    with of.with_state():
        args = {str(i): of.describe(value) for i, value in enumerate(partial.args)}
        named = {name: of.describe(partial.keywords[name]) for name in sorted(partial.keywords)}
    texts = [part.text for part in args.values()]
    texts += [f"{name}={part.text}" for name, part in named.items()]
    parts = {"func": function, **args, **named}
    mark = mark_of("partial", *parts, of=[part.mark for part in parts.values()])
    return Description(cut(f"functools.partial({', '.join([function.text, *texts])})"), mark, parts)
