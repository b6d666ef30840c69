"""Conversion of data as hpo's own nets do it, for a batch of trials."""

from typing import Any

import torch

from hpo.fused import NotFusibleError
from hpo.nets.casting import CastingMixin, LabelEncodingMixin, TargetShapeMixin
from hpo.training.random_stream import RandomStream

__all__ = ["cast", "cast_target", "check_target", "in_shape_of_target", "set_target"]


def cast(net: Any, data: torch.Tensor) -> torch.Tensor:
    """Return rows in the type in which the module of ``net`` is given them."""
    casts = isinstance(net, CastingMixin) and data.dtype == torch.float64
    return data.float() if casts else data


def cast_target(net: Any, y: torch.Tensor) -> torch.Tensor:
    """Return targets in the type that ``net`` converts them to, for a module of float32."""
    converts = not y.is_floating_point() or y.dtype == torch.float64
    return y.float() if isinstance(net, TargetShapeMixin) and converts else y


def in_shape_of_target(net: Any, values: torch.Tensor, target_ndim: int) -> torch.Tensor:
    """Return predictions of many models in the shape in which ``net`` returns them.

    Parameters
    ----------
    net : skorch net
    values : tensor of shape (n_folds, n_models, n_samples, ...)
    target_ndim : int
        Number of axes of y.
    """
    if not isinstance(net, TargetShapeMixin):
        return values
    ndim = values.ndim - 2
    if target_ndim == 1 and ndim == 2 and values.shape[-1] == 1:
        return values[..., 0]
    return values.unsqueeze(-1) if target_ndim == 2 and ndim == 1 else values


def set_target(net: Any, target_ndim: int) -> None:
    """Make a net that was not fitted predict as if fitted on a y with so many axes."""
    if isinstance(net, TargetShapeMixin):
        net.target_ndim_ = target_ndim


def check_target(net: Any, X: torch.Tensor, y: torch.Tensor) -> None:
    """Raise `NotFusibleError` if the initialized ``net`` would convert ``y`` differently.

    Parameters
    ----------
    net : skorch net
    X, y : tensor of shape (n_samples, ...)
    """
    if not isinstance(net, CastingMixin):
        return
    typed_net: Any = net
    if any(weight.dtype == torch.float64 for weight in typed_net.module_.parameters()):
        raise NotFusibleError("the module has weights in float64")
    with RandomStream(0).active():
        output = typed_net.forward(X[:2].cpu())
    output = output[0] if isinstance(output, tuple) else output
    if isinstance(net, TargetShapeMixin) and _wide_axes(output) != _wide_axes(y):
        raise NotFusibleError(
            f"y has the shape {tuple(y.shape)} and the module returns (n_samples, "
            f"{', '.join(map(str, output.shape[1:]))}): give y in that shape"
        )
    if isinstance(net, LabelEncodingMixin) and not _are_class_indices(y, output):
        raise NotFusibleError(
            "the labels are not 0 to k - 1, and so encoded by the net: give them encoded "
            "(sklearn.preprocessing.LabelEncoder)"
        )


def _wide_axes(data: torch.Tensor) -> list[int]:
    """Return the axes of a sample that are longer than 1; targets may differ in the others."""
    return [n for n in data.shape[1:] if n != 1]


def _are_class_indices(y: torch.Tensor, output: torch.Tensor) -> bool:
    """Return whether labels are indices of outputs; true for probabilities of the classes too."""
    if y.ndim == output.ndim and y.shape[1:] == output.shape[1:]:
        return True
    is_integer = y.dtype != torch.bool and not y.is_floating_point()
    in_range = (
        is_integer and y.ndim == output.ndim - 1 and y.min() >= 0 and y.max() < output.shape[1]
    )
    return bool(in_range)
