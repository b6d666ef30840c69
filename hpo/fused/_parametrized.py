"""Weight normalization in plain operations: torch's kernel has no rule of `torch.func.vmap`."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

__all__ = ["WEIGHT_NORM", "PlainWeightNorm"]

_EXAMPLE: Any = weight_norm(nn.Linear(1, 1))

WEIGHT_NORM: type[nn.Module] = type(_EXAMPLE.parametrizations.weight[0])
"""What `torch.nn.utils.parametrizations.weight_norm` computes a weight with."""


class PlainWeightNorm(nn.Module):
    """A weight of a direction and of norms, by slices (Salimans and Kingma 2016, section 2).

    Parameters
    ----------
    dim : int
        Of the slices; -1 is one norm for the whole.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, norms: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        """Return the weight."""
        others = [axis for axis in range(direction.ndim) if axis != self.dim]
        if self.dim == -1:
            size = torch.linalg.vector_norm(direction)
        elif others:
            size = torch.linalg.vector_norm(direction, dim=others, keepdim=True)
        else:
            size = direction.abs()
        weight: torch.Tensor = direction * (norms / size)
        return weight
