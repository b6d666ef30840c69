"""The networks that the studies use; each is loaded, with torch, when it is first asked for."""

from importlib import import_module
from typing import Any

__all__ = ["MLP"]

_HOMES = {"MLP": "hpo.modules.mlp"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
