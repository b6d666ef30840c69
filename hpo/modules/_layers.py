"""Building blocks of the modules: activations, normalizations, checks of arguments."""

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from hpo._discovery import did_you_mean

__all__ = [
    "ACTIVATIONS",
    "NORMS",
    "check_at_least",
    "check_choice",
    "check_rate",
    "conv_norm",
    "flat_norm",
    "with_weight_norm",
]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}

NORMS = ("none", "batch", "layer", "group", "instance", "rms", "weight")
"""Normalizations of a hidden layer.

batch (Ioffe and Szegedy 2015), layer (Ba, Kiros and Hinton 2016), group (Wu and He 2018), instance
(Ulyanov, Vedaldi and Lempitsky 2016) and rms (Zhang and Sennrich 2019) normalize its outputs;
weight (Salimans and Kingma 2016) normalizes its weights.
"""


class _FlatInstanceNorm(nn.InstanceNorm1d):
    """`torch.nn.InstanceNorm1d` of a flat layer, whose units are the positions of one channel."""

    def __init__(self) -> None:
        super().__init__(1, affine=True)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return super().forward(X.unsqueeze(1)).squeeze(1)


class _ChannelRMSNorm(nn.RMSNorm):
    """`torch.nn.RMSNorm` over the channels at each position of a map."""

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return super().forward(X.movedim(1, -1)).movedim(-1, 1)


def flat_norm(kind: str, width: int, groups: int = 8) -> list[nn.Module]:
    """Return the normalization of outputs ``(n_samples, width)``: a list of one module or none.

    ``group`` has ``groups`` groups, or the greatest common divisor of that and the width.
    """
    if kind == "batch":
        return [nn.BatchNorm1d(width)]
    if kind == "layer":
        return [nn.LayerNorm(width)]
    if kind == "group":
        return [nn.GroupNorm(math.gcd(width, groups), width)]
    if kind == "instance":
        return [_FlatInstanceNorm()]
    if kind == "rms":
        return [nn.RMSNorm(width)]
    return []


def conv_norm(kind: str, channels: int, groups: int = 8) -> list[nn.Module]:
    """Return the normalization of maps ``(n_samples, channels, height, width)``.

    ``layer`` normalizes over all channels and positions of a sample (a group norm of one group),
    ``rms`` over the channels at each position. ``groups`` as in `flat_norm`.
    """
    if kind == "batch":
        return [nn.BatchNorm2d(channels)]
    if kind == "layer":
        return [nn.GroupNorm(1, channels)]
    if kind == "group":
        return [nn.GroupNorm(math.gcd(channels, groups), channels)]
    if kind == "instance":
        return [nn.InstanceNorm2d(channels, affine=True)]
    if kind == "rms":
        return [_ChannelRMSNorm(channels)]
    return []


def with_weight_norm(kind: str, layer: nn.Module) -> nn.Module:
    """Return ``layer``, with normalized weights if ``kind`` is "weight"."""
    return weight_norm(layer) if kind == "weight" else layer


def check_at_least(module: nn.Module, minimum: int, **values: int) -> None:
    """Raise ValueError if an argument of ``module`` is too small."""
    for name, value in values.items():
        if value < minimum:
            raise ValueError(
                f"The {name} of {type(module).__name__} must be at least {minimum}. "
                f"Got {value!r} instead."
            )


def check_rate(module: nn.Module, name: str, value: float) -> None:
    """Raise ValueError unless ``value`` is a dropout rate."""
    if not 0.0 <= value < 1.0:
        raise ValueError(
            f"The {name} of {type(module).__name__} must be from 0 to below 1. "
            f"Got {value!r} instead."
        )


def check_choice(module: nn.Module, name: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if value not in tuple(choices):
        hint = did_you_mean(str(value), choices) or "."
        raise ValueError(
            f"The {name} of {type(module).__name__} must be one of: {', '.join(choices)}. "
            f"Got '{value}' instead{hint}"
        )
