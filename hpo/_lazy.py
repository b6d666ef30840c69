"""Public names of a package that are imported when they are first used."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazy"]


def lazy(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions ``__getattr__`` and ``__dir__`` of a package with heavy modules.

    Type checkers do not follow them: the package also imports the same names under
    ``typing.TYPE_CHECKING``, and calls this in the other branch alone, so that a mistyped name
    is told of.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : mapping of str to str
        The module of each name, relative to the package (``".cnn"``).
    """
    space = vars(sys.modules[package])

    def __getattr__(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes[name], package), name)
        space[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*space, *homes})

    return __getattr__, __dir__
