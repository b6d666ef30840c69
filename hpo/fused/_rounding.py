"""The effect of rounding on a training, measured from weights that are perturbed by rounding.

Some tensors consist of rounding errors only: a bias before a normalization, whose gradient is 0, or
a running mean of values whose true mean is 0.
"""

from collections.abc import Callable, Mapping

import torch

__all__ = ["FACTOR", "perturbed", "rounding_explains"]

FACTOR, N_PERTURBED = 10, 4
"""A gap counts if it exceeds ``FACTOR`` times the largest of ``N_PERTURBED`` perturbed runs."""


def perturbed(
    state: Mapping[str, torch.Tensor], seed: int, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Return weights of a type, perturbed by about one unit of rounding."""
    draws = torch.Generator().manual_seed(seed)

    def perturb(value: torch.Tensor) -> torch.Tensor:
        if not value.is_floating_point():
            return value
        noise = torch.rand(value.shape, generator=draws, dtype=dtype).to(value.device) * 2 - 1
        return value.to(dtype) * (1 + torch.finfo(dtype).eps * noise)

    return {name: perturb(value) for name, value in state.items()}


def rounding_explains(
    gaps: Mapping[str, float], retrain: Callable[[int], Mapping[str, float]]
) -> tuple[bool, dict[str, float]]:
    """Return whether rounding explains all gaps, and the gaps that rounding alone causes.

    Parameters
    ----------
    gaps : mapping of str to float
        Gaps between tensors, by name.
    retrain : callable
        ``retrain(seed)`` returns the gaps of a training that starts from `perturbed` weights.
    """
    spread = dict.fromkeys(gaps, 0.0)
    for seed in range(N_PERTURBED):
        retrained_gaps = retrain(seed)
        spread = {name: max(largest, retrained_gaps[name]) for name, largest in spread.items()}
        if all(gap <= FACTOR * spread[name] for name, gap in gaps.items()):
            return True, spread
    return False, spread
