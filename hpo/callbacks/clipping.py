"""Gradient clipping by norm or by value, as parameters to search over."""

import math
from typing import Any

import torch
from skorch.callbacks import Callback
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from hpo._discovery import did_you_mean

__all__ = ["GradientClipping"]

KINDS = ("none", "norm", "value")


class GradientClipping(Callback):  # type: ignore[misc]  # skorch has no types
    """Clips the gradients of each step (Pascanu, Mikolov and Bengio 2013, section 3.2).

    With every kind, the history records ``grad_norm`` for each epoch: the mean over its batches of
    the norm of all gradients as one vector, before clipping. ``grad_norm_max`` is the maximum.

    Parameters
    ----------
    kind : {"none", "norm", "value"}, default="none"
        ``norm`` scales the vector of all gradients down to ``max_norm``; ``value`` clips each
        number to ``-max_value`` … ``max_value``; ``none`` does nothing.
    max_norm : float, default=1.0
        Maximum norm, greater than 0.
    max_value : float, default=0.1
        Maximum absolute value, greater than 0.
    """

    def __init__(
        self, kind: str = "none", *, max_norm: float = 1.0, max_value: float = 0.1
    ) -> None:
        self.kind = kind
        self.max_norm = max_norm
        self.max_value = max_value

    def initialize(self) -> "GradientClipping":
        """Check the parameters.

        Raises
        ------
        ValueError
            If a parameter is out of its range.
        """
        if self.kind not in KINDS:
            hint = did_you_mean(str(self.kind), KINDS) or "."
            raise ValueError(
                f"The kind of GradientClipping must be one of: {', '.join(KINDS)}. "
                f"Got {self.kind!r} instead{hint}"
            )
        for name in ("max_norm", "max_value"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(
                    f"GradientClipping's {name} must be greater than 0. Got {value!r} instead."
                )
        self.norms_: list[torch.Tensor] = []
        return self

    def on_grad_computed(
        self, net: Any, named_parameters: Any, training: bool = False, **kwargs: Any
    ) -> None:
        """Compute the norm of the gradients and clip them."""
        parameters = [parameter for _, parameter in named_parameters]
        limit = self.max_norm if self.kind == "norm" else math.inf
        self.norms_.append(clip_grad_norm_(parameters, limit))
        if self.kind == "value":
            clip_grad_value_(parameters, self.max_value)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Record the norms of this epoch."""
        if self.norms_:
            norms = torch.stack(self.norms_)
            net.history.record("grad_norm", norms.mean().item())
            net.history.record("grad_norm_max", norms.max().item())
            self.norms_ = []
