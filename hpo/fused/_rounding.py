"""What rounding alone makes of a training: weights that are rounded otherwise, and what they say.

Some tensors are nothing but rounding errors: a bias before a normalization, whose gradient is 0, or
a running mean of what has none.
"""

from collections.abc import Callable, Mapping

import torch

__all__ = ["FACTOR", "explained", "shaken"]

FACTOR, N_SHAKEN = 10, 4
"""How much more than rounding makes of it, at the most of 4 tries, is taken for a difference."""


def shaken(
    state: Mapping[str, torch.Tensor], seed: int, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Return weights of a type that are rounded otherwise."""
    draws = torch.Generator().manual_seed(seed)

    def shake(value: torch.Tensor) -> torch.Tensor:
        if not value.is_floating_point():
            return value
        noise = torch.rand(value.shape, generator=draws, dtype=dtype).to(value.device) * 2 - 1
        return value.to(dtype) * (1 + torch.finfo(dtype).eps * noise)

    return {name: shake(value) for name, value in state.items()}


def explained(
    gaps: Mapping[str, float], again: Callable[[int], Mapping[str, float]]
) -> tuple[bool, dict[str, float]]:
    """Return whether rounding makes of each tensor about as much as it is off, and how much.

    Parameters
    ----------
    gaps : mapping of str to float
        How far tensors are off.
    again : callable
        ``again(seed)`` says how far they are off where a training starts from `shaken` weights.
    """
    spread = dict.fromkeys(gaps, 0.0)
    for seed in range(N_SHAKEN):
        other = again(seed)
        spread = {name: max(known, other[name]) for name, known in spread.items()}
        if all(gap <= FACTOR * spread[name] for name, gap in gaps.items()):
            return True, spread
    return False, spread
