"""Learning rates of a batch of models: of each model, fold and minibatch one."""

from collections.abc import Sequence

import numpy as np
import torch

from hpo.fused._plan import ModelState, Schedule

__all__ = ["Schedules"]


class Schedules:
    """The schedules of all models, which are made anew where a model begins.

    Parameters
    ----------
    n_folds, n_slots : int
    """

    def __init__(self, n_folds: int, n_slots: int) -> None:
        self._n_folds = n_folds
        self._lr = [0.0] * n_slots
        self._made: list[list[Schedule]] = [[] for _ in range(n_slots)]

    def of(self, slot: int) -> list[Schedule]:
        """Return the schedules of a model, one a fold; none if its rate is constant."""
        return self._made[slot]

    def put(self, slot: int, member: ModelState) -> None:
        """Begin the schedules of ``member``."""
        lr, make = float(member.numbers["lr"]), member.schedules
        self._lr[slot] = lr
        self._made[slot] = list(make(lr, self._n_folds)) if make else []

    def remove(self, slot: int) -> None:
        """Forget those of a slot."""
        self._lr[slot], self._made[slot] = 0.0, []

    def resize(self, kept: Sequence[int], extra: int) -> None:
        """Keep these slots, in this order, and have ``extra`` free ones behind them."""
        self._lr = [self._lr[slot] for slot in kept] + [0.0] * extra
        self._made = [self._made[slot] for slot in kept] + [[] for _ in range(extra)]

    def begin_epoch(self, n_batches: Sequence[int]) -> torch.Tensor:
        """Return the learning rates of the next epoch.

        Parameters
        ----------
        n_batches : sequence of int
            Minibatches of each fold.

        Returns
        -------
        float64 tensor of shape (n_batches of the longest fold, n_folds, n_slots)
        """
        shape = max(n_batches), self._n_folds, len(self._lr)
        rates = np.broadcast_to(np.array(self._lr), shape).copy()
        for slot, schedules in enumerate(self._made):
            for fold, schedule in enumerate(schedules):
                n = n_batches[fold]
                rates[:n, fold, slot] = schedule.begin_epoch(n)
        return torch.from_numpy(rates)
