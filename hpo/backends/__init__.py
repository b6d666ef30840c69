"""Backends run the loop of a study: ask for trials, have them trained, obey the trial manager.

Each public module but ``base`` holds one backend and is found by its name; see `BaseBackend`.
"""

from typing import TYPE_CHECKING

from hpo._lazy import lazy

if TYPE_CHECKING:
    from hpo.backends.base import BaseBackend
else:
    __getattr__, __dir__ = lazy(__name__, {"BaseBackend": ".base"})  # with Optuna

__all__ = ["BaseBackend"]
