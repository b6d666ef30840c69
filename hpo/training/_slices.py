"""Epochs cut into slices of some optimizer steps, each of which ends with a report."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch

__all__ = ["Slices", "cut_epochs"]


class Slices:
    """A data loader whose every iteration yields the next batches of an endless run of epochs.

    Parameters
    ----------
    loader : iterable
        Iterated anew at the end of each of its epochs.
    n_batches : int
        Batches of a slice.

    Raises
    ------
    ValueError
        While iterating, if the loader is empty.
    """

    def __init__(self, loader: Any, n_batches: int) -> None:
        self._loader = loader
        self._n_batches = n_batches
        self._batches: Iterator[Any] = iter(())
        self._began: torch.Tensor | None = None
        self._taken = 0

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self._n_batches):
            yield self._next()

    def _next(self) -> Any:
        for batch in self._batches:
            self._taken += 1
            return batch
        self._start()
        for batch in self._batches:
            self._taken = 1
            return batch
        raise ValueError("The training part has no whole minibatch: make batch_size smaller.")

    def _start(self) -> None:
        self._began, self._taken = torch.get_rng_state(), 0
        self._batches = iter(self._loader)

    def state(self) -> tuple[torch.Tensor | None, int]:
        """Return torch's random state at the start of this epoch, and how many batches it gave."""
        return self._began, self._taken

    def load_state(self, state: tuple[torch.Tensor | None, int]) -> None:
        """Go to the place in an epoch that ``state`` tells, by loading it again up to there."""
        began, taken = state
        if began is None:
            return
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(began)
            self._start()
            for _ in islice(self._batches, taken):
                pass
        self._began, self._taken = began, taken


def cut_epochs(net: Any, n_steps: int) -> list[Slices]:
    """Make every epoch of ``net`` a slice of ``n_steps`` optimizer steps.

    A net that accumulates gradients says over how many batches by its attribute
    ``gradient_accumulation_steps``.

    Returns
    -------
    list of Slices
        The training loader, once it is made.
    """
    make, made = net.get_iterator, list[Slices]()

    def get_iterator(dataset: Any, training: bool = False) -> Any:
        if not training:
            return make(dataset, training=False)
        if not made:
            n_batches = n_steps * getattr(net, "gradient_accumulation_steps", 1)
            made.append(Slices(make(dataset, training=True), n_batches))
        return made[0]

    net.get_iterator = get_iterator
    return made
