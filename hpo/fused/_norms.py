"""Batch normalization for a batch of models, whose minibatches may be padded."""

from typing import Any

import torch
from torch import nn

__all__ = ["ReturnedBatchNorm"]


class ReturnedBatchNorm(nn.Module):
    """Batch normalization that writes its statistics to a sink and ignores padded samples."""

    running_mean: torch.Tensor
    running_var: torch.Tensor
    mask: torch.Tensor

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.register_buffer("running_mean", layer.running_mean)
        self.register_buffer("running_var", layer.running_var)
        self.register_buffer("mask", torch.ones(()), persistent=False)
        self.eps = layer.eps
        self.sink: dict[str, torch.Tensor] | None = None
        self.name = ""

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``X`` normalized: by the batch in training, else by the running statistics."""
        input_dtype, X = X.dtype, X.to(self.running_mean.dtype)  # statistics are never bfloat16
        shape = (1, -1) + (1,) * (X.ndim - 2)
        if self.training:
            scaled = self._normalize_by_batch(X)
        else:
            rstd = torch.rsqrt(self.running_var + self.eps)
            scaled = (X - self.running_mean.reshape(shape)) * rstd.reshape(shape)
        if self.weight is None:
            return scaled.to(input_dtype)
        shifted: torch.Tensor = scaled * self.weight.reshape(shape) + self.bias.reshape(shape)
        return shifted.to(input_dtype)

    def _normalize_by_batch(self, X: torch.Tensor) -> torch.Tensor:
        mask = self.mask.reshape((-1,) + (1,) * (X.ndim - 1))
        n = self.mask.sum() * X[0, 0].numel()
        scaled, mean, var = _Normalized.apply(X, mask, n, self.eps)
        assert self.sink is not None
        self.sink[f"{self.name}.running_mean"] = mean
        self.sink[f"{self.name}.running_var"] = var * n / (n - 1)
        return scaled  # type: ignore[no-any-return]


class _Normalized(torch.autograd.Function):
    """Normalizes channels over the ``n`` samples that the mask selects.

    The gradient is in closed form (Ioffe and Szegedy 2015, "Batch Normalization", section 3): that
    of the single operations passes over the data three times as often.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        X: torch.Tensor, mask: torch.Tensor, n: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        axes, shape = (0, *range(2, X.ndim)), (1, -1) + (1,) * (X.ndim - 2)
        mean = (X * mask).sum(axes) / n
        centred = X - mean.reshape(shape)
        var = (centred * mask).square().sum(axes) / n
        return centred * torch.rsqrt(var + eps).reshape(shape), mean, var

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, mask, n, eps = inputs
        scaled, _, var = output
        ctx.eps = eps
        ctx.save_for_backward(scaled, mask, n, var)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        scaled, mask, n, var = ctx.saved_tensors
        g = gradients[0]  # the statistics need no gradient; for padded samples it is 0
        axes, shape = (0, *range(2, g.ndim)), (1, -1) + (1,) * (g.ndim - 2)
        mean_grad = (g.sum(axes) / n).reshape(shape)
        scale_grad = ((g * scaled).sum(axes) / n).reshape(shape)
        rstd = torch.rsqrt(var + ctx.eps).reshape(shape)
        return rstd * (g - mask * (mean_grad + scaled * scale_grad)), None, None, None
