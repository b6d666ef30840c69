"""Many trials at a time, and all their folds, in one batched training loop."""

from hpo.executors._batching import BatchingExecutor

__all__ = ["FusedExecutor"]


class FusedExecutor(BatchingExecutor):
    """Trains the trials of one structure in one loop over batched weights.

    Trials whose modules, optimizers, batch sizes ... are alike but for numbers (learning rates,
    penalties, dropout rates ...) form a batch; each structure is certified before it is trained,
    in float64 against the user's own module and `torch.optim`. What cannot be fused is trained by
    worker processes (`ProcessExecutor`) within the same study, and `notes` say why.

    The trials of a batch share the order of the minibatches and the noise of dropout, which depend
    on the fold and on the epochs that the batch has made. Weights start as in any other executor.

    Parameters and errors are those of `BatchingExecutor`.
    """
