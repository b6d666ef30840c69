"""Decide whether code is the user's own or belongs to a library."""

import importlib.util
import site
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from hpo.space.choices import dotted_path

__all__ = ["is_own", "own_file", "path_of", "resolves", "singleton_name"]

_INSTALLED = {"site-packages", "dist-packages"}


def is_own(module: Any) -> bool:
    """Return whether the module of this name is the user's: no library, no part of Python.

    Everything that is installed counts as a library, except packages that are installed in
    place (``pip install -e``).
    """
    if not isinstance(module, str):  # compiled code can have anything as its __module__
        return module is None
    top = module.partition(".")[0]
    if top.startswith("_cython_"):  # where Cython keeps its own types
        return False
    if top == "hpo" or top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return False
    package = sys.modules.get(top)
    file = None if package is None else _file_of(package)
    return file is None or not _is_installed(file)


def own_file(module: str) -> Path | None:
    """Return the file of one of the user's modules, which need not have been imported."""
    parent = module.rpartition(".")[0]
    if parent and parent not in sys.modules:  # finding it would import the parent
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or not (spec.origin or "").endswith(".py") or not is_own(module):
        return None
    return None if _is_installed(str(spec.origin)) else Path(str(spec.origin))


def _file_of(module: ModuleType) -> str | None:
    file = getattr(module, "__file__", None)
    if file is None:  # it may be a namespace package
        file = next(iter(getattr(module, "__path__", ())), None)
    return file


@cache
def _is_installed(place: str) -> bool:
    path = Path(place).absolute()
    if _INSTALLED & set(path.parts):
        return True
    return any(path.is_relative_to(folder) for folder in _library_folders())


@cache
def _library_folders() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    named = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple({Path(name) for name in (*named, *site.getsitepackages())})


def path_of(thing: Any) -> str:
    """Return the dotted path of a class, function or builtin of a library."""
    path = dotted_path(thing)
    if path is not None:
        return path
    name = getattr(thing, "__qualname__", getattr(thing, "__name__", repr(type(thing))))
    return f"{getattr(thing, '__module__', None)}.{name}"


def resolves(thing: Any) -> bool:
    """Return whether looking up ``thing`` by its module and name gives exactly this object."""
    target: Any = sys.modules.get(getattr(thing, "__module__", None) or "")
    for part in getattr(thing, "__qualname__", "<none>").split("."):
        target = getattr(target, part, None)
    return target is thing


def singleton_name(thing: Any, cache: dict[str, dict[int, str]]) -> str | None:
    """Return the path of an object that is a global of the library module defining its class.

    Examples are ``os.environ``, ``torch.float32`` and ``dataclasses.MISSING``. Their content
    belongs to the process and is not a choice of the study.

    Parameters
    ----------
    thing : object
    cache : dict
        Filled with the addresses of the globals of the modules visited.
    """
    home = type(thing).__module__
    if is_own(home) or not isinstance(home, str):
        return None
    if home not in cache:
        members = vars(sys.modules[home]) if home in sys.modules else {}
        cache[home] = {id(value): name for name, value in members.items()}
    name = cache[home].get(id(thing))
    return None if name is None else f"{home}.{name}"
