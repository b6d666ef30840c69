"""Random changes of a batch of images, drawn separately for each image from torch's generator.

torchvision's transforms draw once for all images of a batch. Applied to each image separately,
they take longer than a training step of a small net.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torchvision.transforms import v2

__all__ = [
    "CHANGES",
    "POLICIES",
    "Ranges",
    "apply_policy",
    "colour",
    "crop",
    "flip",
    "make_policy",
    "rotation",
    "vflip",
]

CHUNK = 4
"""Images that share one draw of a policy.

This takes a quarter of the time, and a batch of 32 still has 8 draws.
"""


class Ranges(NamedTuple):
    """How much `CHANGES` may change."""

    strength: float = 1.0
    """Factor of the ranges of crop, rotation and colour."""

    flip_probability: float = 0.5
    rotation_degrees: float = 15.0


def flip(X: torch.Tensor, ranges: Ranges) -> torch.Tensor:
    """Mirror each image horizontally with the probability, whatever the strength."""
    return torch.where(_uniform(X, 0.0, 1.0) < ranges.flip_probability, X.flip(-1), X)


def vflip(X: torch.Tensor, ranges: Ranges) -> torch.Tensor:
    """Mirror each image vertically with the probability, whatever the strength."""
    return torch.where(_uniform(X, 0.0, 1.0) < ranges.flip_probability, X.flip(-2), X)


def crop(X: torch.Tensor, ranges: Ranges) -> torch.Tensor:
    """Shift by up to an eighth of the side (times strength), padding with zeros.

    That is four pixels of 32, the usual crop on CIFAR-10 (He et al. 2016, *Deep residual
    learning*, section 4.2).
    """
    n, _, height, width = X.shape
    pad_y, pad_x = round(ranges.strength * height / 8), round(ranges.strength * width / 8)
    padded = F.pad(X, (pad_x, pad_x, pad_y, pad_y)).flatten(2)
    rows = torch.randint(2 * pad_y + 1, (n, 1)) + torch.arange(height)
    columns = torch.randint(2 * pad_x + 1, (n, 1)) + torch.arange(width)
    places = (rows[:, :, None] * (width + 2 * pad_x) + columns[:, None, :]).flatten(1)
    return padded.gather(2, places.to(X.device)[:, None].expand((*X.shape[:2], -1))).view_as(X)


def rotation(X: torch.Tensor, ranges: Ranges) -> torch.Tensor:
    """Rotate by up to the degrees (times strength) either way, padding with zeros."""
    largest = math.radians(ranges.rotation_degrees)
    angle = _uniform(X, -1.0, 1.0).ravel() * largest * ranges.strength
    ratio = X.shape[-2] / X.shape[-1]
    zero = torch.zeros_like(angle)
    # affine_grid measures both sides from -1 to 1, whatever their lengths.
    rows = [
        torch.stack([angle.cos(), -angle.sin() * ratio, zero], dim=1),
        torch.stack([angle.sin() / ratio, angle.cos(), zero], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(X.shape), align_corners=False)
    return F.grid_sample(X, grid.to(X.dtype), align_corners=False)


def colour(X: torch.Tensor, ranges: Ranges) -> torch.Tensor:
    """Change brightness, contrast and saturation by a factor of 0.6 to 1.4 (at strength 1) each.

    This equals torchvision's ``ColorJitter(0.4, 0.4, 0.4)``, but always in this order. Values
    are clipped to the range of the batch.
    """
    low, high = X.amin(), X.amax()
    spread = 0.4 * ranges.strength
    X = (X * _uniform(X, 1 - spread, 1 + spread)).clamp(low, high)
    mean = X.mean(dim=(1, 2, 3), keepdim=True)
    X = (mean + (X - mean) * _uniform(X, 1 - spread, 1 + spread)).clamp(low, high)
    grey = X.mean(dim=1, keepdim=True)
    return (grey + (X - grey) * _uniform(X, 1 - spread, 1 + spread)).clamp(low, high)


CHANGES: Mapping[str, Callable[[torch.Tensor, Ranges], torch.Tensor]] = {
    "flip": flip,
    "vflip": vflip,
    "crop": crop,
    "rotation": rotation,
    "colour": colour,
}
"""Functions of a float batch (n_samples, n_channels, height, width) and their ranges."""

POLICIES = ("autoaugment", "randaugment", "trivialaugment")


def make_policy(name: str, strength: float) -> v2.Transform:
    """Return torchvision's policy; only RandAugment uses ``strength``, where 1 means 9 of 30."""
    if name == "randaugment":
        return v2.RandAugment(num_ops=2, magnitude=min(30, round(9 * strength)))
    if name == "trivialaugment":
        return v2.TrivialAugmentWide()
    return v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)


def apply_policy(X: torch.Tensor, policy: v2.Transform) -> torch.Tensor:
    """Change a float batch of pixels from 0 to 1, `CHUNK` images at a time.

    Raises
    ------
    ValueError
        If there are pixels outside 0 to 1, or the images have neither 1 nor 3 channels.
    """
    if X.shape[1] not in (1, 3):
        raise ValueError(
            "An augmentation policy needs images of 1 or 3 channels. "
            f"Got {X.shape[1]} instead. Use flip, crop or rotation."
        )
    if X.numel() and not (X.amin() >= 0 and X.amax() <= 1):
        raise ValueError(
            "An augmentation policy needs pixels from 0 to 1. "
            f"Got {X.amin().item():.3g} to {X.amax().item():.3g} instead. "
            "Use flip, crop, rotation or colour, or scale the pixels inside the module."
        )
    pixels = (X * 255).round().to(torch.uint8)
    changed = torch.cat([policy(chunk) for chunk in torch.split(pixels, CHUNK)])
    return changed.to(X.dtype) / 255


def _uniform(X: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Return a random number for each image, in a shape that broadcasts over it."""
    draws = low + (high - low) * torch.rand(
        len(X), 1, 1, 1
    )  # drawn on the CPU, from the stream of the fold
    return draws.to(X.device, X.dtype)
