"""Proof, before the first epoch, that a batch trains a trial as its own net would."""

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

__all__ = ["check_rows", "compare_outputs", "prove", "prove_callbacks", "some_held_out"]

N_SCORED = 2048
"""Largest number of validation samples on which outputs and scores are compared."""

N_OUTPUTS = 256
"""Number of rows on whose outputs losses are compared."""

SCORE_TOLERANCE = 1e-5
"""Allowed difference of two scores of the same outputs, relative and absolute."""

OUTPUT_TOLERANCE = 1e-3
"""Allowed difference of outputs of the same weights in float32, relative to the largest."""

LR_IF_DIVERGED = 1e-3
"""Learning rate of the proof if that of the trial leads to outputs that are not finite."""


def prove(extractor: ModelExtractor, extracted: ExtractedTrial, device: str) -> None:
    """Check, before the first epoch, that a structure is trained and scored as its net is.

    The reference is the user's own net, fitted by its own ``fit`` for two short epochs in float64
    and in float32. Its scores are compared too, and the labels of all rows are checked.

    Parameters
    ----------
    extractor : ModelExtractor
    extracted : ExtractedTrial
        A trial of the structure.
    device : str

    Raises
    ------
    NotFusibleError
        If something differs; the message says what.
    """
    check_rows(extractor.arrays.X, extractor.arrays.y)
    _check_split(extractor, extracted)
    with RandomStream(derive_seed("fused", "proof"), device).active():
        _check_padding(extractor, extracted, device)
        _check_loss(extractor, extracted, device)
        try:
            _certify(extractor, extracted, extracted.member, device)
        except DivergedError:
            numbers = {**extracted.member.numbers, "lr": LR_IF_DIVERGED}
            _certify(extractor, extracted, replace(extracted.member, numbers=numbers), device)
        _compare_scores(extractor, extracted, device)
    prove_callbacks(extractor, extracted, device)


def _check_loss(extractor: ModelExtractor, extracted: ExtractedTrial, device: str) -> None:
    """Check the labels of all rows, and compare the loss of minibatches with the net's own."""
    arrays, plan = extractor.arrays, extracted.plan()
    net = extractor.unfitted(extracted.trial, device)
    reference = NetReference(net, plan, extracted.member, 0, dtype=torch.float64)
    outputs = reference.predict(arrays.X[:: -(-len(arrays.X) // N_OUTPUTS)])
    _check_labels(plan, arrays.y, outputs)
    check_loss(plan, reference.net, outputs, arrays.y)


def check_rows(X: torch.Tensor, y: torch.Tensor) -> None:
    """Raise `NotFusibleError` if a number in the data is not finite.

    Minibatches are padded with other rows, which are multiplied by 0.
    """
    for name, data in (("X", X), ("y", y)):
        if data.is_floating_point() and not bool(data.isfinite().all()):
            raise NotFusibleError(f"{name} has values that are not finite (nan or infinite)")


def _check_split(extractor: ModelExtractor, extracted: ExtractedTrial) -> None:
    """Raise `NotFusibleError` unless the net's own split leaves the expected training rows."""
    arrays = extractor.arrays
    if arrays.held_out is None:
        return
    for fitted, train in zip(arrays.fitted, arrays.train, strict=True):
        X, y = arrays.X[fitted].cpu(), arrays.y[fitted].cpu()
        net = extractor.unfitted(extracted.trial, "cpu").initialize()
        train_part, _ = net.get_split_datasets(X, y)
        train_rows = train_part.indices if isinstance(train_part, Subset) else range(len(X))
        if not torch.equal(fitted[torch.as_tensor(train_rows)], train):
            raise NotFusibleError("the net's own train_split leaves other rows to train on")


def _certify(
    extractor: ModelExtractor, extracted: ExtractedTrial, member: ModelState, device: str
) -> None:
    for dtype in (torch.float64, torch.float32):
        _certify_as(dtype, extractor, extracted, member, device)


def _certify_as(
    dtype: torch.dtype,
    extractor: ModelExtractor,
    extracted: ExtractedTrial,
    member: ModelState,
    device: str,
) -> None:
    arrays, plan = extractor.arrays, extracted.plan()  # each plan has a module of its own dtype
    held_out = some_held_out(arrays.held_out)
    rows = arrays.train[0][:: max(1, len(arrays.train[0]) // (2 * plan.batch_size))]
    references: list[NetReference] = []
    trained: list[FusedModels] = []

    def make_reference(small: Plan, member_of_fold: ModelState, fold: int) -> NetReference:
        net = extractor.unfitted(extracted.trial, device)
        part = held_out.part(fold) if held_out else None
        references.append(
            NetReference(net, small, member_of_fold, fold, held_out=part, dtype=dtype)
        )
        return references[-1]

    def after_epoch(models: FusedModels, losses: torch.Tensor) -> None:
        trained[:] = [models]
        end_epoch(
            models, losses, {0: extracted.net, 1: extracted.net}, held_out, extracted.scorings
        )

    certify(
        plan,
        [member],
        reference=make_reference,
        X=arrays.X[rows],
        y=arrays.y[rows],
        device=device,
        dtype=dtype,
        end_epoch=after_epoch,
    )
    for i, reference in enumerate(references):  # model i was compared on fold i
        for callbacks in callbacks_of(trained[0], i)[i : i + 1]:
            _compare_figures(callbacks.figures, reference.figures, dtype)


def some_held_out(held_out: HeldOut | None) -> HeldOut | None:
    """Return a validation part for two folds: at most `N_SCORED` rows of that of the first."""
    if held_out is None:
        return None
    X, y = held_out.part(0)
    n = min(len(X), N_SCORED)
    rows = torch.linspace(0, len(X) - 1, n).long()
    return held_out_of(X, y, [rows, rows[: max(1, n - 1)]])


def _compare_figures(
    batch_figures: dict[str, float], net_figures: dict[str, float], dtype: torch.dtype
) -> None:
    """Raise `NotFusibleError` unless a net's history has the metrics that a batch reports."""
    tolerance = TOLERANCE_FLOAT32 if dtype is torch.float32 else SCORE_TOLERANCE
    for name, value in batch_figures.items():
        if not np.isclose(
            value, net_figures.get(name, np.nan), tolerance, tolerance, equal_nan=True
        ):
            raise NotFusibleError(
                f"'{name}' is {net_figures.get(name)} in the net's own history after two short "
                f"epochs, and {value} in that of a batch of models"
            )


def prove_callbacks(extractor: ModelExtractor, extracted: ExtractedTrial, device: str) -> None:
    """Check that a trial's callbacks do what they do in the net's own ``fit``, epoch by epoch.

    Trials of one structure may have different callbacks: each kind is compared once.

    Raises
    ------
    NotFusibleError
        If something differs; see `compare_callbacks`.
    """
    make, arrays = extracted.member.schedules, extractor.arrays
    if make is None or extracted.callbacks in extractor.proved:
        return
    plan = extracted.plan()
    divide = math.floor if plan.drop_last else math.ceil
    compare_callbacks(
        extractor.unfitted(extracted.trial, device),
        make,
        (arrays.X[arrays.train[0]], arrays.y[arrays.train[0]]),
        arrays.held_out.part(0) if arrays.held_out else None,
        n_epochs=extracted.n_steps,
        n_batches=divide(min(map(len, arrays.train)) / plan.batch_size),
    )
    extractor.proved.add(extracted.callbacks)


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


def _compare_scores(extractor: ModelExtractor, extracted: ExtractedTrial, device: str) -> None:
    """Compare outputs and scores for the initial weights of the trial."""
    arrays, plan = extractor.arrays, extracted.plan()
    state = extracted.member.states[0]
    n = len(arrays.y_valid[0])
    stride = -(-n // N_SCORED)
    member = replace(extracted.member, states=[state])
    models = FusedModels(plan, arrays.X, arrays.y, arrays.train[:1], n_slots=1, device=device)
    models.put(0, member)
    net = extractor.unfitted(extracted.trial, device)
    reference_net = NetReference(net, plan, member, 0, dtype=torch.float32).evaluating(state)
    for step in {stride: None, 1: None}:  # a few rows may lack a class, for which scorers raise
        try:
            rows = torch.arange(0, n, step)
            X, labels = arrays.X_valid[0, rows], arrays.y_valid[0][rows.numpy()]
            outputs = models.predict(X[None])[0, 0]
            compare_outputs(
                extractor, extracted, reference_net, fold=0, X=X, y=labels, outputs=outputs
            )
            break
        except NotFusibleError:
            if step == 1:
                raise


def _check_padding(extractor: ModelExtractor, extracted: ExtractedTrial, device: str) -> None:
    """Raise `NotFusibleError` if outputs depend on what encoders return at padded positions."""
    arrays, plan = extractor.arrays, extracted.plan()
    encoders = plan.batchable.encoders
    if not encoders.names:
        return
    member = replace(extracted.member, states=extracted.member.states[:1])
    models = FusedModels(plan, arrays.X, arrays.y, arrays.train[:1], n_slots=1, device=device)
    models.put(0, member)
    X = arrays.X_valid[:1, :N_SCORED]
    outputs = models.predict(X)
    with encoders.zeros_at_padding():
        zeroed = models.predict(X)
    if not torch.allclose(zeroed, outputs, OUTPUT_TOLERANCE, 1e-6, equal_nan=True):
        raise NotFusibleError(
            "the outputs depend on what the TransformerEncoder "
            f"'{encoders.names[0]}' returns where its input is padded, which is 0 or not by the "
            "other rows of a minibatch (leave these places out, or pass enable_nested_tensor=False)"
        )


def compare_outputs(
    extractor: ModelExtractor,
    extracted: ExtractedTrial,
    net: Any,
    *,
    fold: int,
    X: torch.Tensor,
    y: Any,
    outputs: torch.Tensor,
) -> None:
    """Raise `NotFusibleError` unless a net has these outputs, and the scores that a batch would.

    Parameters
    ----------
    extractor : ModelExtractor
    extracted : ExtractedTrial
    net : skorch net
        A net with the weights that gave the outputs; see `NetReference.evaluating`.
    fold : int
    X, y
        Samples of the fold's validation part, and their labels for the scorers.
    outputs : tensor of shape (n_samples, ...)
        Outputs of a batch of models for these samples.
    """
    if hasattr(net, "classes_inferred_") or hasattr(extracted.net, "classes_inferred_"):
        net.classes_inferred_ = np.unique(
            as_numpy(extractor.arrays.y[extractor.arrays.fitted[fold]])
        )
    set_target(net, y.ndim)
    objective = extractor.objective
    inputs = X.cpu().numpy() if isinstance(objective.X, np.ndarray) else X.cpu()
    try:
        net_outputs = net.forward(inputs, device=str(outputs.device))
        scores = objective.scoring(net, inputs, y)
    except Exception as error:
        message = " ".join(str(error).split())[:200]
        raise NotFusibleError(
            f"scoring the net raises {type(error).__name__}: {message}"
        ) from error
    largest = net_outputs.abs().max().clamp_min(1e-6)
    if (
        outputs.shape != net_outputs.shape
        or not ((outputs - net_outputs).abs() <= OUTPUT_TOLERANCE * largest).all()
    ):
        raise NotFusibleError(
            "the net's outputs in evaluation are other ones in a batch of models (a row's outputs "
            "must not depend on the other rows)"
        )
    by_fold = batch_scores(objective.scoring, [extracted.net], net_outputs[None, None], [y])
    batch_metrics = by_fold[0][0]
    for name, score in scores.items():
        if not np.isclose(
            batch_metrics.get(name, np.nan), score, SCORE_TOLERANCE, SCORE_TOLERANCE, equal_nan=True
        ):
            raise NotFusibleError(
                f"the score '{name}' of the net itself is {score:.6g}, and "
                f"{batch_metrics.get(name)} from its outputs (the net's `predict` or "
                "`predict_proba` does something of its own)"
            )
