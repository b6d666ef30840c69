"""Comparison of the weights and outputs of a batch of models with those of a model alone."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from hpo.fused._rounding import rounding_explains
from hpo.fused.errors import DivergedError, NotFusibleError

__all__ = ["OUTPUTS", "TOLERANCE", "TOLERANCE_FLOAT32", "compare", "results_of"]

TOLERANCE = 1e-10
"""Allowed relative difference of weights, buffers and outputs in float64."""

TOLERANCE_FLOAT32 = 1e-3
"""The same in float32, which checks the handling of data types."""

OUTPUT_LIMIT = 1e-6
"""Largest difference of outputs in float64, even if rounding explains a larger one."""

OUTPUTS = "the outputs"


def results_of(single: Any, samples: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the results of a `hpo.fused.Reference`: its state, and its outputs for samples."""
    return {**single.state(), OUTPUTS: single.predict(samples)}


def compare(
    batch: Mapping[str, torch.Tensor],
    single: Mapping[str, torch.Tensor],
    retrain: Callable[[int], Mapping[str, torch.Tensor]],
) -> None:
    """Raise `NotFusibleError` unless a batch and a model alone have the same results.

    Parameters
    ----------
    batch, single : mapping of str to tensor
        Weights, buffers and outputs; see `results_of`.
    retrain : callable
        ``retrain(seed)`` returns the results of the model alone from weights perturbed by rounding.
    """
    gaps = {}
    for name, value in single.items():
        if name.endswith("num_batches_tracked"):  # it is only used without a momentum
            continue
        gap = _gap(name, batch[name], value)
        if not gap <= (TOLERANCE if value.dtype is torch.float64 else TOLERANCE_FLOAT32):
            gaps[name] = gap

    def spread(seed: int) -> dict[str, float]:
        retrained = retrain(seed)
        return {name: _gap(name, retrained[name], single[name]) for name in gaps}

    if not gaps:
        return
    if not rounding_explains(gaps, spread)[0]:
        name, gap = next(iter(gaps.items()))
        raise NotFusibleError(
            f"{_describe(name)} are other ones when the model is trained alone (a relative "
            f"difference of {gap:.1e} after four updates): the module or the net does something "
            "that a batch of models does not"
        )
    limit = OUTPUT_LIMIT if single[OUTPUTS].dtype is torch.float64 else TOLERANCE_FLOAT32
    if not gaps.get(OUTPUTS, 0.0) <= limit:
        raise NotFusibleError(
            "rounding errors grow so fast in this module that its outputs differ by "
            f"{gaps[OUTPUTS]:.1e} after four updates: a batch, which rounds otherwise, would not "
            "have the scores of training alone"
        )


def _describe(name: str) -> str:
    return name if name == OUTPUTS else f"the values of '{name}'"


def _gap(name: str, batch: torch.Tensor, single: torch.Tensor) -> float:
    description = _describe(name)
    if batch.shape != single.shape:
        raise NotFusibleError(
            f"{description} have the shape {tuple(single.shape)} for one model alone, and "
            f"{tuple(batch.shape)} in a batch of models"
        )
    if batch.dtype != single.dtype:
        raise NotFusibleError(
            f"{description} are of type {_short(single.dtype)} for one model alone, and of "
            f"{_short(batch.dtype)} in a batch of models"
        )
    if not bool(single.isfinite().all()):
        raise DivergedError(f"{description} are not finite")
    a, b = batch.double(), single.double()
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-12))


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
