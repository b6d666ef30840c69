"""Random views of images, drawn separately for each image of a batch."""

import math

import torch

__all__ = ["random_views"]

GRAY = torch.tensor([0.299, 0.587, 0.114])
"""Shares of red, green and blue in brightness (ITU-R BT.601)."""
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
"""Matrix from RGB to YIQ: brightness and two axes of colour, in which a hue is rotated."""


def random_views(images: torch.Tensor, least_area: float, color_strength: float) -> torch.Tensor:
    """Return a random view of each image: cropped, resized, maybe mirrored, with changed colours.

    These are the augmentations of SimCLR (Chen et al. 2020, *A simple framework for contrastive
    learning of visual representations*, appendix A), without blur, as used there for CIFAR-10
    (appendix B.9). torchvision's transforms draw once for a whole batch. Here each image has its
    own draw, in a few operations on the batch. All numbers come from torch's global generator.

    Parameters
    ----------
    images : float tensor of shape (n_images, 3, height, width)
        Pixels from 0 to 1.
    least_area : float
        The crop's share of the area is uniform from this to 1; its sides have a ratio from
        3/4 to 4/3.
    color_strength : float
        The paper's s, 0 or greater: brightness, contrast and saturation change by up to 0.8 s
        and hue by up to 0.2 s of a circle in 4 of 5 images, 1 in 5 is gray. 0 changes no
        colour at all.

    Returns
    -------
    tensor of shape (n_images, 3, height, width)
    """
    views = _crop(images, least_area)
    return _recolor(views, color_strength) if color_strength else views


def _uniform(n: int, low: float, high: float, like: torch.Tensor) -> torch.Tensor:
    # drawn on the CPU, from the generator of the fold's random stream
    return (low + (high - low) * torch.rand(n)).to(like)


def _crop(images: torch.Tensor, least_area: float) -> torch.Tensor:
    n = len(images)
    area = _uniform(n, least_area, 1.0, images)
    stretch = _uniform(n, math.log(3 / 4), math.log(4 / 3), images).div(2).exp()
    width = (area.sqrt() * stretch).clamp(max=1.0)
    height = (area.sqrt() / stretch).clamp(max=1.0)
    mirror = torch.where(_uniform(n, 0.0, 1.0, images) < 0.5, -1.0, 1.0)
    theta = images.new_zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = width * mirror, height
    theta[:, 0, 2] = (1 - width) * _uniform(n, -1.0, 1.0, images)
    theta[:, 1, 2] = (1 - height) * _uniform(n, -1.0, 1.0, images)
    grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    return torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _recolor(images: torch.Tensor, strength: float) -> torch.Tensor:
    """Rotate hues, then change saturation, brightness and contrast.

    All changes are linear in a pixel's colours, so they are one 3 x 3 matrix and one offset per
    image. Values are clipped once, at the end.
    """
    n = len(images)
    gray_weights, yiq = GRAY.to(images), YIQ.to(images)
    jittered = (_uniform(n, 0.0, 1.0, images) < 0.8).to(images) * strength
    brightness, contrast, saturation = (
        (1 + jittered * _uniform(n, -0.8, 0.8, images)).clamp(min=0.0).view(n, 1, 1)
        for _ in range(3)
    )
    gray = gray_weights.expand(n, 3, 3)
    is_gray = (_uniform(n, 0.0, 1.0, images) < 0.2).view(n, 1, 1)
    turn = _rotation(2 * math.pi * jittered * _uniform(n, -0.2, 0.2, images))
    saturate = saturation * torch.eye(3).to(images) + (1 - saturation) * gray
    colors = torch.where(is_gray, gray, saturate @ torch.linalg.inv(yiq) @ turn @ yiq)
    pixels = images.flatten(2)
    # neither hue nor saturation change an image's mean brightness
    mean = brightness * (gray_weights @ pixels.mean(2, keepdim=True)).view(n, 1, 1)
    recolored = torch.baddbmm((1 - contrast) * mean, contrast * brightness * colors, pixels)
    return recolored.clamp_(0.0, 1.0).view_as(images)


def _rotation(angle: torch.Tensor) -> torch.Tensor:
    """Return rotations of the two colour axes of YIQ, of shape (n, 3, 3)."""
    turn = torch.eye(3).to(angle).repeat(len(angle), 1, 1)
    turn[:, 1, 1] = turn[:, 2, 2] = angle.cos()
    turn[:, 2, 1] = angle.sin()
    turn[:, 1, 2] = -angle.sin()
    return turn
