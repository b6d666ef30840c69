"""Proof, before its first epoch, that a trial is trained in a batch as its net would be."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Subset

from hpo.executors.fused.callback_proof import compare_callbacks
from hpo.executors.fused.data import set_target
from hpo.executors.fused.epoch_end import callbacks_of, end_epoch
from hpo.executors.fused.extract import ExtractedTrial, ModelExtractor
from hpo.executors.fused.loss import check_loss
from hpo.executors.fused.reference import NetReference
from hpo.executors.fused.scores import batch_scores
from hpo.executors.fused.splits import HeldOut, held_out_of
from hpo.fused import (
    TOLERANCE_FLOAT32,
    DivergedError,
    FusedModels,
    ModelState,
    NotFusibleError,
    Plan,
    certify,
)
from hpo.training.indexing import as_numpy
from hpo.training.random_stream import RandomStream
from hpo.trial import derive_seed

__all__ = ["check_rows", "compare_outputs", "prove", "prove_callbacks"]

N_SCORED = 2048
"""Samples of a validation part that outputs and scores are compared on before the first epoch."""

N_OUTPUTS = 256
"""Rows whose outputs losses are compared on."""

SCORE_TOLERANCE = 1e-5
"""Difference of two scores of the same outputs, relative and absolute."""

OUTPUT_TOLERANCE = 1e-3
"""Difference of outputs in float32 from the same weights, relative to the largest."""

LR_IF_DIVERGED = 1e-3
"""Learning rate of the proof where that of the trial leads to outputs that are not finite."""


def prove(extractor: ModelExtractor, taken: ExtractedTrial, device: str) -> None:
    """Check, before the first epoch, that a structure is trained and scored as its net is.

    The reference is the user's own net, fitted by its own ``fit`` for two short epochs in float64
    and in float32. Then its scores are compared, and the labels of all rows are looked at.

    Parameters
    ----------
    fusing : ModelExtractor
    taken : ExtractedTrial
        A trial of the structure.
    device : str

    Raises
    ------
    NotFusibleError
        If something differs; says what.
    """
    check_rows(extractor.arrays.X, extractor.arrays.y)
    _check_split(extractor, taken)
    with RandomStream(derive_seed("fused", "proof"), device).active():
        _check_padding(extractor, taken, device)
        _check_loss(extractor, taken, device)
        try:
            _certify(extractor, taken, taken.member, device)
        except DivergedError:
            numbers = {**taken.member.numbers, "lr": LR_IF_DIVERGED}
            _certify(extractor, taken, replace(taken.member, numbers=numbers), device)
        _compare_scores(extractor, taken, device)
    prove_callbacks(extractor, taken, device)


def _check_loss(extractor: ModelExtractor, taken: ExtractedTrial, device: str) -> None:
    """Look at the labels of all rows, and compare the loss of minibatches with the net's own."""
    arrays, plan = extractor.arrays, taken.plan()
    net = extractor.unfitted(taken.trial, device)
    reference = NetReference(net, plan, taken.member, 0, dtype=torch.float64)
    outputs = reference.predict(arrays.X[:: -(-len(arrays.X) // N_OUTPUTS)])
    _check_labels(plan, arrays.y, outputs)
    check_loss(plan, reference.net, outputs, arrays.y)


def check_rows(X: torch.Tensor, y: torch.Tensor) -> None:
    """Raise `NotFusibleError` if a number in the data is not finite.

    Minibatches are filled up with other rows, which are multiplied by 0.
    """
    for name, data in (("X", X), ("y", y)):
        if data.is_floating_point() and not bool(data.isfinite().all()):
            raise NotFusibleError(f"{name} has values that are not finite (nan or infinite)")


def _check_split(extractor: ModelExtractor, taken: ExtractedTrial) -> None:
    """Raise `NotFusibleError` unless the net's own split leaves the rows that are trained on."""
    arrays = extractor.arrays
    if arrays.held_out is None:
        return
    for fitted, train in zip(arrays.fitted, arrays.train, strict=True):
        X, y = arrays.X[fitted].cpu(), arrays.y[fitted].cpu()
        net = extractor.unfitted(taken.trial, "cpu").initialize()
        own, _ = net.get_split_datasets(X, y)
        left = own.indices if isinstance(own, Subset) else range(len(X))
        if not torch.equal(fitted[torch.as_tensor(left)], train):
            raise NotFusibleError("the net's own train_split leaves other rows to train on")


def _certify(
    extractor: ModelExtractor, taken: ExtractedTrial, member: ModelState, device: str
) -> None:
    for dtype in (torch.float64, torch.float32):
        _certify_as(dtype, extractor, taken, member, device)


def _certify_as(
    dtype: torch.dtype,
    extractor: ModelExtractor,
    taken: ExtractedTrial,
    member: ModelState,
    device: str,
) -> None:
    arrays, plan = extractor.arrays, taken.plan()  # each a module of its own type
    held_out = _some_held_out(arrays.held_out)
    rows = arrays.train[0][:: max(1, len(arrays.train[0]) // (2 * plan.batch_size))]
    references: list[NetReference] = []
    seen: list[FusedModels] = []

    def alone(small: Plan, one: ModelState, fold: int) -> NetReference:
        net = extractor.unfitted(taken.trial, device)
        part = held_out.part(fold) if held_out else None
        references.append(NetReference(net, small, one, fold, held_out=part, dtype=dtype))
        return references[-1]

    def told(models: FusedModels, losses: torch.Tensor) -> None:
        seen[:] = [models]
        end_epoch(models, losses, {0: taken.net, 1: taken.net}, held_out, taken.scorings)

    certify(
        plan,
        [member],
        reference=alone,
        X=arrays.X[rows],
        y=arrays.y[rows],
        device=device,
        dtype=dtype,
        end_epoch=told,
    )
    for i, reference in enumerate(references):  # model i was compared on fold i
        for callbacks in callbacks_of(seen[0], i)[i : i + 1]:
            _compare_figures(callbacks.figures, reference.figures, dtype)


def _some_held_out(held_out: HeldOut | None) -> HeldOut | None:
    """Return a validation part for two folds: `N_SCORED` rows at the most of the first one's."""
    if held_out is None:
        return None
    X, y = held_out.part(0)
    n = min(len(X), N_SCORED)
    rows = torch.linspace(0, len(X) - 1, n).long()
    return held_out_of(X, y, [rows, rows[: max(1, n - 1)]])


def _compare_figures(found: dict[str, float], own: dict[str, float], dtype: torch.dtype) -> None:
    """Raise `NotFusibleError` unless a net's history has the figures that a batch reports."""
    tolerance = TOLERANCE_FLOAT32 if dtype is torch.float32 else SCORE_TOLERANCE
    for name, value in found.items():
        if not np.isclose(value, own.get(name, np.nan), tolerance, tolerance, equal_nan=True):
            raise NotFusibleError(
                f"'{name}' is {own.get(name)} in the net's own history after two short epochs, "
                f"and {value} in that of a batch of models"
            )


def prove_callbacks(extractor: ModelExtractor, taken: ExtractedTrial, device: str) -> None:
    """Check that a trial's callbacks do what they do in the net's own ``fit``, epoch by epoch.

    Trials of one structure may have other callbacks: each kind is compared once.

    Raises
    ------
    NotFusibleError
        If something differs; see `compare_callbacks`.
    """
    make, arrays = taken.member.schedules, extractor.arrays
    if make is None or taken.callbacks in extractor.proved:
        return
    plan = taken.plan()
    divide = math.floor if plan.drop_last else math.ceil
    compare_callbacks(
        extractor.unfitted(taken.trial, device),
        make,
        (arrays.X[arrays.train[0]], arrays.y[arrays.train[0]]),
        arrays.held_out.part(0) if arrays.held_out else None,
        n_epochs=taken.n_steps,
        n_batches=divide(min(map(len, arrays.train)) / plan.batch_size),
    )
    extractor.proved.add(taken.callbacks)


def _check_labels(plan: Plan, y: torch.Tensor, outputs: torch.Tensor) -> None:
    criterion = plan.criterion
    if not criterion.classifies:
        return
    n, low, high = outputs.shape[1], int(y.min()), int(y.max())
    if low < 0 or high >= n:
        wrong = low if low < 0 else high
        raise NotFusibleError(
            f"a label in y is {wrong}, and the module has outputs for the classes 0 to {n - 1}"
        )
    if criterion.ignored is not None and bool((y == criterion.ignored).any()):
        raise NotFusibleError(f"a label in y is {criterion.ignored}, which the criterion ignores")


def _compare_scores(extractor: ModelExtractor, taken: ExtractedTrial, device: str) -> None:
    """Compare outputs and scores from the weights that the trial starts with."""
    arrays, plan = extractor.arrays, taken.plan()
    state = taken.member.states[0]
    n = len(arrays.y_valid[0])
    every = -(-n // N_SCORED)
    one = replace(taken.member, states=[state])
    models = FusedModels(plan, arrays.X, arrays.y, arrays.train[:1], n_slots=1, device=device)
    models.put(0, one)
    net = extractor.unfitted(taken.trial, device)
    own = NetReference(net, plan, one, 0, dtype=torch.float32).evaluating(state)
    for step in {every: None, 1: None}:  # few rows may lack a class, which scorers refuse
        try:
            rows = torch.arange(0, n, step)
            X, labels = arrays.X_valid[0, rows], arrays.y_valid[0][rows.numpy()]
            outputs = models.predict(X[None])[0, 0]
            compare_outputs(extractor, taken, own, fold=0, X=X, y=labels, outputs=outputs)
            break
        except NotFusibleError:
            if step == 1:
                raise


def _check_padding(extractor: ModelExtractor, taken: ExtractedTrial, device: str) -> None:
    """Raise `NotFusibleError` if outputs depend on what encoders return where there is padding."""
    arrays, plan = extractor.arrays, taken.plan()
    encoders = plan.batchable.encoders
    if not encoders.names:
        return
    one = replace(taken.member, states=taken.member.states[:1])
    models = FusedModels(plan, arrays.X, arrays.y, arrays.train[:1], n_slots=1, device=device)
    models.put(0, one)
    X = arrays.X_valid[:1, :N_SCORED]
    outputs = models.predict(X)
    with encoders.filled():
        filled = models.predict(X)
    if not torch.allclose(filled, outputs, OUTPUT_TOLERANCE, 1e-6, equal_nan=True):
        raise NotFusibleError(
            "the outputs depend on what the TransformerEncoder "
            f"'{encoders.names[0]}' returns where its input is padded, which is 0 or not by the "
            "other rows of a minibatch (leave these places out, or pass enable_nested_tensor=False)"
        )


def compare_outputs(
    extractor: ModelExtractor,
    taken: ExtractedTrial,
    net: Any,
    *,
    fold: int,
    X: torch.Tensor,
    y: Any,
    outputs: torch.Tensor,
) -> None:
    """Raise `NotFusibleError` unless a net gives these outputs, and scores as they are scored.

    Parameters
    ----------
    fusing : ModelExtractor
    taken : ExtractedTrial
    net : skorch net
        With the weights that the outputs are of; see `NetReference.evaluating`.
    fold : int
    X, y
        Samples of the fold's validation part, and what the scorers compare with.
    outputs : tensor of shape (n_samples, ...)
        What a batch of models returns for them.
    """
    if hasattr(net, "classes_inferred_") or hasattr(taken.net, "classes_inferred_"):
        net.classes_inferred_ = np.unique(
            as_numpy(extractor.arrays.y[extractor.arrays.fitted[fold]])
        )
    set_target(net, y.ndim)
    objective = extractor.objective
    given = X.cpu().numpy() if isinstance(objective.X, np.ndarray) else X.cpu()
    try:
        own = net.forward(given, device=str(outputs.device))
        scores = objective.scoring(net, given, y)
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        raise NotFusibleError(f"scoring the net raises {type(error).__name__}: {told}") from error
    largest = own.abs().max().clamp_min(1e-6)
    if (
        outputs.shape != own.shape
        or not ((outputs - own).abs() <= OUTPUT_TOLERANCE * largest).all()
    ):
        raise NotFusibleError(
            "the net's outputs in evaluation are other ones in a batch of models (a row's outputs "
            "must not depend on the other rows)"
        )
    found = batch_scores(objective.scoring, [taken.net], own[None, None], [y])[0][0]
    for name, score in scores.items():
        if not np.isclose(
            found.get(name, np.nan), score, SCORE_TOLERANCE, SCORE_TOLERANCE, equal_nan=True
        ):
            raise NotFusibleError(
                f"the score '{name}' of the net itself is {score:.6g}, and {found.get(name)} from "
                "its outputs (the net's `predict` or `predict_proba` does something of its own)"
            )
