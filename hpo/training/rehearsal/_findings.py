"""Find problems of a training that raises no exception."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import is_classifier
from skorch.dataset import get_len
from torch import nn

from hpo._failures import text_of
from hpo.training.rehearsal._probe import Probe
from hpo.training.rehearsal._rows import cut_batch, rows_with_nan
from hpo.training.scorer_parts import asked_methods
from hpo.training.scoring import Scoring

__all__ = [
    "check",
    "note_on",
    "of_classes",
    "of_frame",
    "of_last_batch",
    "of_loss",
    "of_monitor",
    "of_nan",
    "of_probabilities",
    "of_rows",
    "of_scores",
]

_TARGETS: Mapping[type[nn.Module], tuple[str, Any]] = {
    nn.BCEWithLogitsLoss: ("from 0 to 1", lambda y: (y >= 0) & (y <= 1)),
    nn.BCELoss: ("from 0 to 1", lambda y: (y >= 0) & (y <= 1)),
    nn.SoftMarginLoss: ("of -1 or 1", lambda y: y.abs() == 1),
    nn.HingeEmbeddingLoss: ("of -1 or 1", lambda y: y.abs() == 1),
}
"""Criteria that accept any targets but are meaningful only for these."""

_POINTWISE = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)

_TOLERANCE = 1e-3


def check(look: Callable[..., str], *args: Any) -> str:
    """Return the result of ``look``, or an empty string if it raises an exception."""
    try:
        return look(*args)
    except Exception:
        return ""


def of_loss(net: Any, probe: Probe) -> str:
    """Return what is wrong with the loss of the first batch; empty if no problem is known."""
    return _broadcasts(probe) or _out_of_range(net, probe) or _logarithm_of_logits(net, probe)


def _broadcasts(probe: Probe) -> str:
    """Return a message if each prediction is compared with every target, by broadcasting.

    A loss that pairs a row's prediction with its target changes when the targets are permuted,
    while the mean over all pairs does not. This is only checked if the shapes differ by an axis
    of length 1.
    """
    output, target = _first(probe.output), probe.target
    if not (isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)):
        return ""
    fits = output.ndim != target.ndim and output.shape.numel() == target.shape.numel()
    if not fits or len(output) != len(target) or len(target) < 3 or (target == target[:1]).all():
        return ""
    noise = 0.1 + 0.8 * torch.rand_like(output.detach().float()).to(output.dtype)
    swapped = [target.roll(n, 0) for n in (1, max(2, len(target) // 2))]
    with torch.no_grad():
        try:
            loss, shifted, *permuted = (
                float(probe.get_loss(noise, y, X=None, training=False))
                for y in (target, target + 1, *swapped)
            )
        except Exception:
            return ""
    if _close(loss, shifted) or not all(_close(loss, value) for value in permuted):
        return ""
    n, shape = len(target), tuple(output.shape[1:])
    wanted_shape = ", ".join(map(str, ("n_samples", *shape))) + ("," if not shape else "")
    code = f"np.asarray(y).reshape(-1, {', '.join(map(str, shape))})"
    code = code if shape else "np.asarray(y).ravel()"
    return (
        f"The module returns the shape {tuple(output.shape)} for a batch of {n} rows, and the "
        f"target has {tuple(target.shape)}. {_criterion(probe.net)} broadcasts the two and "
        "compares every prediction with every target, so that nothing is learned. "
        f"Reshape y to ({wanted_shape}): {code}."
    )


def _out_of_range(net: Any, probe: Probe) -> str:
    criterion = getattr(net, "criterion_", None)
    allowed_range, allowed = _TARGETS.get(type(criterion), ("", None))  # type: ignore[arg-type]
    if (
        allowed is None
        or len(probe.criterion_args) < 2
        or not isinstance(probe.criterion_args[1], torch.Tensor)
    ):
        return ""
    target = probe.criterion_args[1].detach()
    if bool(allowed(target).all()) or not bool(target.isfinite().all()):
        return ""
    got = f"{target.min().item():g} to {target.max().item():g}"
    recoded = "-1 and 1" if "-1" in allowed_range else "0 and 1"
    return (
        f"{_criterion(net)} is meant for targets {allowed_range}, and gives a meaningless loss "
        f"for others. Got {got} instead: recode y, two classes as {recoded}."
    )


def _logarithm_of_logits(net: Any, probe: Probe) -> str:
    output = _first(probe.output)
    if not isinstance(getattr(net, "criterion_", None), nn.NLLLoss) or not is_classifier(net):
        return ""
    if probe.loss is None or math.isfinite(probe.loss) or not isinstance(output, torch.Tensor):
        return ""
    if not bool(output.isfinite().all()) or bool((output >= 0).all()):
        return ""
    return (
        "The training loss of the first batch is not a number: skorch's NLLLoss takes the "
        f"logarithm of what the module returns, which is negative ({output.min().item():.3g}). "
        "For a module that returns logits set criterion=torch.nn.CrossEntropyLoss; or end the "
        "module in a softmax."
    )


def of_frame(X: Any, y: Any) -> str:
    """Return what is unusual about data with which a training fails."""
    if hasattr(X, "columns"):
        return (
            "X is a data frame, whose columns skorch hands to the module one by one, by their "
            "names: put a step before the net that makes an array of it (hpo.data.TableEncoder, "
            "sklearn.compose.ColumnTransformer)."
        )
    bad = rows_with_nan(y) if y is not None else np.array([])
    if bad.any():
        return f"y holds NaN in {int(bad.sum())} of {len(bad)} rows: leave these out."
    return ""


def of_monitor(net: Any, error: BaseException) -> str:
    """Return a message if a callback monitors a validation part that the net does not have."""
    if net.train_split is not None or "valid_" not in text_of(error):
        return ""
    return (
        "A callback looks at the net's own validation part, and train_split=None sets none aside: "
        "give train_split=skorch.dataset.ValidSplit(5), or let it monitor 'train_loss'."
    )


def of_classes(probe: Probe) -> str:
    """Return a message if the targets have classes that the module has no outputs for."""
    n_classes = probe.n_classes
    if n_classes is None:
        return ""
    labels = probe.criterion_args[1].detach()
    labels = labels[labels != probe.net.criterion_.ignore_index]
    if not len(labels) or (labels.min() >= 0 and labels.max() < n_classes):
        return ""
    low, high = int(labels.min()), int(labels.max())
    return (
        f"The module returns {n_classes} outputs for a row, which stand for the classes 0 to "
        f"{n_classes - 1}, and y has classes from {low} to {high}. Give the module as many "
        "outputs as there are classes, and number these from 0."
    )


def of_probabilities(net: Any, scoring: Scoring, X: Any) -> str:
    """Return a message if a scorer on probabilities would get other numbers."""
    scorers = {
        name: method
        for name, scorer in scoring.scorers().items()
        if "predict_proba" in (method := asked_methods(scorer))
    }
    if not scorers or not is_classifier(net) or hasattr(net, "decision_function"):
        return ""
    try:
        values = np.asarray(net.predict_proba(X), dtype=float)
    except Exception:
        return ""
    if values.ndim != 2 or values.shape[1] < 2 or not np.isfinite(values).all():
        return ""
    if _are_probabilities(values) or (values.shape[1] == 2 and _in_the_same_order(values)):
        return ""
    return _no_probabilities(net, values, next(iter(scorers)))


def _no_probabilities(net: Any, values: np.ndarray, scorer: str) -> str:
    """Return a message that ``predict_proba`` returns no probabilities, and what to do."""
    named = "" if scorer == "score" else f" '{scorer}'"
    return (
        f"The scorer{named} takes probabilities, and predict_proba of {type(net).__name__} "
        f"returns numbers from {values.min():.3g} to {values.max():.3g}: skorch knows of no "
        f"softmax that belongs to the criterion {_criterion(net)}. Set "
        "predict_nonlinearity=torch.nn.Softmax(dim=-1) for a module that returns logits, or "
        "choose a scorer on predictions."
    )


def _are_probabilities(values: np.ndarray) -> bool:
    inside = values.min() >= -_TOLERANCE and values.max() <= 1 + _TOLERANCE
    return bool(inside and np.abs(values.sum(axis=1) - 1).max() <= 10 * _TOLERANCE)


def _in_the_same_order(values: np.ndarray) -> bool:
    """Return whether the second column sorts the rows as its probability would."""
    margin = values[:, 1] - values[:, 0]
    order = np.argsort(values[:, 1], kind="stable")
    return bool((np.diff(margin[order]) >= -1e-6 * (1 + np.abs(margin).max())).all())


def of_scores(scores: Mapping[str, float], net: Any, labels: Any, name: str) -> str:
    """Return why a score is nan, if it will be nan whatever the net predicts."""
    bad = [key for key, value in scores.items() if math.isnan(value)]
    if not bad or not is_classifier(net) or not isinstance(labels, np.ndarray) or labels.ndim != 1:
        return ""
    classes = np.unique(labels)
    if len(classes) != 1:
        return ""
    return (
        f"The score '{bad[0]}' of {name} is nan: its validation part has only one class "
        f"({classes[0]!r}). Use a stratified splitter, fewer folds or another scorer."
    )


def of_last_batch(net: Any, probe: Probe, size: int, name: str) -> str:
    """Return a message if the net fails on the last batch of ``size`` rows (0: a full batch)."""
    if not size:
        return ""
    try:
        batch = cut_batch(probe.batch, size, get_len(probe.batch))
    except (ValueError, TypeError):
        return ""
    try:
        net.train_step(batch)
    except Exception as error:
        message = " ".join(str(error).split())
        loader = probe.loader
        rows = "one row" if size == 1 else f"{size} rows"
        reason = (
            "batch normalization cannot learn from one row"
            if "more than 1 value per channel" in message
            else f"the net fails on it with {type(error).__name__}: {message}"
        )
        return (
            f"{name.capitalize()} trains on {len(loader.dataset)} rows, so that the last of its "
            f"batches of {loader.batch_size} has {rows}, and {reason}. Set "
            "iterator_train__drop_last=True, or another batch_size."
        )
    return ""


def of_rows(probe: Probe) -> str:
    """Return what is wrong with the last training batch."""
    return _out_of_range(probe.net, probe)


def of_nan(name: str, losses: Sequence[float], bad: np.ndarray, part: Any) -> str:
    """Return a message if NaN in the data makes the loss NaN.

    Parameters
    ----------
    name : {"X", "y"}
    losses : sequence of float
        Losses of a batch without and of one with NaN.
    bad : ndarray of bool
        Which rows of the part contain NaN.
    part : Part
    """
    loss_without_nan, loss = losses
    if not math.isfinite(loss_without_nan) or math.isfinite(loss):
        return ""
    message = (
        f"{name} holds NaN in {int(bad.sum())} of the {len(bad)} rows that {part.name} trains on"
    )
    if name == "y":
        return f"{message}, and the loss is nan with them. Leave these rows out."
    return (
        f"{message}, and the net answers them with NaN. Impute inside the folds: "
        "Pipeline([('impute', SimpleImputer()), ('net', net)])."
    )


def note_on(net: Any, probe: Probe) -> str:
    """Return a note on what may be a mistake but may be intended."""
    if (
        type(getattr(net, "criterion_", None)) not in _POINTWISE
        or len(probe.first_criterion_args) < 2
    ):
        return ""
    output, target = probe.first_criterion_args[:2]
    if output.shape == target.shape or output.ndim != target.ndim:
        return ""
    return (
        f"{_criterion(net)} broadcasts a target of shape {tuple(target.shape)} to an output of "
        f"shape {tuple(output.shape)}: if that is not meant, give the module as many outputs as "
        "y has columns."
    )


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) and output else output


def _criterion(net: Any) -> str:
    return type(getattr(net, "criterion_", None)).__name__


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-7)
