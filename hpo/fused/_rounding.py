"""The effect of rounding on a training, measured from weights that are perturbed by rounding.

Some tensors consist of rounding errors only: a bias before a normalization, whose gradient is 0, or
a running mean of values whose true mean is 0.
"""

from collections.abc import Callable, Mapping

import torch

__all__ = ["FACTOR", "explained", "shaken"]

FACTOR, N_SHAKEN = 10, 4
"""A gap counts if it is more than ``FACTOR`` times the largest of ``N_SHAKEN`` perturbed runs."""


def shaken(
    state: Mapping[str, torch.Tensor], seed: int, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Return weights of a type, perturbed by about one unit of rounding."""
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
    """Return whether rounding explains all gaps, and the gaps that rounding alone causes.

    Parameters
    ----------
    gaps : mapping of str to float
        Gaps between tensors, by name.
    again : callable
        ``again(seed)`` returns the gaps of a training that starts from `shaken` weights.
    """
    spread = dict.fromkeys(gaps, 0.0)
    for seed in range(N_SHAKEN):
        other = again(seed)
        spread = {name: max(largest, other[name]) for name, largest in spread.items()}
        if all(gap <= FACTOR * spread[name] for name, gap in gaps.items()):
            return True, spread
    return False, spread
