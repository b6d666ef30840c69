"""What hpo's own nets make of their data, as far as a batch of trials can have it."""

from typing import Any

import torch

from hpo.fused import NotFusibleError
from hpo.nets.casting import CastingMixin, LabelEncodingMixin, TargetShapeMixin
from hpo.training.random_stream import RandomStream

__all__ = ["cast", "check_target"]


def cast(net: Any, data: torch.Tensor) -> torch.Tensor:
    """Return rows as the module of ``net`` is given them."""
    casts = isinstance(net, CastingMixin) and data.dtype == torch.float64
    return data.float() if casts else data


def check_target(net: Any, X: torch.Tensor, y: torch.Tensor) -> None:
    """Raise `NotFusibleError` if ``net``, initialized, makes something else of ``y``.

    Parameters
    ----------
    net : skorch net
    X, y : tensor of shape (n_samples, ...)
    """
    if not isinstance(net, CastingMixin):
        return
    own: Any = net
    if any(weight.dtype == torch.float64 for weight in own.module_.parameters()):
        raise NotFusibleError("the module has weights in float64")
    with RandomStream(0).active():
        output = own.forward(X[:2].cpu())
    output = output[0] if isinstance(output, tuple) else output
    if isinstance(net, TargetShapeMixin) and output.shape[1:] != y.shape[1:]:
        raise NotFusibleError(
            f"y has the shape {tuple(y.shape)} and the module returns (n_samples, "
            f"{', '.join(map(str, output.shape[1:]))}): give y in that shape"
        )
    if isinstance(net, LabelEncodingMixin) and not _places(y, output):
        raise NotFusibleError(
            "the labels are not 0 to k - 1, and so encoded by the net: give them encoded "
            "(sklearn.preprocessing.LabelEncoder)"
        )


def _places(y: torch.Tensor, output: torch.Tensor) -> bool:
    """Return whether labels are places of outputs; probabilities of the classes are not asked."""
    if y.ndim == output.ndim and y.shape[1:] == output.shape[1:]:
        return True
    whole = y.dtype != torch.bool and not y.is_floating_point()
    held = whole and y.ndim == output.ndim - 1 and y.min() >= 0 and y.max() < output.shape[1]
    return bool(held)
