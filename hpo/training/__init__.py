"""Training of one trial: folds advanced in lock-step, one report a step."""

from hpo.training._base import BaseObjective

__all__ = ["BaseObjective"]
