"""Backends run the loop of a study: ask for trials, have them trained, follow the pruner.

Each public module but ``base`` holds one backend and is found by its name; see `BaseBackend`.
"""

from typing import TYPE_CHECKING

from hpo._lazy import lazy

if TYPE_CHECKING:
    from hpo.backends.base import BaseBackend, Budget
else:
    __getattr__, __dir__ = lazy(  # with Optuna
        __name__, {"BaseBackend": ".base", "Budget": ".base"}
    )

__all__ = ["BaseBackend", "Budget"]
