"""skorch nets with more to tune; each is loaded, with skorch, when it is first asked for."""

from importlib import import_module
from typing import Any

__all__ = ["PenaltyMixin", "RegularizedClassifier", "RegularizedRegressor"]

_HOMES = dict.fromkeys(__all__, "hpo.nets.penalty")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
