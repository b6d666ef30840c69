"""An executor that picks the faster way: batches of trials, or a worker process per trial."""

from hpo.executors.fused import FusedExecutor
from hpo.executors.fused.batch import TrialBatch
from hpo.executors.fused.benchmark import ExecutionPlan, sequential_epoch_seconds

__all__ = ["AutoExecutor"]

MIN_TRIALS = 4
"""Expected trials of a structure from which on it is worth timing."""

N_TIMED = 3
"""Trials of a mixture that are timed alone."""


class AutoExecutor(FusedExecutor):
    """Like `FusedExecutor`, but leaves to worker processes what they train faster.

    Before the first trial of a structure is trained, one epoch of it alone is timed, and a few
    steps of a full batch, compiled where that would pay off. If few trials of a structure are
    expected, timing is not worth it and they go to worker processes. `notes` report the times.
    """

    def _may_fill(self, batch: TrialBatch) -> bool:
        return False  # that processes are faster must be known before the first epoch

    def _is_small(self, batch: TrialBatch) -> bool:
        return self._n_expected(batch) < MIN_TRIALS

    def _other_plans(self, batch: TrialBatch) -> list[ExecutionPlan]:
        trials = batch.examples(N_TIMED)
        times = [sequential_epoch_seconds(batch.objective, t, self._device) for t in trials]
        seconds, n = sum(times) / len(times), self._pool.capacity
        return [ExecutionPlan(f"in {n} worker process{'es' * (n > 1)}", seconds / n)]
