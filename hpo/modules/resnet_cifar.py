"""Residual networks for small images, optionally with published weights."""

from pathlib import Path

import torch
from torch import nn

__all__ = ["ResNetCIFAR"]

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Standardization of the published weights: that of ImageNet, not of CIFAR-10."""

WIDTHS = (16, 32, 64)
_RENAMED = {"conv1": "stem.0", "bn1": "stem.1", "linear": "head"}
"""Names of layers in the published files and in this module."""


class _Block(nn.Module):
    """Two convolutions, and a shortcut without parameters.

    The shortcut is option A of He et al. 2016, section 3.3: if the map is halved and the width
    doubled, it takes every second pixel, and zeros for the new channels, half on each side.
    """

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.stride = stride
        self.n_new = n_out - n_in

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        outputs = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(X)))))
        if self.stride > 1 or self.n_new:
            half = self.n_new // 2
            X = X[:, :, :: self.stride, :: self.stride]
            X = nn.functional.pad(X, (0, 0, 0, 0, half, self.n_new - half))
        return torch.relu(outputs + X)


class ResNetCIFAR(nn.Module):
    """The residual networks of He et al. 2016, *Deep residual learning*, section 4.2.

    A convolution of 16 filters, then three stages of 16, 32 and 64 filters on maps of full, half
    and quarter size, a global mean and a linear head. Its children in order, ``stem``,
    ``stage1``, ``stage2``, ``stage3`` and ``head``, are the stages of `hpo.callbacks.Freezing`.
    Images are standardized inside.

    Parameters
    ----------
    n_classes : int, default=10
        Number of logits, at least 1.
    depth : {20, 32, 44, 56, 110}, default=20
        Number of layers with weights: 6 n + 2 for n blocks per stage. Other such numbers are
        allowed too.
    weights : str or Path, optional
        File of published weights of this depth, see `hpo.data.find_resnet_cifar10`. The head is
        loaded too if ``n_classes`` matches the file, else it is initialized randomly.
    pretrained : bool, default=True
        Whether to start from ``weights``, or from random ones for comparison.

    Raises
    ------
    ValueError
        If a number is out of its range, or the file does not match this depth.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        n_classes: int = 10,
        depth: int = 20,
        *,
        weights: str | Path | None = None,
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        if n_classes < 1:
            raise ValueError(
                f"The n_classes of ResNetCIFAR must be at least 1. Got {n_classes!r} instead."
            )
        if depth < 8 or depth % 6 != 2:
            raise ValueError(
                "The depth of ResNetCIFAR must be 6 n + 2 for n blocks a stage: 8, 14, 20, 26, "
                f"32, … Got {depth!r} instead."
            )
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self.stem = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()
        )
        n_blocks = (depth - 2) // 6
        self.stage1 = _stage(WIDTHS[0], WIDTHS[0], n_blocks, stride=1)
        self.stage2 = _stage(WIDTHS[0], WIDTHS[1], n_blocks, stride=2)
        self.stage3 = _stage(WIDTHS[1], WIDTHS[2], n_blocks, stride=2)
        self.head = nn.Linear(WIDTHS[2], n_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
        if weights is not None and pretrained:
            self._load(Path(weights))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return a logit for each class.

        Parameters
        ----------
        X : float tensor of shape (n_samples, 3, height, width)
            Pixels from 0 to 1. The published weights were trained on images of 32 x 32.

        Returns
        -------
        tensor of shape (n_samples, n_classes)
        """
        maps = self.stage3(self.stage2(self.stage1(self.stem((X - self.mean) / self.std))))
        logits: torch.Tensor = self.head(maps.mean(dim=(2, 3)))
        return logits

    def _load(self, file: Path) -> None:
        published = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
        state = {_rename_layer(name): value for name, value in published.items()}
        if state["head.weight"].shape != self.head.weight.shape:
            del state["head.weight"], state["head.bias"]
        missing, unexpected = self.load_state_dict(state, strict=False)
        wrong = [*unexpected, *(name for name in missing if not name.startswith("head."))]
        if wrong:
            raise ValueError(
                f"{file} does not hold the weights of a ResNetCIFAR of this depth "
                f"({len(wrong)} names differ, {wrong[0]} first). Give the file of its depth."
            )


def _stage(n_in: int, n_out: int, n_blocks: int, stride: int) -> nn.Sequential:
    first = _Block(n_in, n_out, stride)
    return nn.Sequential(first, *(_Block(n_out, n_out, 1) for _ in range(n_blocks - 1)))


def _rename_layer(name: str) -> str:
    top, rest = name.removeprefix("module.").split(".", 1)
    return f"{_RENAMED.get(top, top.replace('layer', 'stage'))}.{rest}"
