"""Whether a batch of models and a model alone have come to the same weights and outputs."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from hpo.fused._rounding import explained
from hpo.fused.errors import DivergedError, NotFusibleError

__all__ = ["OUTPUTS", "TOLERANCE", "TOLERANCE_FLOAT32", "compare", "made"]

TOLERANCE = 1e-10
"""Relative difference of weights, buffers and outputs in float64 that is still the same."""

TOLERANCE_FLOAT32 = 1e-3
"""The same in float32, where it is what the types of the data do that is looked at."""

OUTPUT_LIMIT = 1e-6
"""Of outputs in float64, however much rounding makes of them."""

OUTPUTS = "the outputs"


def made(alone: Any, shown: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what a `hpo.fused.Reference` has come to: its state, and its outputs for samples."""
    return {**alone.state(), OUTPUTS: alone.predict(shown)}


def compare(
    batch: Mapping[str, torch.Tensor],
    alone: Mapping[str, torch.Tensor],
    again: Callable[[int], Mapping[str, torch.Tensor]],
) -> None:
    """Raise `NotFusibleError` unless a batch and a model alone have come to the same.

    Parameters
    ----------
    batch, alone : mapping of str to tensor
        Weights, buffers and outputs; see `made`.
    again : callable
        ``again(seed)`` is what the model alone comes to from weights that are rounded otherwise.
    """
    gaps = {}
    for name, value in alone.items():
        if name.endswith("num_batches_tracked"):  # read by an average without a momentum alone
            continue
        gap = _gap(name, batch[name], value)
        if not gap <= (TOLERANCE if value.dtype is torch.float64 else TOLERANCE_FLOAT32):
            gaps[name] = gap

    def spread(seed: int) -> dict[str, float]:
        other = again(seed)
        return {name: _gap(name, other[name], alone[name]) for name in gaps}

    if not gaps:
        return
    if not explained(gaps, spread)[0]:
        name, gap = next(iter(gaps.items()))
        raise NotFusibleError(
            f"{_told(name)} are other ones when the model is trained alone (a relative difference "
            f"of {gap:.1e} after four updates): the module or the net does something that a batch "
            "of models does not"
        )
    limit = OUTPUT_LIMIT if alone[OUTPUTS].dtype is torch.float64 else TOLERANCE_FLOAT32
    if not gaps.get(OUTPUTS, 0.0) <= limit:
        raise NotFusibleError(
            "rounding errors grow so fast in this module that its outputs differ by "
            f"{gaps[OUTPUTS]:.1e} after four updates: a batch, which rounds otherwise, would not "
            "have the scores of training alone"
        )


def _told(name: str) -> str:
    return name if name == OUTPUTS else f"the values of '{name}'"


def _gap(name: str, batch: torch.Tensor, alone: torch.Tensor) -> float:
    what = _told(name)
    if batch.shape != alone.shape:
        raise NotFusibleError(
            f"{what} have the shape {tuple(alone.shape)} for one model alone, and "
            f"{tuple(batch.shape)} in a batch of models"
        )
    if batch.dtype != alone.dtype:
        raise NotFusibleError(
            f"{what} are of type {_short(alone.dtype)} for one model alone, and of "
            f"{_short(batch.dtype)} in a batch of models"
        )
    if not bool(alone.isfinite().all()):
        raise DivergedError(f"{what} are not finite")
    a, b = batch.double(), alone.double()
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-12))


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
