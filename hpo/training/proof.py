"""Proof, before its first epoch, that a trial is trained in a batch as its net would be."""

from dataclasses import replace
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

__all__ = ["check_rows", "compare_outputs", "prove"]

N_SCORED = 2048
"""Samples of a validation part that outputs and scores are compared on before the first epoch."""

SCORE_TOLERANCE = 1e-5
"""Difference of two scores of the same outputs, relative and absolute."""

OUTPUT_TOLERANCE = 1e-3
"""Difference of outputs in float32 from the same weights, relative to the largest."""

LR_IF_DIVERGED = 1e-3
"""Learning rate of the proof where that of the trial leads to outputs that are not finite."""


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
        _check_padding(fusing, taken, device)
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
    own = NetReference(net, plan, one, 0, dtype=torch.float32).evaluating(state)
    for step in {every: None, 1: None}:  # few rows may lack a class, which scorers refuse
        try:
            rows = torch.arange(0, n, step)
            X, labels = arrays.X_valid[0, rows], arrays.y_valid[0][rows.numpy()]
            outputs = models.predict(X[None])[0, 0]
            compare_outputs(fusing, taken, own, fold=0, X=X, y=labels, outputs=outputs)
            break
        except NotFusibleError:
            if step == 1:
                raise
    return outputs


def _check_padding(fusing: Fusing, taken: FusibleTrial, device: str) -> None:
    """Raise `NotFusibleError` if outputs depend on what encoders return where there is padding."""
    arrays, plan = fusing.arrays, taken.plan()
    encoders = plan.fusible.encoders
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
    fusing: Fusing,
    taken: FusibleTrial,
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
    fusing : Fusing
    taken : FusibleTrial
    net : skorch net
        With the weights that the outputs are of; see `NetReference.evaluating`.
    fold : int
    X, y
        Samples of the fold's validation part, and what the scorers compare with.
    outputs : tensor of shape (n_samples, ...)
        What a batch of models returns for them.
    """
    if hasattr(net, "classes_inferred_") or hasattr(taken.net, "classes_inferred_"):
        net.classes_inferred_ = np.unique(as_numpy(fusing.arrays.y[fusing.arrays.train[fold]]))
    objective = fusing.objective
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
    found = judge(objective.scoring, [taken.net], own[None, None], [y])[0][0]
    for name, score in scores.items():
        if not np.isclose(
            found.get(name, np.nan), score, SCORE_TOLERANCE, SCORE_TOLERANCE, equal_nan=True
        ):
            raise NotFusibleError(
                f"the score '{name}' of the net itself is {score:.6g}, and {found.get(name)} from "
                "its outputs (the net's `predict` or `predict_proba` does something of its own)"
            )
