"""Modules for the digits, of the kinds that the fused executor is measured on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

__all__ = ["KINDS", "Kind"]


def _mlp(width: int, dropout: float, *, normed: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_inputs in (64, width):
        norm = [nn.BatchNorm1d(width)] if normed else []
        layers += [nn.Linear(n_inputs, width), *norm, nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(width, 10))


class Dense(nn.Module):
    """Two hidden layers."""

    def __init__(self, width: int = 32, dropout: float = 0.0, normed: bool = False) -> None:
        super().__init__()
        self.layers = _mlp(width, dropout, normed=normed)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.layers(X)


class Residual(nn.Module):
    """A block of layer normalization and GELU with a way around it."""

    def __init__(self, width: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        self.enter, self.norm = nn.Linear(64, width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, width), nn.Linear(width, width)
        self.drop, self.head = nn.Dropout(dropout), nn.Linear(width, 10)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        h = self.enter(X)
        h = h + self.drop(self.down(nn.functional.gelu(self.up(self.norm(h)))))
        return self.head(h)


class Embedded(nn.Module):
    """Sixteen columns of the digits as categories of 17 values, embedded."""

    def __init__(self, width: int = 64, dropout: float = 0.0, size: int = 4) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(17, size) for _ in range(16))
        self.layers = nn.Sequential(
            nn.Linear(16 * size + 48, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 10),
        )

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        columns = (X[:, 16:32] * 16).long()
        embedded = [table(columns[:, i]) for i, table in enumerate(self.tables)]
        return self.layers(torch.cat([X[:, :16], X[:, 32:], *embedded], 1))


class Encoder(nn.Module):
    """One transformer layer over the eight rows of an image."""

    def __init__(self, width: int = 32, dropout: float = 0.0) -> None:
        super().__init__()
        self.enter, self.place = nn.Linear(8, width), nn.Parameter(0.1 * torch.randn(8, width))
        self.layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout, batch_first=True)
        self.head = nn.Linear(width, 10)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        h = self.enter(X.reshape(-1, 8, 8)) + self.place
        return self.head(self.layer(h).mean(1))


class Convolutional(nn.Module):
    """Two convolutions with batch normalization on 8x8 images."""

    def __init__(self, width: int = 16, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(width * 16, 10),
        )

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.layers(X.reshape(-1, 1, 8, 8))


@dataclass(frozen=True)
class Kind:
    """A module to be measured.

    Parameters
    ----------
    module : class
    params : mapping of str to object
        Of its constructor.
    ratio : float
        That of skorch's processor time to the fused one's in float32 that the design was
        measured with.
    """

    module: type[nn.Module]
    params: Mapping[str, Any]
    ratio: float


KINDS = {
    "MLP 2x32": Kind(Dense, {"width": 32}, 765 / 28),
    "MLP 2x64": Kind(Dense, {"width": 64}, 830 / 75),
    "MLP 2x128": Kind(Dense, {"width": 128}, 967 / 225),
    "MLP 2x64, batch norm": Kind(Dense, {"width": 64, "normed": True}, 956 / 120),
    "layer norm, GELU, residual, 64": Kind(Residual, {"width": 64}, 1291 / 185),
    "16 embeddings + MLP 64": Kind(Embedded, {"width": 64}, 1545 / 155),
    "transformer encoder layer, d 32": Kind(Encoder, {"width": 32}, 5290 / 1309),
    "CNN on 8x8, batch norm": Kind(Convolutional, {"width": 16}, 2563 / 1468),
}
"""By the names of the tables."""
