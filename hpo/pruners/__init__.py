"""Pruners, which stop trials early: from the reports of all trials to a decision with a reason.

Each public module contains one pruner, which is found by the module's name; see `BasePruner`.
"""

from hpo.pruners.base import BasePruner, PruneDecision

__all__ = ["BasePruner", "PruneDecision"]
