"""Epochs cut into slices of a few optimizer steps, each of which ends with a report."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch

__all__ = ["Slices", "Slicing"]

Place = tuple[torch.Tensor | None, int]
"""Torch's random state at the start of an epoch, and the number of batches read since."""


class Slices:
    """A data loader that yields the next batches of an endless run of epochs on each iteration.

    Parameters
    ----------
    loader : iterable
        Iterated again whenever an epoch of it has ended.
    n_batches : int
        Number of batches in a slice.
    on_iter : callable
        Called with this object when a slice begins.

    Raises
    ------
    ValueError
        While iterating, if the loader is empty.
    """

    def __init__(self, loader: Any, n_batches: int, on_iter: Callable[["Slices"], None]) -> None:
        self._loader = loader
        self._n_batches = n_batches
        self._on_iter = on_iter
        self._batches: Iterator[Any] = iter(())
        self._epoch_state: torch.Tensor | None = None
        self._n_read = 0

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[Any]:
        self._on_iter(self)
        for _ in range(self._n_batches):
            yield self._next()

    def _next(self) -> Any:
        for batch in self._batches:
            self._n_read += 1
            return batch
        self._start()
        for batch in self._batches:
            self._n_read = 1
            return batch
        raise ValueError("The training part has no whole minibatch: make batch_size smaller.")

    def _start(self) -> None:
        self._epoch_state, self._n_read = torch.get_rng_state(), 0
        self._batches = iter(self._loader)

    @property
    def place(self) -> Place:
        """The position in an epoch where the last slice ended."""
        return self._epoch_state, self._n_read

    def go_to(self, place: Place) -> None:
        """Go to a ``place`` by loading its epoch again up to that position."""
        epoch_state, n_read = place
        if epoch_state is None:
            return
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(epoch_state)
            self._start()
            for _ in islice(self._batches, n_read):
                pass
        self._epoch_state, self._n_read = epoch_state, n_read


class Slicing:
    """Makes every epoch of a net a slice of ``n_steps`` optimizer steps.

    A net that accumulates gradients has the number of batches per step in its attribute
    ``gradient_accumulation_steps``.

    Parameters
    ----------
    net : skorch net
    n_steps : int
    """

    def __init__(self, net: Any, n_steps: int) -> None:
        self._net = net
        self._n_steps = n_steps
        self._slices: Slices | None = None
        self._place: Place | None = None

    def get_iterator(self, method: Any, dataset: Any, training: bool = False) -> Any:
        """Replace the net's ``get_iterator``: the loader of the training data yields slices."""
        loader = method(dataset, training=training)
        if not training:
            return loader
        n_batches = self._n_steps * getattr(self._net, "gradient_accumulation_steps", 1)
        return Slices(loader, n_batches, self._begin)

    def _begin(self, slices: Slices) -> None:
        if self._place is not None:
            slices.go_to(self._place)
        self._slices, self._place = slices, None

    def state(self) -> Place | None:
        """Return the position where the last slice ended."""
        return self._slices.place if self._slices else self._place

    def load_state(self, place: Place | None) -> None:
        """Let the next slice begin at a position returned by `state`."""
        self._slices, self._place = None, place
