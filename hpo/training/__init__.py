"""Training of one trial: folds advanced in lock-step, one report a step.

Importing this package loads no torch; `Objective` is in `hpo.training.objective`.
"""

from hpo.training.base import BaseObjective, StepError

__all__ = ["BaseObjective", "StepError"]
