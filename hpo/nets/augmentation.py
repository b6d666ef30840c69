"""Random augmentation of training images."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from skorch.dataset import unpack_data
from skorch.utils import to_tensor

from hpo._discovery import did_you_mean
from hpo.nets._image_batches import CHANGES, POLICIES, Ranges, apply_policy, make_policy

__all__ = ["AugmentationMixin"]


class AugmentationMixin:
    """Augments the images of training batches, and repeats the training set within an epoch.

    Put it before a skorch net in the bases of a class. Validation and prediction
    use the unchanged images. Each image has its own draw, but four images of a batch share the
    draw of a policy, which takes a quarter of the time.

    ``augmentation`` is ``"none"``, names from this list joined by ``_`` (such as
    ``"flip_crop"``), which are applied in that order, or one policy:

    * ``flip``: mirrored horizontally, half of the time;
    * ``vflip``: mirrored vertically, half of the time;
    * ``crop``: shifted by up to an eighth of the side, padded with zeros;
    * ``rotation``: rotated by up to 15 degrees either way, padded with zeros;
    * ``colour``: brightness, contrast and saturation times 0.6 to 1.4 each;
    * ``randaugment``: two changes of a list of 14 (Cubuk et al. 2020, *RandAugment*), magnitude 9
      of 30;
    * ``trivialaugment``: one change of any magnitude (Müller and Hutter 2021, *TrivialAugment*);
    * ``autoaugment``: pairs of changes that were optimized on CIFAR-10 (Cubuk et al. 2019,
      *AutoAugment*).

    The policies are torchvision's; they need pixels from 0 to 1 and round them to 256 steps.

    Parameters
    ----------
    augmentation : str, default="none"
    augmentation_strength : float, default=1.0
        Factor of the ranges of crop, rotation and colour and of RandAugment's magnitude, 0 or
        greater; at most 2.5 with colour. The other policies have no strength.
    repeats : int, default=1
        Number of times that an epoch goes over the training samples, at least 1; each time in a
        different order.
    flip_probability : float, default=0.5
        Probability of ``flip`` and of ``vflip``, from 0 to 1.
    rotation_degrees : float, default=15.0
        Largest angle of ``rotation`` at strength 1, from 0 to 180.
    image_shape : tuple of int (n_channels, height, width), optional
        Shape of the images if X has flat rows; None if X has images.
    *args, **kwargs
        Arguments of the skorch net.
    """

    def __init__(
        self,
        *args: Any,
        augmentation: str = "none",
        augmentation_strength: float = 1.0,
        repeats: int = 1,
        flip_probability: float = 0.5,
        rotation_degrees: float = 15.0,
        image_shape: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.augmentation = augmentation
        self.augmentation_strength = augmentation_strength
        self.repeats = repeats
        self.flip_probability = flip_probability
        self.rotation_degrees = rotation_degrees
        self.image_shape = image_shape

    def initialize(self) -> Any:
        """Build the net.

        Raises
        ------
        ValueError
            If one of the parameters is out of its range.
        """
        names = _names(self.augmentation)
        if not (self.augmentation_strength >= 0 and math.isfinite(self.augmentation_strength)):
            raise ValueError(
                "augmentation_strength must be a number of 0 or greater. "
                f"Got {self.augmentation_strength!r} instead."
            )
        if "colour" in names and self.augmentation_strength > 2.5:  # factors would be negative
            raise ValueError(
                "augmentation_strength must be at most 2.5 where colours change. "
                f"Got {self.augmentation_strength!r} instead."
            )
        for name, largest in (("flip_probability", 1), ("rotation_degrees", 180)):
            if not 0 <= getattr(self, name) <= largest:
                raise ValueError(
                    f"{name} must be from 0 to {largest}. Got {getattr(self, name)!r} instead."
                )
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1. Got {self.repeats!r} instead.")
        if self.image_shape is not None and len(self.image_shape) != 3:
            raise ValueError(
                "image_shape must be three numbers: channels, height, width. "
                f"Got {self.image_shape!r} instead."
            )
        return super().initialize()  # type: ignore[misc]

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Return the loader of a dataset; in training, one that goes over it several times."""
        loader = super().get_iterator(dataset, training=training)  # type: ignore[misc]
        return _Repeated(loader, self.repeats) if training and self.repeats > 1 else loader

    def train_step(self, batch: Any, **fit_params: Any) -> Any:
        """Make the optimizer step of a batch with augmented images."""
        if self.augmentation != "none":
            Xi, yi = unpack_data(batch)
            batch = self._augment(Xi), yi
        return super().train_step(batch, **fit_params)  # type: ignore[misc]

    def _augment(self, Xi: Any) -> torch.Tensor:
        if not isinstance(Xi, torch.Tensor) or not Xi.is_floating_point():
            raise ValueError(
                "augmentation needs images of floating-point numbers in one tensor. "
                f"Got {Xi.dtype if isinstance(Xi, torch.Tensor) else type(Xi).__name__} instead."
            )
        X: torch.Tensor = to_tensor(Xi, device=self.device)  # type: ignore[attr-defined]
        images = X.reshape(len(X), *self.image_shape) if self.image_shape else X
        if images.ndim != 4:
            raise ValueError(
                "augmentation needs a batch of shape (n_samples, n_channels, height, width). Got "
                f"{tuple(X.shape)} instead. Set image_shape for images that come as flat rows."
            )
        strength = self.augmentation_strength
        if self.augmentation in POLICIES:
            images = apply_policy(images, make_policy(self.augmentation, strength))
        else:
            ranges = Ranges(strength, self.flip_probability, self.rotation_degrees)
            for name in _names(self.augmentation):
                images = CHANGES[name](images, ranges)
        return images.reshape(X.shape)


def _names(augmentation: str) -> list[str]:
    """Return the names of the changes in an augmentation; empty for a policy."""
    if augmentation == "none" or augmentation in POLICIES:
        return []
    names = str(augmentation).split("_")
    unknown = [name for name in names if name not in CHANGES]
    if unknown:
        choices = ("none", *CHANGES, *POLICIES)
        hint = did_you_mean(unknown[0], choices) or "."
        raise ValueError(
            f"augmentation must be none, one of: {', '.join(POLICIES)}; or some of: "
            f"{', '.join(CHANGES)}; joined by '_'. Got '{augmentation}' instead{hint}"
        )
    return names


class _Repeated:
    """A loader that iterates over another one several times."""

    def __init__(self, loader: Any, n: int) -> None:
        self._loader, self._n = loader, n

    def __len__(self) -> int:
        return self._n * len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self._loader for _ in range(self._n))
