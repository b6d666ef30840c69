"""Training techniques as skorch callbacks; each is loaded when it is first asked for."""

from importlib import import_module
from typing import Any

__all__ = [
    "EndOfTraining",
    "Freezing",
    "GradientClipping",
    "LRSchedule",
    "OncePruned",
    "OnceTrained",
    "WeightAveraging",
    "WeightInit",
    "WeightPruning",
    "WeightStats",
]

_HOMES = {
    "EndOfTraining": "training_end",
    "Freezing": "freezing",
    "GradientClipping": "clipping",
    "LRSchedule": "schedule",
    "OncePruned": "weight_pruning",
    "OnceTrained": "training_end",
    "WeightAveraging": "averaging",
    "WeightInit": "initialisation",
    "WeightPruning": "weight_pruning",
    "WeightStats": "weight_stats",
}
"""Name of each callback and the module that it stands in."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"hpo.callbacks.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
