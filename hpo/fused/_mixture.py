"""Numbers of each step of an epoch for models with optimizers and batch sizes of their own.

A step has as many rows as the smallest minibatch. A model whose minibatches are k times as large
adds up its gradients over k steps and is updated at the k-th, or at the last one of the epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hpo.fused._plan import ModelState, Plan
from hpo.fused._schedules import Schedules
from hpo.fused._updates import COEFFICIENTS, UPDATES

__all__ = ["MixedSteps", "mixed_steps", "update_of"]


@dataclass(frozen=True)
class MixedSteps:
    """The steps of an epoch.

    Parameters
    ----------
    numbers : dict of str to float64 tensor of shape (n_steps, n_folds, n_slots)
        Coefficients of `hpo.fused._updates.MIXED`; ``due``, 1 where a model is updated; ``share``,
        the share of the step's rows in the model's minibatch; and ``part``, 1 divided by the
        number of steps of the minibatch.
    rows : float64 tensor of shape (n_steps, n_folds, n_slots)
        Number of rows of the minibatch that the step is a part of.
    n_updates : float64 tensor of shape (n_folds, n_slots)
        Number of updates of the epoch.
    """

    numbers: dict[str, torch.Tensor]
    rows: torch.Tensor
    n_updates: torch.Tensor


def update_of(plan: Plan, member: ModelState) -> type[torch.optim.Optimizer]:
    """Return the optimizer of a model."""
    return member.optimizer or plan.optimizer


def mixed_steps(
    plan: Plan,
    members: Sequence[ModelState | None],
    n: np.ndarray,
    schedules: Schedules,
    updates: np.ndarray,
) -> MixedSteps:
    """Return the numbers of the steps of an epoch, whose schedules are begun.

    Parameters
    ----------
    plan : Plan
    members : sequence of ModelState or None
        By slot.
    n : array of shape (n_steps, n_folds)
        Rows of each step, 0 where a fold has none left.
    schedules : Schedules
    updates : array of shape (n_folds, n_slots)
        Updates that each model has made before.
    """
    n = n.astype(np.float64)
    shape = n_steps, n_folds, n_slots = (*n.shape, len(members))
    numbers = {name: np.full(shape, value) for name, value in COEFFICIENTS.items()}
    due, share, part = (np.zeros(shape) for _ in range(3))
    rows, n_updates = np.zeros(shape), np.zeros((n_folds, n_slots))
    steps, has_rows = np.arange(n_steps), n > 0
    last = has_rows.sum(0) - 1
    for slot, member in enumerate(members):
        if member is None:
            continue
        k = (member.batch_size or plan.batch_size) // plan.batch_size
        k = max(1, min(k, n_steps))
        index, starts = steps // k, np.arange(0, n_steps, k)
        of_batch, parts = np.add.reduceat(n, starts), np.add.reduceat(has_rows, starts)
        rows[:, :, slot] = of_batch[index]
        of_rows = np.divide(n, of_batch[index], out=np.zeros(n.shape), where=has_rows)
        share[:, :, slot] = has_rows if plan.criterion.sums else of_rows
        part[:, :, slot] = has_rows / np.maximum(parts[index], 1)
        updated = has_rows & (((steps + 1) % k == 0)[:, None] | (steps[:, None] == last))
        due[:, :, slot] = updated
        n_updates[:, slot] = np.ceil((last + 1) / k)
        lr = schedules.begin_epoch_of(slot, n_updates[:, slot].astype(int))[index]
        t = updates[:, slot] + index[:, None] + 1.0
        make = UPDATES[update_of(plan, member)].coefficients
        assert make is not None
        flags = plan.flags if member.flags is None else member.flags
        for name, value in make(lr, t, member.numbers, flags).items():
            of_slot = numbers[name][:, :, slot]
            np.copyto(of_slot, value, where=updated)
    numbers |= {"due": due, "share": share, "part": part}
    return MixedSteps(
        {name: torch.from_numpy(value) for name, value in numbers.items()},
        torch.from_numpy(rows),
        torch.from_numpy(n_updates),
    )
