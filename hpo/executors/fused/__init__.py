"""Many trials at a time, and all their folds, in one batched training loop."""

from hpo.executors.fused.executor import FusedExecutor

__all__ = ["FusedExecutor"]
