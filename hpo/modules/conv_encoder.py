"""A small encoder of images."""

import torch
from torch import nn

__all__ = ["ConvEncoder"]


class ConvEncoder(nn.Module):
    """Convolutions that halve the map and double the filters, then the mean over the map.

    Each stage is a 3 x 3 convolution of stride 2, batch normalization and a ReLU.

    Parameters
    ----------
    n_channels : int, default=3
        Number of channels of the images, at least 1.
    width : int, default=32
        Number of filters in the first stage, at least 1.
    n_stages : int, default=3
        Number of stages, at least 1.

    Attributes
    ----------
    n_features : int
        Number of features of an image: ``width * 2 ** (n_stages - 1)``.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """

    def __init__(self, n_channels: int = 3, width: int = 32, n_stages: int = 3) -> None:
        super().__init__()
        sizes = {"n_channels": n_channels, "width": width, "n_stages": n_stages}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(
                    f"The {name} of ConvEncoder must be at least 1. Got {size!r} instead."
                )
        layers: list[nn.Module] = []
        filters = [width * 2**stage for stage in range(n_stages)]
        for n_in, n_out in zip([n_channels, *filters], filters, strict=False):
            layers += [
                nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(n_out),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)
        self.n_features = filters[-1]

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the features of ``X``.

        Parameters
        ----------
        X : float tensor of shape (n_samples, n_channels, height, width)

        Returns
        -------
        tensor of shape (n_samples, n_features)
        """
        features: torch.Tensor = self.layers(X).mean(dim=(2, 3))
        return features
