"""Dropout with its noise as input, so that it can be replayed for one model alone."""

from collections.abc import Mapping

import torch
from torch import nn

from hpo.fused.errors import NotFusibleError

__all__ = ["DROPOUTS", "ReplayedDropout", "buffer_of", "call_name", "layer_of", "noise_shape"]

DROPOUTS: Mapping[type[nn.Module], int | None] = {
    nn.Dropout: None,
    nn.Dropout1d: 1,
    nn.Dropout2d: 1,
    nn.Dropout3d: 1,
}
"""Dropout layers, and for how many axes after the samples' they draw; None means all."""

_N_AXES: Mapping[type[nn.Module], set[int]] = {
    nn.Dropout1d: {3},
    nn.Dropout2d: {3, 4},
    nn.Dropout3d: {5},
}
"""Numbers of axes of inputs whose first axis is that of the samples; others are refused."""


def call_name(layer: str, call: int) -> str:
    """Return the name of the draws for a layer's call in one forward; calls count from 0."""
    return layer if call == 0 else f"{layer}#{call}"


def layer_of(name: str) -> str:
    """Return the name of the layer in a `call_name`."""
    return name.partition("#")[0]


def buffer_of(name: str) -> str:
    """Return the name of the module's buffer for the noise of a `call_name`."""
    layer, _, call = name.partition("#")
    return f"{layer}.noise{call}".removeprefix(".")


class ReplayedDropout(nn.Module):
    """Dropout with its noise, uniform from 0 to 1, as input; the same for a batch of models.

    A layer that is called several times in one forward has separate noise for each call.

    Parameters
    ----------
    p : float
        The dropout rate, unless another one is written to the buffer ``keep``.
    kind : class of torch.nn, default=torch.nn.Dropout
        Class of the layer that it replaces, a key of `DROPOUTS`.
    inplace : bool, default=False
        Whether its input is changed in place.
    """

    keep: torch.Tensor
    noise: torch.Tensor

    def __init__(self, p: float, kind: type[nn.Module] = nn.Dropout, inplace: bool = False) -> None:
        super().__init__()
        self.kind, self.inplace = kind, inplace
        self.call = 0
        """Index of the next call in this forward; see `hpo.fused._leaves.replay_dropout`."""
        self.register_buffer("keep", torch.tensor(1.0 - p, dtype=torch.float64))
        self.register_buffer("noise", torch.zeros(()))

    @classmethod
    def of(cls, layer: nn.Module, p: float) -> "ReplayedDropout":
        """Return a replacement for a dropout layer of torch."""
        return cls(p, type(layer), bool(layer.inplace))

    def noise_shape(self, X: torch.Tensor) -> tuple[int, ...]:
        """Return the shape of the noise for one sample of the input ``X``."""
        return noise_shape(X, self.kind)

    def release(self) -> None:
        """End what a forward that did not end has left on; a layer leaves nothing."""

    def add_buffers(self, n_calls: int) -> None:
        """Register buffers for the noise of ``n_calls`` calls."""
        for call in range(1, n_calls):
            if not hasattr(self, f"noise{call}"):
                self.register_buffer(f"noise{call}", torch.zeros_like(self.noise))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``X`` with some entries set to 0, in training."""
        return self._dropped(X, self.keep, self.inplace) if self.training else X

    def _dropped(self, X: torch.Tensor, keep: torch.Tensor, inplace: bool) -> torch.Tensor:
        noise = self._noise_of_this_call()
        noise = noise.reshape(noise.shape + (1,) * (X.ndim - noise.ndim))
        # Under autocast X is bfloat16, and vmap promotes types differently from torch.
        out = torch.where(noise < keep, X.to(keep.dtype) / keep, 0.0).to(X.dtype)
        return X.copy_(out) if inplace else out

    def _noise_of_this_call(self) -> torch.Tensor:
        noise = getattr(self, f"noise{self.call or ''}", None)
        self.call += 1
        if noise is None:
            raise NotFusibleError(
                f"a dropout layer is called {self.call} times in one forward, and fewer times in "
                "another one"
            )
        call_noise: torch.Tensor = noise
        return call_noise


def noise_shape(X: torch.Tensor, kind: type[nn.Module]) -> tuple[int, ...]:
    """Return the shape of the noise for one sample of the input ``X`` of a layer of ``kind``."""
    if X.ndim not in _N_AXES.get(kind, {X.ndim}):
        raise NotFusibleError(f"a {kind.__name__} is given {X.ndim} axes")
    return tuple(X.shape[1:][: DROPOUTS[kind]])
