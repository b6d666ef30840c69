"""Proof that a trial is trained and scored in a batch as its net would be by itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from hpo.fused import DivergedError, FusedModels, Member, NotFusibleError, Plan, certify
from hpo.training._indexing import as_numpy
from hpo.training._judged import judge
from hpo.training._random import RandomStream
from hpo.training.fusing import FusibleTrial, Fusing
from hpo.training.reference import NetReference
from hpo.trial import derive_seed

__all__ = ["Seen", "check_epoch", "prove"]

N_SCORED = 2048
"""Samples of a validation part that outputs and scores are compared on before the first epoch."""

SCORE_TOLERANCE = 1e-5
"""Difference of two scores of the same outputs, relative and absolute."""

OUTPUT_TOLERANCE = 1e-3
"""Difference of outputs in float32 from the same weights, relative to the largest."""

LR_IF_DIVERGED = 1e-3
"""Learning rate of the proof where that of the trial leads to outputs that are not finite."""

EPOCH_TOLERANCE = 5e-3
"""Difference of a weight tensor after an epoch trained twice, relative to the way that it went."""

LOSS_TOLERANCE_BFLOAT16 = 0.1
"""The same of the training loss, which is all that is compared of a training in bfloat16."""

FACTOR, N_SHAKEN = 10, 4
"""How much more than rounding makes of it, at the most of 4 tries, is taken for a difference."""

_LOSS = "the training loss"

_ROUNDING = 2.0**-24


def prove(fusing: Fusing, taken: FusibleTrial, device: str) -> None:
    """Check, before the first epoch, that a structure is trained and scored as its net is.

    The reference is the user's own net, fitted by its own ``fit`` for two short epochs in float64
    and in float32. Then its scores are compared, and the labels of all rows are looked at.

    Parameters
    ----------
    fusing : Fusing
    taken : FusibleTrial
        A trial of the structure.
    device : str

    Raises
    ------
    NotFusibleError
        If something differs; says what.
    """
    check_rows(fusing.arrays.X, fusing.arrays.y)
    with RandomStream(derive_seed("fused", "proof"), device).active():
        try:
            _certify(fusing, taken, taken.member, device)
        except DivergedError:
            numbers = {**taken.member.numbers, "lr": LR_IF_DIVERGED}
            _certify(fusing, taken, replace(taken.member, numbers=numbers), device)
        outputs = _compare_scores(fusing, taken, device)
    _check_labels(taken.plan(), fusing.arrays.y, outputs)


def check_rows(X: torch.Tensor, y: torch.Tensor) -> None:
    """Raise `NotFusibleError` if a number in the data is not finite.

    Minibatches are filled up with other rows, which are multiplied by 0.
    """
    for name, data in (("X", X), ("y", y)):
        if data.is_floating_point() and not bool(data.isfinite().all()):
            raise NotFusibleError(f"{name} has values that are not finite (nan or infinite)")


def _certify(fusing: Fusing, taken: FusibleTrial, member: Member, device: str) -> None:
    arrays = fusing.arrays
    for dtype in (torch.float64, torch.float32):
        plan = taken.plan()  # each a module of its own type
        rows = arrays.train[0][: 4 * plan.batch_size]

        def alone(small: Plan, one: Member, fold: int, dtype: Any = dtype) -> NetReference:
            net = fusing.unfitted(taken.trial, device)
            return NetReference(net, small, one, fold, dtype=dtype)

        certify(
            plan,
            [member],
            reference=alone,
            X=arrays.X[rows],
            y=arrays.y[rows],
            device=device,
            dtype=dtype,
        )


def _check_labels(plan: Plan, y: torch.Tensor, outputs: torch.Tensor) -> None:
    if not plan.criterion.classifies:
        return
    n, low, high = outputs.shape[1], int(y.min()), int(y.max())
    if low < 0 or high >= n:
        wrong = low if low < 0 else high
        raise NotFusibleError(
            f"a label in y is {wrong}, and the module has outputs for the classes 0 to {n - 1}"
        )


def _compare_scores(fusing: Fusing, taken: FusibleTrial, device: str) -> torch.Tensor:
    """Compare outputs and scores from the weights that the trial starts with; return outputs."""
    arrays, plan = fusing.arrays, taken.plan()
    state = taken.member.states[0]
    n = len(arrays.y_valid[0])
    every = -(-n // N_SCORED)
    one = replace(taken.member, states=[state])
    models = FusedModels(plan, arrays.X, arrays.y, arrays.train[:1], n_slots=1, device=device)
    models.put(0, one)
    net = fusing.unfitted(taken.trial, device)
    reference = NetReference(net, plan, one, 0, dtype=torch.float32)
    for step in {every: None, 1: None}:  # few rows may lack a class, which scorers refuse
        try:
            rows = torch.arange(0, n, step)
            X, labels = arrays.X_valid[0, rows], arrays.y_valid[0][rows.numpy()]
            outputs = models.predict(X[None])[0, 0]
            compare_scores(fusing, taken, reference, state, X, labels, outputs, fold=0)
            break
        except NotFusibleError:
            if step == 1:
                raise
    return outputs


def compare_scores(
    fusing: Fusing,
    taken: FusibleTrial,
    reference: NetReference,
    state: Mapping[str, torch.Tensor],
    X: torch.Tensor,
    y: Any,
    outputs: torch.Tensor,
    *,
    fold: int,
) -> None:
    """Raise `NotFusibleError` unless a net with these weights gives these outputs, and scores.

    Parameters
    ----------
    fusing : Fusing
    taken : FusibleTrial
    reference : NetReference
    state : mapping of str to tensor
        Weights and buffers.
    X, y
        Samples of the fold's validation part, and what the scorers compare with.
    outputs : tensor of shape (n_samples, ...)
        What a batch of models returns for them.
    fold : int
    """
    net = reference.evaluating(state)
    if hasattr(net, "classes_inferred_") or hasattr(taken.net, "classes_inferred_"):
        net.classes_inferred_ = np.unique(as_numpy(fusing.arrays.y[fusing.arrays.train[fold]]))
    objective = fusing.objective
    given = X.cpu().numpy() if isinstance(objective.X, np.ndarray) else X.cpu()
    try:
        own = net.forward(given, device=str(outputs.device))
        scores = objective.scoring(net, given, y)
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        raise NotFusibleError(
            f"scoring the net raises {type(error).__name__}: {told}"
        ) from error
    largest = own.abs().max().clamp_min(1e-6)
    if outputs.shape != own.shape or not ((outputs - own).abs() <= OUTPUT_TOLERANCE * largest).all():
        raise NotFusibleError(
            "the net's outputs in evaluation are other ones in a batch of models (a row's outputs "
            "must not depend on the other rows)"
        )
    found = judge(objective.scoring, [taken.net], own[None, None], [y])[0][0]
    for name, score in scores.items():
        if not np.isclose(
            found.get(name, np.nan), score, SCORE_TOLERANCE, SCORE_TOLERANCE, equal_nan=True
        ):
            raise NotFusibleError(
                f"the score '{name}' of the net itself is {score:.6g}, and {found.get(name)} from "
                "its outputs (the net's `predict` or `predict_proba` does something of its own)"
            )


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


def check_epoch(fusing: Fusing, taken: FusibleTrial, seen: Seen, *, seed: int, plan: Plan) -> None:
    """Train a trial's first epoch again by its own net, and compare: the sentinel of a batch.

    Each weight tensor may differ by `EPOCH_TOLERANCE` of the way that it went, or by `FACTOR` times
    what the same net's differ by where it starts from weights that are rounded otherwise. Outputs
    and scores are compared from the batch's weights.

    Parameters
    ----------
    fusing : Fusing
    taken : FusibleTrial
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
    arrays, fold = fusing.arrays, seen.fold
    start = taken.member.states[fold]

    def trained(states: Sequence[Mapping[str, torch.Tensor]]) -> NetReference:
        net = fusing.unfitted(taken.trial, str(arrays.X.device))
        reference = NetReference(
            net,
            taken.plan(),
            replace(taken.member, states=states),
            fold,
            seed=seed,
            n_folds=len(arrays.train),
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

            def shaken(seed: int) -> dict[str, float]:
                other = trained([_shaken(one, seed) for one in taken.member.states])
                return _gaps(_with_loss(other), alone, began)

            _check_spread(doubtful, shaken)
        n = len(arrays.y_valid[fold])
        compare_scores(
            fusing,
            taken,
            reference,
            seen.state,
            arrays.X_valid[fold, :n],
            arrays.y_valid[fold],
            seen.outputs[:n],
            fold=fold,
        )


def _with_loss(reference: NetReference) -> dict[str, torch.Tensor]:
    """Return what a training led to: weights, buffers and, where the net records it, the loss."""
    loss = reference.train_loss
    return {**reference.state(), **({} if loss is None else {_LOSS: torch.tensor(loss)})}


def _check_spread(gaps: dict[str, float], shaken: Callable[[int], dict[str, float]]) -> None:
    """Raise unless rounding alone makes the same tensors differ about as much.

    A bias before a normalization has rounding errors for a gradient, of which adaptive optimizers
    make steps of full size.
    """
    spread = dict.fromkeys(gaps, 0.0)
    for seed in range(N_SHAKEN):
        other = shaken(seed)
        spread = {name: max(known, other[name]) for name, known in spread.items()}
        if all(gap <= FACTOR * spread[name] for name, gap in gaps.items()):
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


def _shaken(state: Mapping[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """Return weights that are rounded otherwise."""
    draws = torch.Generator().manual_seed(seed)

    def shake(value: torch.Tensor) -> torch.Tensor:
        if not value.is_floating_point():
            return value
        noise = torch.rand(value.shape, generator=draws).to(value.device) * 2 - 1
        return value * (1 + 2 * _ROUNDING * noise)

    return {name: shake(value) for name, value in state.items()}
