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
    weighted,
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
        Outputs of each sample, at least 1.
    in_channels : int, default=1
        Channels of an image, at least 1.
    image_size : int, default=28
        Height and width of an image in pixels.
    n_blocks : int, default=2
        At least 1. ``image_size`` must be 2 ** n_blocks or more.
    convs_per_block : int, default=1
        At least 1.
    filters : int, default=16
        Of the first block's convolutions, at least 1.
    kernel_size : int, default=3
        Odd.
    pooling : {"max", "avg", "stride"}, default="max"
        What halves the image at the end of a block: the greatest or the mean of 2 x 2 places, or a
        last convolution with a stride of two.
    norm : {"none", "batch", "layer", "group", "instance", "rms", "weight"}, default="none"
        ``layer`` is over all of a sample's map, ``rms`` over the channels of each place, ``group``
        has eight groups of channels, or as many as divide them.
    dropout : float, default=0.0
        From 0 to below 1.
    dropout_place : {"conv", "head", "both"}, default="head"
        Whether it drops whole channels after each block (Tompson et al. 2015, section 3.2), units
        before each linear layer, or both.
    hidden_units : int, default=64
        Of the head's hidden layer; 0 is none.
    activation : {"elu", "gelu", "leaky_relu", "relu", "silu", "tanh"}, default="relu"

    Raises
    ------
    ValueError
        If an argument is out of its range, or nothing would be left of the image.
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
        dropout: float = 0.0,
        dropout_place: str = "head",
        hidden_units: int = 64,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        check_at_least(self, 1, n_classes=n_classes, in_channels=in_channels, filters=filters)
        check_at_least(self, 1, n_blocks=n_blocks, convs_per_block=convs_per_block)
        check_at_least(self, 0, hidden_units=hidden_units)
        check_choice(self, "pooling", pooling, POOLINGS)
        check_choice(self, "norm", norm, NORMS)
        check_choice(self, "dropout_place", dropout_place, PLACES)
        check_choice(self, "activation", activation, ACTIVATIONS)
        check_rate(self, "dropout", dropout)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"The kernel_size of CNN must be odd. Got {kernel_size!r} instead.")
        # Instance norm has nothing to do on a map of one place.
        _check_size(image_size, n_blocks, 2 if (pooling, norm) == ("stride", "instance") else 1)
        self.image = (in_channels, image_size, image_size)
        layers: list[nn.Module] = []
        size, channels, out = image_size, in_channels, filters
        for _ in range(n_blocks):
            for i in range(convs_per_block):
                halves = pooling == "stride" and i == convs_per_block - 1
                stride = 2 if halves else 1
                convolution = nn.Conv2d(channels, out, kernel_size, stride, kernel_size // 2)
                layers += [weighted(norm, convolution), *conv_norm(norm, out)]
                layers += [ACTIVATIONS[activation]()]
                channels = out
            if pooling != "stride":
                layers += [nn.MaxPool2d(2) if pooling == "max" else nn.AvgPool2d(2)]
            layers += [nn.Dropout2d(dropout if dropout_place != "head" else 0.0)]
            size, out = (size + 1) // 2 if pooling == "stride" else size // 2, 2 * out
        # A convolution of this layout takes two thirds of the time on a CPU.
        self.conv = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        rate = dropout if dropout_place != "conv" else 0.0
        width = channels * size * size
        hidden: list[nn.Module] = []
        if hidden_units:
            hidden = [nn.Dropout(rate), nn.Linear(width, hidden_units), ACTIVATIONS[activation]()]
        last = nn.Linear(hidden_units or width, n_classes)
        self.head = nn.Sequential(*hidden, nn.Dropout(rate), last)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the logits for ``X``.

        Parameters
        ----------
        X : tensor of shape (n_samples, in_channels, image_size, image_size)
            Or with each image as one row, channels first.

        Returns
        -------
        tensor of shape (n_samples, n_classes)
        """
        logits: torch.Tensor = self.head(self.conv(X.reshape(len(X), *self.image)).flatten(1))
        return logits


def _check_size(image_size: int, n_blocks: int, least: int) -> None:
    """Raise ValueError unless ``least`` pixels, rounded up, are left of a side."""

    def fits(n: int) -> bool:
        left = image_size / (1 << n)
        return left >= 1 and math.ceil(left) >= least

    if not fits(n_blocks):
        most = max(filter(fits, range(n_blocks)), default=0)
        raise ValueError(
            f"CNN halves images of {image_size} pixels {n_blocks} times, and too little is left of "
            f"them: make n_blocks at most {most}, or give larger images."
        )
