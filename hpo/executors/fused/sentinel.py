"""The sentinel: a trial of a batch is trained again by its own net for one epoch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from hpo.executors.fused.extract import ExtractedTrial, ModelExtractor
from hpo.executors.fused.proof import compare_outputs
from hpo.executors.fused.reference import NetReference
from hpo.fused import NotFusibleError, Plan, perturbed, rounding_explains
from hpo.training.random_stream import RandomStream
from hpo.trial import derive_seed

__all__ = ["EpochResult", "check_epoch"]

EPOCH_TOLERANCE = 5e-3
"""Allowed difference of a weight tensor after one epoch, relative to how far it moved."""

LOSS_TOLERANCE_BFLOAT16 = 0.1
"""The same for the training loss, the only value that is compared in bfloat16."""

_LOSS = "the training loss"


@dataclass(frozen=True)
class EpochResult:
    """Results of a trial's first epoch in a batch of models, on one fold.

    Parameters
    ----------
    number : int
        Number of the batch's epoch.
    fold : int
    state : mapping of str to tensor
        Weights and buffers at the end of the epoch.
    loss : float
        Mean training loss.
    outputs : tensor of shape (n_longest, ...)
        Outputs for the fold's validation part, padded.
    """

    number: int
    fold: int
    state: Mapping[str, torch.Tensor]
    loss: float
    outputs: torch.Tensor


def check_epoch(
    extractor: ModelExtractor,
    extracted: ExtractedTrial,
    result: EpochResult,
    *,
    seed: int,
    plan: Plan,
) -> None:
    """Train a trial's first epoch again by its own net, and compare: the sentinel of a batch.

    Each weight tensor may differ by `EPOCH_TOLERANCE` of the distance that it moved, or by ten
    times the difference that arises if the same net starts from perturbed weights, which are
    rounded differently. Outputs and scores are compared for the weights of the batch.

    Parameters
    ----------
    extractor : ModelExtractor
    extracted : ExtractedTrial
    result : EpochResult
    seed : int
        Seed of the batch.
    plan : Plan
        Plan of the batch.

    Raises
    ------
    NotFusibleError
        If they differ by more than rounding explains.
    """
    if not np.isfinite(result.loss):
        return  # there is nothing to compare in a diverged training
    arrays, fold = extractor.arrays, result.fold
    own = replace(extracted.plan(), draws_of=plan) if plan.mixed else extracted.plan()
    start = extracted.member.states[fold]

    def train_from(states: Sequence[Mapping[str, torch.Tensor]]) -> NetReference:
        net = extractor.unfitted(extracted.trial, str(arrays.X.device))
        reference = NetReference(
            net,
            own,
            replace(extracted.member, states=states),
            fold,
            seed=seed,
            n_folds=len(arrays.train),
            held_out=arrays.held_out.part(fold) if arrays.held_out else None,
            dtype=torch.float32,
        )
        reference.train([result.number], arrays.X, arrays.y, arrays.train[fold])
        return reference

    with RandomStream(derive_seed("fused", "sentinel"), str(arrays.X.device)).active():
        reference = train_from(extracted.member.states)
        net_state = _with_loss(reference)
        batch_state = {**result.state, _LOSS: torch.tensor(result.loss)}
        start_state = {**start, _LOSS: torch.tensor(0.0)}
        gaps = _gaps(batch_state, net_state, start_state)
        if plan.autocast:
            gaps, limit = {_LOSS: gaps.get(_LOSS, 0.0)}, LOSS_TOLERANCE_BFLOAT16
        else:
            limit = EPOCH_TOLERANCE
        doubtful = {name: gap for name, gap in gaps.items() if not gap <= limit}
        if doubtful:

            def retrain(seed: int) -> dict[str, float]:
                other = train_from([perturbed(state, seed) for state in extracted.member.states])
                return _gaps(_with_loss(other), net_state, start_state)

            _check_spread(doubtful, retrain)
        n = len(arrays.y_valid[fold])
        compare_outputs(
            extractor,
            extracted,
            reference.evaluating(result.state),
            fold=fold,
            X=arrays.X_valid[fold, :n],
            y=arrays.y_valid[fold],
            outputs=result.outputs[:n],
        )


def _with_loss(reference: NetReference) -> dict[str, torch.Tensor]:
    """Return weights, buffers and, if the net records it, the training loss."""
    loss = reference.train_loss
    return {**reference.state(), **({} if loss is None else {_LOSS: torch.tensor(loss)})}


def _check_spread(gaps: dict[str, float], retrain: Callable[[int], dict[str, float]]) -> None:
    """Raise unless rounding alone makes the same tensors differ about as much.

    The gradient of a bias before a normalization consists of rounding errors, which adaptive
    optimizers turn into steps of full size.
    """
    by_rounding, spread = rounding_explains(gaps, retrain)
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
    """Return the distance of each pair of tensors, relative to how far the second moved."""
    gaps = {}
    for name, value in b.items():
        if value.is_floating_point():
            other, end, began = (t[name].detach().cpu().double() for t in (a, b, start))
            distance = float((end - began).norm().clamp_min(1e-6 * end.norm() + 1e-12))
            gaps[name] = float((other - end).norm()) / distance
    return gaps
