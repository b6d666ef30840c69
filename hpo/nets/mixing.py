"""MixUp and CutMix: training on mixtures of two samples and of their labels."""

import math
from typing import Any

import torch
from skorch.dataset import unpack_data
from skorch.utils import to_tensor

__all__ = ["MixingMixin"]

_CRITERIA = (torch.nn.CrossEntropyLoss, torch.nn.NLLLoss)
"""Losses that are linear in the target: that of a mixed label is the mixture of both losses."""


class MixingMixin:
    """Trains a classifier on mixtures of the samples of each batch, by MixUp or CutMix.

    Put it before a skorch net in the bases of a class, and after `AugmentationMixin`,
    `PenaltyMixin` and `DistillationMixin` where there are any. For each batch a share is drawn
    from a Beta distribution with both parameters alpha. MixUp takes that share of each sample, and
    the rest of another sample of the batch (Zhang et al. 2018, *mixup: Beyond empirical risk
    minimization*, section 2). CutMix takes the rest as a rectangle of another image, at a random
    place and with the sides' ratio of the image; the share is that of the pixels that are left
    (Yun et al. 2019, *CutMix*, section 3.1). The loss is that of both labels, in these shares, with
    the criterion's class weights and label smoothing. Validation and prediction use whole samples.

    The training accuracy of skorch's ``EpochScoring("accuracy", on_train=True)`` compares
    the predictions for mixed samples with the label of the first of both.

    Parameters
    ----------
    mixup_alpha, cutmix_alpha : float, default=0.0
        Parameter of the Beta distribution, 0 or greater: 0 is off, small ones mix little, 1 draws
        all shares alike. If both are greater than 0, each batch takes one of them, half of the
        time.
    *args, **kwargs
        Arguments of the skorch net.
    """

    def __init__(
        self, *args: Any, mixup_alpha: float = 0.0, cutmix_alpha: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.mixup_alpha = mixup_alpha
        self.cutmix_alpha = cutmix_alpha

    def initialize(self) -> Any:
        """Build the net.

        Raises
        ------
        ValueError
            If an alpha is negative or not finite, or the criterion is not
            `torch.nn.CrossEntropyLoss` or `torch.nn.NLLLoss`, which take classes.
        """
        for name in ("mixup_alpha", "cutmix_alpha"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be a number of 0 or greater. Got {value!r} instead.")
        super().initialize()  # type: ignore[misc]
        self.mixed_: tuple[torch.Tensor, float] | None = None
        criterion = self.criterion_  # type: ignore[attr-defined]
        if (self.mixup_alpha or self.cutmix_alpha) and not isinstance(criterion, _CRITERIA):
            raise ValueError(
                "mixup_alpha and cutmix_alpha mix classes: they need "
                "criterion=torch.nn.CrossEntropyLoss or torch.nn.NLLLoss. "
                f"Got {type(criterion).__name__} instead."
            )
        return self

    def train_step(self, batch: Any, **fit_params: Any) -> Any:
        """Make the optimizer step of a batch, mixed with itself in another order."""
        if not (self.mixup_alpha or self.cutmix_alpha):
            return super().train_step(batch, **fit_params)  # type: ignore[misc]
        Xi, yi = unpack_data(batch)
        X, order, share = self._mix(Xi)
        self.mixed_ = order, share
        try:
            return super().train_step((X, yi), **fit_params)  # type: ignore[misc]
        finally:
            self.mixed_ = None

    def get_loss(
        self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False
    ) -> torch.Tensor:
        """Return the loss of a batch; of a mixed one, that of both labels in their shares."""
        loss: torch.Tensor = super().get_loss(  # type: ignore[misc]
            y_pred, y_true, X=X, training=training
        )
        if not training or self.mixed_ is None:
            return loss
        if not isinstance(y_pred, torch.Tensor) or y_pred.ndim != 2:
            raise ValueError(
                "mixup_alpha and cutmix_alpha need outputs of shape (n_samples, n_classes), one "
                "class for a whole sample."
            )
        order, share = self.mixed_
        other: torch.Tensor = super().get_loss(  # type: ignore[misc]
            y_pred, y_true[order.to(y_true.device)], X=X, training=training
        )
        # The same labels in another order have the same weights in sum, by which both are divided.
        together: torch.Tensor = share * loss + (1 - share) * other
        return together

    def _mix(self, Xi: Any) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Return the mixed samples, the places of the others, and the first ones' share."""
        if not isinstance(Xi, torch.Tensor) or not Xi.is_floating_point():
            raise ValueError(
                "mixup_alpha and cutmix_alpha need samples of floating-point numbers in one "
                f"tensor. Got {Xi.dtype if isinstance(Xi, torch.Tensor) else type(Xi).__name__}."
            )
        X: torch.Tensor = to_tensor(Xi, device=self.device)  # type: ignore[attr-defined]
        # Drawn on the CPU, from the stream of the fold.
        cut = self.cutmix_alpha > 0 and (not self.mixup_alpha or float(torch.rand(())) < 0.5)
        alpha = float(self.cutmix_alpha if cut else self.mixup_alpha)
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        order = torch.randperm(len(X))
        others = X[order.to(X.device)]
        if not cut:
            return share * X + (1 - share) * others, order, share
        shape = getattr(self, "image_shape", None)
        images = X.reshape(len(X), *shape) if shape else X
        if images.ndim != 4:
            raise ValueError(
                "cutmix_alpha needs images of shape (n_samples, n_channels, height, width). Got "
                f"{tuple(X.shape)} instead. Use mixup_alpha, or set image_shape (of "
                "hpo.nets.AugmentationMixin) for images that come as flat rows."
            )
        keep = _kept_pixels(images.shape[-2], images.shape[-1], share).to(X.device)
        mixed = torch.where(keep, images, others.reshape(images.shape)).reshape(X.shape)
        return mixed, order, float(keep.float().mean())


def _kept_pixels(height: int, width: int, share: float) -> torch.Tensor:
    """Return a mask (height, width) that is False in a rectangle, cut off at the borders."""
    side = math.sqrt(1 - share)
    inside = []
    for length in (height, width):
        size, centre = int(length * side), int(torch.randint(length, ()))
        place = torch.arange(length)
        inside.append((place >= centre - size // 2) & (place < centre - size // 2 + size))
    return ~(inside[0][:, None] & inside[1])
