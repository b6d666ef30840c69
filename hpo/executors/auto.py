"""An executor that picks the faster way: batches of trials, or a worker process per trial."""

from hpo.executors.fused import FusedExecutor
from hpo.executors.fused.batch import TrialBatch
from hpo.executors.fused.benchmark import ExecutionPlan, sequential_epoch_seconds

__all__ = ["AutoExecutor"]

MIN_TRIALS = 4
"""Expected trials of a structure from which on it is worth timing."""


class AutoExecutor(FusedExecutor):
    """Like `FusedExecutor`, but leaves to worker processes what they train faster.

    Before the first trial of a structure is trained, one epoch of it alone is timed, and a few
    steps of a full batch, compiled where that would pay off. If few trials of a structure are
    expected, timing is not worth it and they go to worker processes. `notes` report the times.
    """

    def _is_small(self, batch: TrialBatch) -> bool:
        return self._n_expected(batch) < MIN_TRIALS

    def _other_plans(self, batch: TrialBatch) -> list[ExecutionPlan]:
        seconds = sequential_epoch_seconds(batch.objective, batch.first.trial, self._device)
        n = self._pool.capacity
        return [ExecutionPlan(f"in {n} worker process{'es' * (n > 1)}", seconds / n)]
