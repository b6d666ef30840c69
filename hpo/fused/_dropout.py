"""Dropout whose noise comes from outside, so that it can be replayed for one model alone."""

from collections.abc import Mapping

import torch
from torch import nn

__all__ = ["DROPOUTS", "ReplayedDropout"]

DROPOUTS: Mapping[type[nn.Module], int | None] = {
    nn.Dropout: None,
    nn.Dropout1d: 1,
    nn.Dropout2d: 1,
    nn.Dropout3d: 1,
}
"""Dropout layers, and how many axes after the samples' they draw for; None is all."""


class ReplayedDropout(nn.Module):
    """Dropout whose noise, uniform from 0 to 1, comes from outside; alike for a batch of models.

    Parameters
    ----------
    p : float
        The rate, unless another one is written to the buffer ``keep``.
    n_axes : int or None
        Axes after that of the samples which the noise has; the rest of them share a draw.
    """

    keep: torch.Tensor
    noise: torch.Tensor

    def __init__(self, p: float, n_axes: int | None) -> None:
        super().__init__()
        self.n_axes = n_axes
        self.register_buffer("keep", torch.tensor(1.0 - p, dtype=torch.float64))
        self.register_buffer("noise", torch.zeros(()))

    @classmethod
    def of(cls, layer: nn.Module, p: float) -> "ReplayedDropout":
        """Return one in the place of a dropout layer of torch."""
        return cls(p, DROPOUTS[type(layer)])

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``X`` with some entries zeroed, in training."""
        if not self.training:
            return X
        noise = self.noise.reshape(self.noise.shape + (1,) * (X.ndim - self.noise.ndim))
        # Under autocast X is of bfloat16, and vmap promotes types otherwise than torch does.
        kept = torch.where(noise < self.keep, X.to(self.keep.dtype) / self.keep, 0.0)
        return kept.to(X.dtype)
