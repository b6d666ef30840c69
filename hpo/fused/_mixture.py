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
    due : bool array of shape (n_steps, n_folds, n_slots)
        Whether a model is updated after the step.
    lr, t : array of that shape
        Learning rate of the minibatch, and number of its update, from 1.
    share : float64 tensor of that shape
        Share of the step's rows in the model's minibatch.
    part : float64 tensor of that shape
        1 divided by the number of steps of the minibatch.
    rows : float64 tensor of shape (n_steps, n_folds, n_slots)
        Number of rows of the minibatch that the step is a part of.
    n_updates : float64 tensor of shape (n_folds, n_slots)
        Number of updates of the epoch.
    """

    due: np.ndarray
    lr: np.ndarray
    t: np.ndarray
    share: torch.Tensor
    part: torch.Tensor
    rows: torch.Tensor
    n_updates: torch.Tensor

    def coefficients(
        self, plan: Plan, members: Sequence[ModelState | None]
    ) -> dict[str, torch.Tensor]:
        """Return the numbers of a step of all models by one rule, of shape (n_steps, ...).

        Coefficients of `hpo.fused._updates.MIXED`, ``due`` as a number, ``share`` and ``part``.
        """
        numbers = {name: np.full(self.due.shape, value) for name, value in COEFFICIENTS.items()}
        for slot, member in enumerate(members):
            if member is None:
                continue
            make = UPDATES[update_of(plan, member)].coefficients
            assert make is not None
            flags = plan.flags if member.flags is None else member.flags
            of_slot = (self.lr[:, :, slot], self.t[:, :, slot])
            for name, value in make(*of_slot, member.numbers, flags).items():
                np.copyto(numbers[name][:, :, slot], value, where=self.due[:, :, slot])
        by_name = {name: torch.from_numpy(value) for name, value in numbers.items()}
        due = torch.from_numpy(self.due).double()
        return {**by_name, "due": due, "share": self.share, "part": self.part}


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
    due = np.zeros(shape, bool)
    lr, share, part = (np.zeros(shape) for _ in range(3))
    t = np.ones(shape)
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
        n_batches = n_updates[:, slot].astype(int).tolist()
        lr[:, :, slot] = schedules.begin_epoch_of(slot, n_batches)[index]
        t[:, :, slot] = updates[:, slot] + index[:, None] + 1.0
    tensors = (torch.from_numpy(values) for values in (share, part, rows, n_updates))
    return MixedSteps(due, lr, t, *tensors)
