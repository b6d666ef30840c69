"""The executor that is faster: batches of trials, or each trial in a worker process."""

from hpo.executors.fused import FusedExecutor
from hpo.executors.fused.batch import TrialBatch
from hpo.executors.fused.benchmark import ExecutionPlan, sequential_epoch_seconds
from hpo.training.objective import Objective

__all__ = ["AutoExecutor"]

MIN_TRIALS = 4
"""Trials of a structure that are worth timing it."""


class AutoExecutor(FusedExecutor):
    """As `FusedExecutor`, but leaves to worker processes what they train faster.

    Before the first trial of a structure is trained, one of its epochs is timed by itself and a
    few steps of a full batch, compiled where that would repay itself; a structure of which few
    trials are to come is not worth that, and left to the processes. `notes` tell the times.
    """

    def _is_small(self, batch: TrialBatch) -> bool:
        return self._n_expected(batch) < MIN_TRIALS

    def _other_plans(self, batch: TrialBatch) -> list[ExecutionPlan]:
        assert isinstance(self.objective, Objective)  # or nothing would have been fused
        seconds = sequential_epoch_seconds(self.objective, batch.first.trial, self._device)
        n = self._pool.capacity
        return [ExecutionPlan(f"in {n} worker process{'es' * (n > 1)}", seconds / n)]
