"""A trial of a batch trained again by its own net, for one epoch, while the batch trains."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from hpo.executors.fused.extract import ExtractedTrial, ModelExtractor
from hpo.executors.fused.proof import compare_outputs
from hpo.executors.fused.reference import NetReference
from hpo.fused import NotFusibleError, Plan, explained, shaken
from hpo.training.random_stream import RandomStream
from hpo.trial import derive_seed

__all__ = ["Seen", "check_epoch"]

EPOCH_TOLERANCE = 5e-3
"""Difference of a weight tensor after an epoch trained twice, relative to the way that it went."""

LOSS_TOLERANCE_BFLOAT16 = 0.1
"""The same of the training loss, which is all that is compared of a training in bfloat16."""

_LOSS = "the training loss"


@dataclass(frozen=True)
class Seen:
    """What a batch of models made of a trial in its first epoch, on one fold.

    Parameters
    ----------
    number : int
        Of the batch's epoch.
    fold : int
    state : mapping of str to tensor
        Weights and buffers at its end.
    loss : float
        Mean training loss.
    outputs : tensor of shape (n_longest, ...)
        For the fold's validation part, filled up.
    """

    number: int
    fold: int
    state: Mapping[str, torch.Tensor]
    loss: float
    outputs: torch.Tensor


def check_epoch(
    extractor: ModelExtractor, taken: ExtractedTrial, seen: Seen, *, seed: int, plan: Plan
) -> None:
    """Train a trial's first epoch again by its own net, and compare: the sentinel of a batch.

    Each weight tensor may differ by `EPOCH_TOLERANCE` of the way that it went, or by ten times
    what the same net's differ by where it starts from weights that are rounded otherwise. Outputs
    and scores are compared from the batch's weights.

    Parameters
    ----------
    fusing : ModelExtractor
    taken : ExtractedTrial
    seen : Seen
    seed : int
        Of the batch.
    plan : Plan
        That of the batch.

    Raises
    ------
    NotFusibleError
        If they differ by more than rounding explains.
    """
    if not np.isfinite(seen.loss):
        return  # a diverged training is what it is, whatever comes after
    arrays, fold = extractor.arrays, seen.fold
    start = taken.member.states[fold]

    def trained(states: Sequence[Mapping[str, torch.Tensor]]) -> NetReference:
        net = extractor.unfitted(taken.trial, str(arrays.X.device))
        reference = NetReference(
            net,
            taken.plan(),
            replace(taken.member, states=states),
            fold,
            seed=seed,
            n_folds=len(arrays.train),
            held_out=arrays.held_out.part(fold) if arrays.held_out else None,
            dtype=torch.float32,
        )
        reference.train([seen.number], arrays.X, arrays.y, arrays.train[fold])
        return reference

    with RandomStream(derive_seed("fused", "sentinel"), str(arrays.X.device)).active():
        reference = trained(taken.member.states)
        alone = _with_loss(reference)
        batch = {**seen.state, _LOSS: torch.tensor(seen.loss)}
        began = {**start, _LOSS: torch.tensor(0.0)}
        gaps = _gaps(batch, alone, began)
        if plan.autocast:
            gaps, limit = {_LOSS: gaps.get(_LOSS, 0.0)}, LOSS_TOLERANCE_BFLOAT16
        else:
            limit = EPOCH_TOLERANCE
        doubtful = {name: gap for name, gap in gaps.items() if not gap <= limit}
        if doubtful:

            def again(seed: int) -> dict[str, float]:
                other = trained([shaken(one, seed) for one in taken.member.states])
                return _gaps(_with_loss(other), alone, began)

            _check_spread(doubtful, again)
        n = len(arrays.y_valid[fold])
        compare_outputs(
            extractor,
            taken,
            reference.evaluating(seen.state),
            fold=fold,
            X=arrays.X_valid[fold, :n],
            y=arrays.y_valid[fold],
            outputs=seen.outputs[:n],
        )


def _with_loss(reference: NetReference) -> dict[str, torch.Tensor]:
    """Return what a training led to: weights, buffers and, where the net records it, the loss."""
    loss = reference.train_loss
    return {**reference.state(), **({} if loss is None else {_LOSS: torch.tensor(loss)})}


def _check_spread(gaps: dict[str, float], again: Callable[[int], dict[str, float]]) -> None:
    """Raise unless rounding alone makes the same tensors differ about as much.

    A bias before a normalization has rounding errors for a gradient, of which adaptive optimizers
    make steps of full size.
    """
    by_rounding, spread = explained(gaps, again)
    if by_rounding:
        return
    worst = max(gaps, key=lambda name: gaps[name] / max(spread[name], 1e-12))
    what = worst if worst == _LOSS else f"'{worst}'"
    raise NotFusibleError(
        f"after one epoch {what} was {gaps[worst]:.2%} of its way from that in the batch, where "
        f"rounding explains {spread[worst]:.2%}"
    )


def _gaps(
    a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor], start: Mapping[str, torch.Tensor]
) -> dict[str, float]:
    """Return how far each tensor is from its like, in parts of the way from its start."""
    found = {}
    for name, value in b.items():
        if value.is_floating_point():
            other, to, began = (t[name].detach().cpu().double() for t in (a, b, start))
            way = float((to - began).norm().clamp_min(1e-6 * to.norm() + 1e-12))
            found[name] = float((other - to).norm()) / way
    return found
