"""Rules that stop a trial early: histories in, a decision with its reason out.

Each public module holds one pruner and is found by its name; see `BasePruner`.
"""

from hpo.pruners.base import BasePruner, PruneDecision

__all__ = ["BasePruner", "PruneDecision"]
