"""Import public names of a package on first use."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazy"]


def lazy(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions ``__getattr__`` and ``__dir__`` of a package with heavy modules.

    Type checkers do not understand these functions, so the package also imports the names under
    ``typing.TYPE_CHECKING`` and calls this only in the other branch. Then type checkers report
    mistyped names.

    Parameters
    ----------
    package : str
        ``__name__`` of the package.
    modules : mapping of str to str
        The module of each name, relative to the package (``".cnn"``).
    """
    namespace = vars(sys.modules[package])

    def __getattr__(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(modules[name], package), name)
        namespace[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*namespace, *modules})

    return __getattr__, __dir__
