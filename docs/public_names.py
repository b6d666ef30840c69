"""The public names of hpo: what the reference lists, and what its tests count."""

import importlib
import inspect
import pkgutil

import hpo

REMARKS = {
    "hpo.__version__": "The version of hpo.",
    "hpo.analyses.CLASS": (
        "Where what an analysis from outside hpo found keeps its ``BaseAnalysis.reference``."
    ),
    "hpo.cli.app": "The command line, as an application of Typer.",
    "hpo.executors.Event": "Any of the events that an executor's ``poll`` returns.",
    "hpo.fused.OF_CLASSES": "Criteria whose targets are class indices.",
    "hpo.fused.OF_NUMBERS": "Criteria that compare each output with a number.",
    "hpo.fused.REPLAYED": "Layers that replace those of torch.",
    "hpo.fused.TOLERANCE_FLOAT32": "The tolerance of the comparison in float32.",
    "hpo.fused.UPDATES": "The update rule of each optimizer that a batch knows.",
    "hpo.fused.WEIGHT_NORM": "The class with which torch's ``weight_norm`` computes a weight.",
}
"""What constants are, which have no docstring."""


def public_packages() -> list[str]:
    """Return ``hpo`` and its packages, without the private ones."""
    found = [
        m.name
        for m in pkgutil.iter_modules(hpo.__path__)
        if m.ispkg or m.name in {"exceptions", "result"}
    ]
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


def home(package: str, name: str) -> str:
    """Return the dotted name under which a thing is described: ``hpo`` itself comes first."""
    is_same = name in hpo.__all__ and getattr(hpo, name) is vars_of(package, name)
    return f"hpo.{name}" if is_same else f"{package}.{name}"


def vars_of(package: str, name: str) -> object:
    """Return a thing of a package."""
    return getattr(importlib.import_module(package), name)
