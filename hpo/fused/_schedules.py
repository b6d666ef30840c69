"""Learning rates of a batch of models, for each model, fold and minibatch."""

from collections.abc import Sequence

import numpy as np
import torch

from hpo.fused._plan import ModelState, Schedule

__all__ = ["Schedules"]


class Schedules:
    """The schedules of all models, which are created when a model begins.

    Parameters
    ----------
    n_folds, n_slots : int
    """

    def __init__(self, n_folds: int, n_slots: int) -> None:
        self._n_folds = n_folds
        self._lr = [0.0] * n_slots
        self._schedules: list[list[Schedule]] = [[] for _ in range(n_slots)]

    def of(self, slot: int) -> list[Schedule]:
        """Return the schedules of a model, one per fold; empty if its rate is constant."""
        return self._schedules[slot]

    def put(self, slot: int, member: ModelState) -> None:
        """Begin the schedules of ``member``, or go on with them."""
        lr, make = float(member.numbers["lr"]), member.schedules
        self._lr[slot] = lr
        if member.progress is not None:
            self._schedules[slot] = list(member.progress.schedules)
        else:
            self._schedules[slot] = list(make(lr, self._n_folds)) if make else []

    def remove(self, slot: int) -> None:
        """Remove the schedules of a slot."""
        self._lr[slot], self._schedules[slot] = 0.0, []

    def resize(self, slots: Sequence[int], extra: int) -> None:
        """Keep these slots, in this order, and append ``extra`` free ones."""
        self._lr = [self._lr[slot] for slot in slots] + [0.0] * extra
        self._schedules = [self._schedules[slot] for slot in slots] + [[] for _ in range(extra)]

    def begin_epoch(self, n_batches: Sequence[int]) -> torch.Tensor:
        """Return the learning rates of the next epoch.

        Parameters
        ----------
        n_batches : sequence of int
            Number of minibatches of each fold.

        Returns
        -------
        float64 tensor of shape (n_batches of the longest fold, n_folds, n_slots)
        """
        rates = [self.begin_epoch_of(slot, n_batches) for slot in range(len(self._lr))]
        return torch.from_numpy(np.stack(rates, 2))

    def begin_epoch_of(self, slot: int, n_batches: Sequence[int]) -> np.ndarray:
        """Return the learning rates of one model, of shape (n_batches, n_folds); see above."""
        rates = np.full((max(n_batches), self._n_folds), self._lr[slot])
        for fold, schedule in enumerate(self._schedules[slot]):
            n = n_batches[fold]
            rates[:n, fold] = schedule.begin_epoch(n)
        return rates
