"""Optuna's pruners, as rules of hpo."""

from hpo.pruners.optuna.pruner import OptunaPruner

__all__ = ["OptunaPruner"]
