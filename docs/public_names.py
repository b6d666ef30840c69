"""The public names of hpo: what the reference lists, and what its tests count."""

import importlib
import inspect
import pkgutil

import hpo


def public_packages() -> list[str]:
    """Return ``hpo`` and its packages, without the private ones."""
    found = [m.name for m in pkgutil.iter_modules(hpo.__path__) if m.ispkg or m.name == "result"]
    return ["hpo", *(f"hpo.{name}" for name in found if not name.startswith("_"))]


def public_names() -> dict[str, dict[str, str]]:
    """Return the kind of each public name (class, function, data), by its package."""
    found = {}
    for package in public_packages():
        module = importlib.import_module(package)
        names = getattr(module, "__all__", ())
        found[package] = {name: kind_of(getattr(module, name)) for name in sorted(names)}
    return {package: names for package, names in found.items() if names}


def kind_of(item: object) -> str:
    """Return what autodoc calls a thing."""
    if inspect.isclass(item):
        return "exception" if issubclass(item, BaseException) else "class"
    return "function" if inspect.isroutine(item) else "data"


def summary(item: object) -> str:
    """Return the first paragraph of a docstring in one line; empty if there is none."""
    own = getattr(item, "__doc__", None) if kind_of(item) != "data" else None
    return " ".join(inspect.cleandoc(own or "").split("\n\n")[0].split())
