"""The plan that a batch of models shares, and the state of each model."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from hpo.fused._criteria import Criterion
from hpo.fused._leaves import BatchableModule

__all__ = ["EXTRAS", "ModelState", "Plan", "Progress", "Schedule"]

EXTRAS = ("l1_lambda", "l2_lambda", "label_smoothing")
"""Numbers of a model on which its loss depends."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that the models of a batch share, or how one model is trained alone.

    Where the batch is ``mixed``, each model has an optimizer and a batch size of its own; those of
    the plan are then of no model in particular, but that ``batch_size`` divides all others.

    Parameters
    ----------
    batchable : BatchableModule
    criterion : Criterion
    optimizer : class of torch.optim
        A key of `UPDATES`.
    flags : mapping of str to object
        Arguments of the optimizer that change its rule.
    batch_size : int
    shuffle, drop_last : bool
    clips : bool
        Whether gradients are clipped.
    penalises : bool
        Whether some model has a penalty on its weights in its loss.
    autocast : bool
        Whether matrix products are computed in bfloat16, with float32 weights.
    flattens : bool
        Whether outputs of shape (n_samples, 1) are flattened to (n_samples,).
    shapes_target : bool
        Whether targets are reshaped like the outputs, from which they may differ by axes of
        length 1.
    valid_batch_size : int
        Number of samples of a minibatch in evaluation, over which losses are averaged.
    mixed : bool
        Whether models have optimizers and batch sizes of their own; see `ModelState`.
    accumulates : bool
        Whether some model's minibatch is several times as large as the plan's: its gradients are
        added up over as many steps.
    pads : bool
        Whether some model's weights are smaller than the module's: they are the leading entries,
        and all others are held at 0.
    draws_of : Plan or None
        The plan of the batch whose random draws a model trained alone uses; None means its own.
    """

    batchable: BatchableModule
    criterion: Criterion
    optimizer: type[torch.optim.Optimizer]
    flags: Mapping[str, object]
    batch_size: int
    shuffle: bool = True
    drop_last: bool = False
    clips: bool = False
    penalises: bool = True
    autocast: bool = False
    flattens: bool = False
    shapes_target: bool = False
    valid_batch_size: int = sys.maxsize
    mixed: bool = False
    accumulates: bool = False
    pads: bool = False
    draws_of: "Plan | None" = None


class Schedule(Protocol):
    """The learning rate of one model on one fold."""

    def begin_epoch(self, n_batches: int) -> Sequence[float]:
        """Return the rates of the next epoch: one per minibatch, or a single one for all."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a model stands in its training, beside its weights.

    Parameters
    ----------
    slots : mapping of str to mapping of str to tensor of shape (n_folds, ...)
        State of the optimizer by weight.
    updates : float64 tensor of shape (n_folds,)
        Number of updates that were made.
    schedules : sequence of Schedule
        One per fold; empty if the learning rate is constant.
    """

    slots: Mapping[str, Mapping[str, torch.Tensor]]
    updates: torch.Tensor
    schedules: Sequence[Schedule]


@dataclass(frozen=True, kw_only=True)
class ModelState:
    """One model, ready to be trained on every fold.

    Parameters
    ----------
    states : sequence of mapping of str to tensor, one per fold
        Weights and buffers by name.
    numbers : mapping of str to float
        Numbers of the optimizer (`Update.numbers`), of the loss (``l1_lambda``, ``l2_lambda``,
        ``label_smoothing``) and of clipping (``max_norm``, ``max_value``; infinite means none).
    rates : mapping of str to float
        Rates of the dropout layers by name.
    schedules : callable or None
        ``schedules(lr, n_folds)`` makes the schedules of the folds, which start from ``lr``; None
        means a constant learning rate.
    progress : Progress or None
        Where it goes on; None if it begins.
    optimizer : class of torch.optim or None
        Its optimizer in a mixed batch; None means that of the plan, as for the next two.
    flags : mapping of str to object or None
        Arguments of the optimizer that change its rule.
    batch_size : int or None
        Rows of its minibatches, a multiple of the plan's.
    """

    states: Sequence[Mapping[str, torch.Tensor]]
    numbers: Mapping[str, float]
    rates: Mapping[str, float] = field(default_factory=dict)
    schedules: Callable[[float, int], Sequence[Schedule]] | None = None
    progress: Progress | None = None
    optimizer: type[torch.optim.Optimizer] | None = None
    flags: Mapping[str, object] | None = None
    batch_size: int | None = None
