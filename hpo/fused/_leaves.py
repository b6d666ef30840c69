"""The user's module made fit for `torch.func.vmap`: leaves that draw or keep something, swapped.

A copy of the module is made once. Dropout layers get their noise and their rate from outside, batch
normalization returns its statistics in the place of writing them, and nothing else changes.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from hpo.fused.errors import NotFusibleError

__all__ = ["Fusible", "ReplayedDropout", "ReturnedBatchNorm", "dropout_layers"]

_DROPOUTS: Mapping[type[nn.Module], int | None] = {
    nn.Dropout: None,
    nn.Dropout1d: 1,
    nn.Dropout2d: 1,
    nn.Dropout3d: 1,
}
"""Dropout layers, and how many axes after the samples' they draw for; None is all."""

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

_REFUSED = (nn.RNNBase, nn.RNNCellBase, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU)
"""No rule of vmap, or random numbers of their own."""


class ReplayedDropout(nn.Module):
    """Dropout whose noise, uniform from 0 to 1, comes from outside; alike for a batch of models.

    Parameters
    ----------
    p : float
        The rate, unless another one is written to the buffer ``keep``.
    n_axes : int or None
        Axes after that of the samples which the noise has; the rest of them share a draw.
    """

    keep: torch.Tensor
    noise: torch.Tensor

    def __init__(self, p: float, n_axes: int | None) -> None:
        super().__init__()
        self.n_axes = n_axes
        self.register_buffer("keep", torch.tensor(1.0 - p, dtype=torch.float64))
        self.register_buffer("noise", torch.zeros(()))

    @classmethod
    def of(cls, layer: nn.Module, p: float) -> "ReplayedDropout":
        """Return one in the place of a dropout layer of torch."""
        return cls(p, _DROPOUTS[type(layer)])

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``X`` with some entries zeroed, in training."""
        if not self.training:
            return X
        noise = self.noise.reshape(self.noise.shape + (1,) * (X.ndim - self.noise.ndim))
        return torch.where(noise < self.keep, X / self.keep, 0.0)


class ReturnedBatchNorm(nn.Module):
    """Batch normalization that hands its statistics to a sink and leaves out padded samples."""

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
        shape = (1, -1) + (1,) * (X.ndim - 2)
        if self.training:
            mean, var = self._statistics(X)
        else:
            mean, var = self.running_mean, self.running_var
        scaled = (X - mean.reshape(shape)) * torch.rsqrt(var.reshape(shape) + self.eps)
        if self.weight is None:
            return scaled
        shifted: torch.Tensor = scaled * self.weight.reshape(shape) + self.bias.reshape(shape)
        return shifted

    def _statistics(self, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mask = self.mask.reshape((-1,) + (1,) * (X.ndim - 1))
        axes = (0, *range(2, X.ndim))
        places = X[0, 0].numel()
        n = self.mask.sum() * places
        mean = (X * mask).sum(axes) / n
        centred = (X - mean.reshape((1, -1) + (1,) * (X.ndim - 2))) * mask
        var = centred.square().sum(axes) / n
        assert self.sink is not None
        self.sink[f"{self.name}.running_mean"] = mean
        self.sink[f"{self.name}.running_var"] = var * n / (n - 1)
        return mean, var


class Fusible:
    """A copy of a module that a batch of models can be trained with.

    Parameters
    ----------
    module : torch.nn.Module
        Never changed.

    Attributes
    ----------
    module : torch.nn.Module
        The copy.
    dropouts : dict of str to ReplayedDropout
    momenta : dict of str to float
        Of each batch normalization: how much its running statistics take of a batch.

    Raises
    ------
    NotFusibleError
        If a layer draws random numbers or keeps a state in a way that has no swap, or if weights
        are shared between layers.
    """

    def __init__(self, module: nn.Module) -> None:
        _refuse_tied(module)
        self.module = copy.deepcopy(module)
        self.dropouts: dict[str, ReplayedDropout] = {}
        self.norms: dict[str, ReturnedBatchNorm] = {}
        self.momenta: dict[str, float] = {}
        for name, layer in list(self.module.named_modules()):
            self._swap(name, layer)

    def _swap(self, name: str, layer: nn.Module) -> None:
        if isinstance(layer, _REFUSED):
            raise NotFusibleError(f"layer '{name}' is a {type(layer).__name__}")
        if type(layer) in _DROPOUTS:
            self.dropouts[name] = ReplayedDropout.of(layer, layer.p)  # type: ignore[arg-type]
            self._put(name, self.dropouts[name])
        elif isinstance(layer, nn.MultiheadAttention) and layer.dropout:
            raise NotFusibleError(f"layer '{name}' is an attention with dropout inside")
        elif isinstance(layer, _NORMS) and layer.track_running_stats:
            if layer.momentum is None:
                raise NotFusibleError(f"layer '{name}' averages its statistics over all batches")
            self.momenta[name] = float(layer.momentum)
            self.norms[name] = ReturnedBatchNorm(layer)
            self.norms[name].name = name
            self._put(name, self.norms[name])

    def _put(self, name: str, layer: nn.Module) -> None:
        if not name:  # the module itself is the leaf
            self.module = layer
            return
        parent, _, own = name.rpartition(".")
        setattr(self.module.get_submodule(parent), own, layer)

    def collect(self, forward: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, dict[str, Any]]:
        """Return what ``forward`` returns, and the statistics of the batch by buffer name."""
        sink: dict[str, torch.Tensor] = {}
        for layer in self.norms.values():
            layer.sink = sink
        try:
            return forward(), dict(sink)
        finally:
            for layer in self.norms.values():
                layer.sink = None

    def noise_shapes(self, X: torch.Tensor) -> dict[str, tuple[int, ...]]:
        """Return the shape of each dropout layer's noise for one sample, by a forward of ``X``."""
        shapes: dict[str, tuple[int, ...]] = {}

        def look(name: str, layer: ReplayedDropout) -> Callable[..., None]:
            def hook(module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
                inner = tuple(args[0].shape[1:])
                shapes[name] = inner if layer.n_axes is None else inner[: layer.n_axes]

            return hook

        hooks = [
            layer.register_forward_pre_hook(look(name, layer))
            for name, layer in self.dropouts.items()
        ]
        self._look(X, hooks)
        return shapes

    def _look(self, X: torch.Tensor, hooks: list[RemovableHandle]) -> None:
        """Evaluate some samples for the hooks, and take these away."""
        training = self.module.training
        try:
            with torch.no_grad():
                self.module.eval()(X)
        finally:
            self.module.train(training)
            for hook in hooks:
                hook.remove()

    def output_sizes(self, X: torch.Tensor) -> list[int]:
        """Return how many numbers each layer puts out for one sample, that of the whole last."""
        sizes: list[int] = []

        def look(module: nn.Module, args: Any, out: Any) -> None:
            if isinstance(out, torch.Tensor):
                sizes.append(out.numel() // len(X))

        hooks = [
            layer.register_forward_hook(look)
            for layer in self.module.modules()
            if layer is self.module or not any(layer.children())
        ]
        self._look(X, hooks)
        return sizes


def dropout_layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the dropout layers of a user's module by name."""
    for name, layer in module.named_modules():
        if type(layer) in _DROPOUTS:
            yield name, layer


def _refuse_tied(module: nn.Module) -> None:
    seen: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        other = seen.setdefault(id(parameter), name)
        if other != name:
            raise NotFusibleError(f"'{name}' and '{other}' are one weight")
        if not parameter.requires_grad:
            raise NotFusibleError(f"'{name}' is frozen")
