"""Formulas for torch's losses, value by value: those of `torch.nn.functional` mix samples up.

They do so under two vmaps, if outputs differ between models and targets do not.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hpo.fused.errors import NotFusibleError

__all__ = ["LOSSES", "Loss", "Values"]

Tensors = Mapping[str, torch.Tensor]

Values = tuple[torch.Tensor, torch.Tensor | None]
"""Losses of shape (n_samples, ...), and weights of samples in the mean; None if all are 1."""

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Tensors], Values]
"""A function of outputs, targets, label smoothing, and a criterion's weights by name."""


# -- of classes ---------------------------------------------------------------------------------


def _one_hot(y: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return one-hot classes by a comparison, as torch's `one_hot` depends on values of y."""
    if like.ndim != 2 or y.ndim != 1:
        raise NotFusibleError(
            f"the classes in y have the shape {_shape(y)} and the module returns {_shape(like)}: "
            "one class a row and one output a class are known"
        )
    return (y.unsqueeze(-1) == torch.arange(like.shape[-1], device=y.device)).to(like.dtype)


def _class_loss(logs: torch.Tensor, y: torch.Tensor, smoothing: Any, tensors: Tensors) -> Values:
    """Return the cross-entropy; its mean is weighted by the classes (Szegedy et al. 2016)."""
    one_hot = _one_hot(y, logs)
    target = one_hot * (1.0 - smoothing) + smoothing / logs.shape[-1]
    if "weight" not in tensors:
        return -(target * logs).sum(-1), None
    weight = _weight_of_classes(tensors, logs)
    return -(target * weight * logs).sum(-1), (one_hot * weight).sum(-1)


def _weight_of_classes(tensors: Tensors, out: torch.Tensor) -> torch.Tensor:
    weight = tensors["weight"]
    if weight.shape != out.shape[1:]:
        raise NotFusibleError(
            f"the criterion's weight has the shape {tuple(weight.shape)} and the module returns "
            f"{_shape(out)}"
        )
    return weight


def _cross_entropy(criterion: Any) -> Loss:
    return lambda out, y, smoothing, tensors: _class_loss(
        torch.log_softmax(out, -1), y, smoothing, tensors
    )


def _nll(criterion: Any) -> Loss:
    return lambda out, y, smoothing, tensors: _class_loss(out, y, 0.0, tensors)


def _multi_margin(criterion: Any) -> Loss:
    margin, p = float(criterion.margin), int(criterion.p)

    def loss(out: torch.Tensor, y: torch.Tensor, smoothing: Any, tensors: Tensors) -> Values:
        one_hot = _one_hot(y, out)
        hinge = torch.relu(margin - (out * one_hot).sum(-1, keepdim=True) + out) * (1 - one_hot)
        if p == 2:
            hinge = hinge.square()
        if "weight" in tensors:
            hinge = hinge * (one_hot * _weight_of_classes(tensors, out)).sum(-1, keepdim=True)
        return hinge.mean(-1), None

    return loss


# -- of numbers ---------------------------------------------------------------------------------


def _elementwise(
    loss: Callable[[torch.Tensor, torch.Tensor, Tensors], torch.Tensor],
) -> Loss:
    """Return a loss that compares each output with its own target value."""

    def values(out: torch.Tensor, y: torch.Tensor, smoothing: Any, tensors: Tensors) -> Values:
        if out.shape != y.shape:  # torch would broadcast: each row is compared with all others
            raise NotFusibleError(
                f"y has the shape {_shape(y)} and the module returns {_shape(out)}: give y in "
                "that shape"
            )
        for name, weight in tensors.items():
            _check_row_weight(name, weight, out)
        return loss(out, y.to(out.dtype), tensors), None

    return values


def _check_row_weight(name: str, weight: torch.Tensor, out: torch.Tensor) -> None:
    """Raise `NotFusibleError` unless a weight is the same for every row of a minibatch."""
    out_shape = tuple(out.shape[1:])
    leading = weight.shape[: max(weight.ndim - len(out_shape), 0)]
    trailing = weight.shape[weight.ndim - min(weight.ndim, len(out_shape)) :]
    fits = all(a in {1, b} for a, b in zip(reversed(trailing), reversed(out_shape), strict=False))
    if weight.ndim > out.ndim or any(size != 1 for size in leading) or not fits:
        raise NotFusibleError(
            f"the criterion's {name} has the shape {tuple(weight.shape)}: not one value for each "
            f"of a row's outputs, of which the module returns {_shape(out)}"
        )


def _squared(criterion: Any) -> Loss:
    return _elementwise(lambda out, y, tensors: (out - y).square())


def _absolute(criterion: Any) -> Loss:
    return _elementwise(lambda out, y, tensors: (out - y).abs())


def _smooth(criterion: Any) -> Loss:
    beta = float(criterion.beta)
    if beta == 0:
        return _absolute(criterion)

    def loss(out: torch.Tensor, y: torch.Tensor, tensors: Tensors) -> torch.Tensor:
        size = (out - y).abs()
        return torch.where(size < beta, 0.5 * size.square() / beta, size - 0.5 * beta)

    return _elementwise(loss)


def _huber(criterion: Any) -> Loss:
    delta = float(criterion.delta)

    def loss(out: torch.Tensor, y: torch.Tensor, tensors: Tensors) -> torch.Tensor:
        size = (out - y).abs()
        return torch.where(size <= delta, 0.5 * size.square(), delta * (size - 0.5 * delta))

    return _elementwise(loss)


_NO_THRESHOLD = 40.0
"""Above it, softplus equals its input to the last bit of float64."""


def _logistic(criterion: Any) -> Loss:
    def loss(out: torch.Tensor, y: torch.Tensor, tensors: Tensors) -> torch.Tensor:
        minus_log = F.softplus(-out, threshold=_NO_THRESHOLD)
        if "pos_weight" in tensors:
            minus_log = (1 + (tensors["pos_weight"] - 1) * y) * minus_log
        return ((1 - y) * out + minus_log) * tensors.get("weight", 1.0)

    return _elementwise(loss)


def _soft_margin(criterion: Any) -> Loss:
    return _elementwise(lambda out, y, tensors: F.softplus(-y * out, threshold=_NO_THRESHOLD))


class _BinaryCrossEntropy(torch.autograd.Function):
    """Binary cross-entropy with torch's limits for the logarithms and for the gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -(y * p.log().clamp(min=-100) + (1 - y) * (-p).log1p().clamp(min=-100))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        p, y = ctx.saved_tensors
        return gradients[0] * (p - y) / ((1 - p) * p).clamp(min=1e-12), None


def _binary(criterion: Any) -> Loss:
    def loss(out: torch.Tensor, y: torch.Tensor, tensors: Tensors) -> torch.Tensor:
        values: torch.Tensor = _BinaryCrossEntropy.apply(out, y)
        return values * tensors.get("weight", 1.0)

    return _elementwise(loss)


def _poisson(criterion: Any) -> Loss:
    logs, full, eps = bool(criterion.log_input), bool(criterion.full), float(criterion.eps)

    def loss(out: torch.Tensor, y: torch.Tensor, tensors: Tensors) -> torch.Tensor:
        value = out.exp() - y * out if logs else out - y * (out + eps).log()
        if full:  # Stirling's approximation of the logarithm of y!
            above = y.clamp(min=1)
            rest = above * above.log() - above + 0.5 * (2 * math.pi * above).log()
            value = value + torch.where(y > 1, rest, 0.0)
        return value

    return _elementwise(loss)


LOSSES: Mapping[type[nn.Module], Callable[[Any], Loss]] = {
    nn.CrossEntropyLoss: _cross_entropy,
    nn.NLLLoss: _nll,
    nn.MultiMarginLoss: _multi_margin,
    nn.MSELoss: _squared,
    nn.L1Loss: _absolute,
    nn.SmoothL1Loss: _smooth,
    nn.HuberLoss: _huber,
    nn.BCEWithLogitsLoss: _logistic,
    nn.BCELoss: _binary,
    nn.SoftMarginLoss: _soft_margin,
    nn.PoissonNLLLoss: _poisson,
}
"""Functions that make the loss of a criterion from its settings, by the criterion's class."""


def _shape(data: torch.Tensor) -> str:
    return f"(n_samples{''.join(f', {n}' for n in data.shape[1:])})"
