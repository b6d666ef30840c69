"""hpo: honest, fast, resumable hyperparameter search for PyTorch.

Importing this package loads none of torch, ray, mlflow or peft: each public name is
imported when it is first used.
"""

import importlib
from typing import Any

__all__ = [
    "HPOSearchCV",
    "HpoError",
    "SearchSpace",
    "Study",
    "StudyData",
    "StudyResult",
    "__version__",
    "load_result",
    "run_study",
]

__version__ = "0.2.0"

_HOMES = {
    "HPOSearchCV": "hpo.search",
    "HpoError": "hpo.exceptions",
    "SearchSpace": "hpo.space",
    "Study": "hpo.study",
    "StudyData": "hpo.data",
    "StudyResult": "hpo.result",
    "load_result": "hpo.study",
    "run_study": "hpo.study",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hpo' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
