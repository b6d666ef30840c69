"""Random streams: each fold of each trial has its own."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["RandomStream"]


class RandomStream:
    """A separate state of the global generators of ``random``, NumPy and torch.

    Inside ``with stream.active():`` everything that draws from the global generators
    (weight initialisation, shuffling, dropout, estimators with ``random_state=None``)
    draws from this stream, which continues where it stopped. After the block, the global
    generators are in the same state as before.

    Parameters
    ----------
    seed : int
        The same seed gives the same stream.
    device : str or None
        If it is a CUDA device, its generator is switched too.
    """

    def __init__(self, seed: int, device: str | None = None) -> None:
        self._seed = seed
        self._cuda = device if device is not None and device.startswith("cuda") else None
        self.state: tuple[Any, ...] | None = None
        """State of the generators; None before the first use."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """Draw from this stream inside the block."""
        outer = self._capture()
        if self.state is None:
            self._seed_generators()
        else:
            self._restore(self.state)
        try:
            yield
        finally:
            self.state = self._capture()
            self._restore(outer)

    def _seed_generators(self) -> None:
        random.seed(self._seed)
        np.random.seed(self._seed % 2**32)
        torch.default_generator.manual_seed(self._seed)
        if self._cuda:
            with torch.cuda.device(self._cuda):
                torch.cuda.manual_seed(self._seed)

    def _capture(self) -> tuple[Any, ...]:
        cuda = torch.cuda.get_rng_state(self._cuda) if self._cuda else None
        return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda

    def _restore(self, state: tuple[Any, ...]) -> None:
        python, numpy, cpu, cuda = state
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if self._cuda and cuda is not None:
            torch.cuda.set_rng_state(cuda, self._cuda)
