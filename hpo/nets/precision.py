"""Mixed precision, as a parameter to search over."""

from collections.abc import Mapping
from typing import Any

import torch
from skorch.dataset import unpack_data

from hpo._discovery import did_you_mean
from hpo._skorch_parts import set_training, zero_grad

__all__ = ["PrecisionMixin"]

PRECISIONS: Mapping[str, torch.dtype | None] = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class PrecisionMixin:
    """Computes the outputs of a net's module in float32, bfloat16 or float16.

    Put it before a skorch net in the bases of a class. Weights, losses, gradients and the
    optimizer stay in float32; matrix products and convolutions of the module are computed in the
    shorter type (`torch.autocast`), in training and in prediction, and outputs are returned in
    float32. float16 has small exponents: the loss is multiplied by a factor before its gradients
    are computed, which is adapted so that they do not underflow, and steps whose gradients overflow
    are left out (`torch.amp.GradScaler`; Micikevicius et al. 2018, *Mixed precision training*).
    Callbacks, as those that clip, see the gradients without the factor.

    Whether a shorter type is faster depends on the device and the sizes; on a CPU without
    instructions for it, bfloat16 is slower than float32.

    Parameters
    ----------
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        float16 needs a CUDA device, bfloat16 a CPU or a CUDA device that supports it.
    *args, **kwargs
        Arguments of the skorch net.
    """

    def __init__(self, *args: Any, precision: str = "float32", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.precision = precision

    def initialize(self) -> Any:
        """Build the net.

        Raises
        ------
        ValueError
            If the precision is unknown, or the device does not support it.
        """
        if self.precision not in PRECISIONS:
            hint = did_you_mean(str(self.precision), PRECISIONS) or "."
            raise ValueError(
                f"precision must be one of: {', '.join(PRECISIONS)}. "
                f"Got {self.precision!r} instead{hint}"
            )
        kind = self._device_kind()
        if self.precision == "float16":
            self._check_float16(kind)
        if self.precision == "bfloat16" and not _has_bfloat16(kind):
            raise ValueError(
                "precision='bfloat16' needs a CPU, or a CUDA device that supports it. "
                f"Got device={self.device!r}. "  # type: ignore[attr-defined]
                "Use precision='float32'."
            )
        self.scaler_ = torch.amp.GradScaler(kind) if self.precision == "float16" else None
        return super().initialize()  # type: ignore[misc]

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Return the module's output for a batch, in float32."""
        dtype = PRECISIONS[self.precision]
        if dtype is None:
            return super().infer(x, **fit_params)  # type: ignore[misc]
        with torch.autocast(self._device_kind(), dtype=dtype):
            output = super().infer(x, **fit_params)  # type: ignore[misc]
        return _in_float32(output, dtype)

    def train_step(self, batch: Any, **fit_params: Any) -> Any:
        """Make the optimizer step of a batch; in float16, with a factor for the loss."""
        scaler = self.scaler_
        if scaler is None:
            return super().train_step(batch, **fit_params)  # type: ignore[misc]
        net: Any = self
        set_training(net, True)
        zero_grad(net)
        Xi, yi = unpack_data(batch)
        y_pred = net.infer(Xi, **fit_params)
        loss = net.get_loss(y_pred, yi, X=Xi, training=True)
        scaler.scale(loss).backward()
        scaler.unscale_(net.optimizer_)
        net.notify(
            "on_grad_computed",
            named_parameters=list(net.get_all_learnable_params()),
            batch=batch,
            training=True,
        )
        scaler.step(net.optimizer_)
        scaler.update()
        return {"loss": loss, "y_pred": y_pred}

    def _check_float16(self, kind: str) -> None:
        if kind != "cuda":
            raise ValueError(
                "precision='float16' needs a CUDA device. "
                f"Got device={self.device!r}. "  # type: ignore[attr-defined]
                "Use precision='bfloat16' or 'float32' here."
            )
        if getattr(self, "gradient_accumulation_steps", 1) > 1:
            raise ValueError(
                "precision='float16' cannot be combined with gradient_accumulation_steps above 1. "
                "Use precision='bfloat16'."
            )

    def _device_kind(self) -> str:
        return str(torch.device(self.device).type)  # type: ignore[attr-defined]


def _has_bfloat16(kind: str) -> bool:
    return kind == "cpu" or (kind == "cuda" and torch.cuda.is_bf16_supported())


def _in_float32(output: Any, dtype: torch.dtype) -> Any:
    if isinstance(output, tuple):
        return tuple(_in_float32(part, dtype) for part in output)
    if isinstance(output, torch.Tensor) and output.dtype == dtype:
        return output.float()
    return output
