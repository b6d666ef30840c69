"""Weight normalization in plain operations: torch's kernel has no rule of `torch.func.vmap`."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

__all__ = ["WEIGHT_NORM", "PlainWeightNorm"]

_EXAMPLE: Any = weight_norm(nn.Linear(1, 1))

WEIGHT_NORM: type[nn.Module] = type(_EXAMPLE.parametrizations.weight[0])
"""The class with which `torch.nn.utils.parametrizations.weight_norm` computes a weight."""


class PlainWeightNorm(nn.Module):
    """A weight from a direction and norms of slices (Salimans and Kingma 2016, section 2).

    Parameters
    ----------
    dim : int
        Dimension of the slices; -1 means one norm for the whole weight.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, norms: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        """Return the weight."""
        other_axes = [axis for axis in range(direction.ndim) if axis != self.dim]
        if self.dim == -1:
            size = torch.linalg.vector_norm(direction)
        elif other_axes:
            size = torch.linalg.vector_norm(direction, dim=other_axes, keepdim=True)
        else:
            size = direction.abs()
        weight: torch.Tensor = direction * (norms / size)
        return weight
