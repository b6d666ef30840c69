"""A plain convolutional net."""

import math

import torch
from torch import nn

from hpo.modules._layers import (
    ACTIVATIONS,
    NORMS,
    check_at_least,
    check_choice,
    check_rate,
    conv_norm,
    flat_norm,
    with_weight_norm,
)

__all__ = ["CNN"]

POOLINGS = ("max", "avg", "stride")
PLACES = ("conv", "head", "both")


class CNN(nn.Module):
    """Blocks of convolutions that each halve the image, and a head of linear layers.

    A convolution keeps the size of its map and is followed by a normalization and the activation.
    Each block has twice the filters of the one before.

    Parameters
    ----------
    n_classes : int
        Number of outputs for each sample, at least 1.
    in_channels : int, default=1
        Number of channels of an image, at least 1.
    image_size : int, default=28
        Height and width of an image in pixels.
    n_blocks : int, default=2
        Number of blocks, at least 1. ``image_size`` must be 2 ** n_blocks or more.
    convs_per_block : int, default=1
        Number of convolutions in a block, at least 1.
    filters : int, default=16
        Number of filters in the first block, at least 1.
    kernel_size : int, default=3
        Size of the kernels; it must be odd.
    pooling : {"max", "avg", "stride"}, default="max"
        How the image is halved at the end of a block: the maximum or the mean of 2 x 2 positions,
        or a last convolution with a stride of two.
    norm : {"none", "batch", "layer", "group", "instance", "rms", "weight"}, default="none"
        ``layer`` normalizes over the whole map of a sample, ``rms`` over the channels at each
        position. ``group`` has ``groups`` groups of channels.
    groups : int, default=8
        Number of groups of ``norm="group"``, at least 1; the greatest common divisor of that and
        the channels where it does not divide them.
    head_norm : {"none", "batch", "layer", "group", "instance", "rms", "weight"}, default="none"
        Normalization of the head's hidden layer, before its activation; see `MLP`.
    dropout : float, default=0.0
        Probability of dropout, from 0 to below 1.
    dropout_place : {"conv", "head", "both"}, default="head"
        Whether dropout applies to whole channels after each block (Tompson et al. 2015, section
        3.2), to units before each linear layer, or to both.
    input_norm : bool, default=False
        Whether to subtract the mean of each channel and divide by its deviation: those of the batch
        in training, and their moving averages in prediction.
    hidden_units : int, default=64
        Width of the head's hidden layer; 0 means no hidden layer.
    activation : {"elu", "gelu", "leaky_relu", "relu", "silu", "tanh"}, default="relu"

    Raises
    ------
    ValueError
        If an argument is out of its range, or the image is too small for ``n_blocks``.
    """

    def __init__(
        self,
        n_classes: int,
        in_channels: int = 1,
        image_size: int = 28,
        *,
        n_blocks: int = 2,
        convs_per_block: int = 1,
        filters: int = 16,
        kernel_size: int = 3,
        pooling: str = "max",
        norm: str = "none",
        groups: int = 8,
        head_norm: str = "none",
        dropout: float = 0.0,
        dropout_place: str = "head",
        input_norm: bool = False,
        hidden_units: int = 64,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        check_at_least(self, 1, n_classes=n_classes, in_channels=in_channels, filters=filters)
        check_at_least(self, 1, n_blocks=n_blocks, convs_per_block=convs_per_block)
        check_at_least(self, 1, groups=groups)
        check_at_least(self, 0, hidden_units=hidden_units)
        check_choice(self, "pooling", pooling, POOLINGS)
        check_choice(self, "norm", norm, NORMS)
        check_choice(self, "head_norm", head_norm, NORMS)
        check_choice(self, "dropout_place", dropout_place, PLACES)
        check_choice(self, "activation", activation, ACTIVATIONS)
        check_rate(self, "dropout", dropout)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"The kernel_size of CNN must be odd. Got {kernel_size!r} instead.")
        # Instance norm is meaningless on a map of one position.
        _check_size(image_size, n_blocks, 2 if (pooling, norm) == ("stride", "instance") else 1)
        self.image = (in_channels, image_size, image_size)
        layers: list[nn.Module] = []
        if input_norm:
            layers += [nn.BatchNorm2d(in_channels, affine=False)]
        size, channels, out = image_size, in_channels, filters
        for _ in range(n_blocks):
            for i in range(convs_per_block):
                halves = pooling == "stride" and i == convs_per_block - 1
                stride = 2 if halves else 1
                convolution = nn.Conv2d(channels, out, kernel_size, stride, kernel_size // 2)
                layers += [with_weight_norm(norm, convolution), *conv_norm(norm, out, groups)]
                layers += [ACTIVATIONS[activation]()]
                channels = out
            if pooling != "stride":
                layers += [nn.MaxPool2d(2) if pooling == "max" else nn.AvgPool2d(2)]
            layers += [nn.Dropout2d(dropout if dropout_place != "head" else 0.0)]
            size, out = (size + 1) // 2 if pooling == "stride" else size // 2, 2 * out
        # With this memory layout a convolution takes two thirds of the time on a CPU.
        self.conv = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        rate = dropout if dropout_place != "conv" else 0.0
        width = channels * size * size
        hidden: list[nn.Module] = []
        if hidden_units:
            hidden = [
                nn.Dropout(rate),
                with_weight_norm(head_norm, nn.Linear(width, hidden_units)),
                *flat_norm(head_norm, hidden_units, groups),
                ACTIVATIONS[activation](),
            ]
        last = nn.Linear(hidden_units or width, n_classes)
        self.head = nn.Sequential(*hidden, nn.Dropout(rate), last)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the logits for ``X``.

        Parameters
        ----------
        X : tensor of shape (n_samples, in_channels, image_size, image_size)
            Each image may also be a flat row, channels first.

        Returns
        -------
        tensor of shape (n_samples, n_classes)
        """
        logits: torch.Tensor = self.head(self.conv(X.reshape(len(X), *self.image)).flatten(1))
        return logits


def _check_size(image_size: int, n_blocks: int, minimum: int) -> None:
    """Raise ValueError unless ``minimum`` pixels, rounded up, remain on each side."""

    def fits(n: int) -> bool:
        remaining = image_size / (1 << n)
        return remaining >= 1 and math.ceil(remaining) >= minimum

    if not fits(n_blocks):
        max_blocks = max(filter(fits, range(n_blocks)), default=0)
        raise ValueError(
            f"CNN halves images of {image_size} pixels {n_blocks} times, and too little is left of "
            f"them: make n_blocks at most {max_blocks}, or give larger images."
        )
