"""A classifier of images with augmentation, mixing, label noise, penalties and distillation."""

from typing import Any

import torch
from skorch import NeuralNetClassifier

from hpo.nets.augmentation import AugmentationMixin
from hpo.nets.casting import LabelEncodingMixin
from hpo.nets.distillation import DistillationMixin
from hpo.nets.label_noise import LabelNoiseMixin
from hpo.nets.mixing import MixingMixin
from hpo.nets.penalty import PenaltyMixin
from hpo.nets.precision import PrecisionMixin

__all__ = ["ImageClassifier"]


class ImageClassifier(
    AugmentationMixin,
    LabelNoiseMixin,
    PenaltyMixin,
    DistillationMixin,
    MixingMixin,
    PrecisionMixin,
    LabelEncodingMixin,
    NeuralNetClassifier,  # type: ignore[misc]  # skorch has no types
):
    """A classifier on logits with augmentation, MixUp, label noise, penalties and distillation.

    Labels may be of any kind; see `LabelEncodingMixin`.

    Parameters
    ----------
    module : torch module (class or instance)
        Must return a logit for each class, without a softmax.
    *args, **kwargs
        Arguments of `skorch.NeuralNetClassifier` and of the mixins: `AugmentationMixin`,
        `LabelNoiseMixin`, `PenaltyMixin`, `DistillationMixin`, `MixingMixin`, `PrecisionMixin`.
    criterion : torch criterion (class), default=torch.nn.CrossEntropyLoss
    train_split : callable or None, default=None
        skorch's own default sets aside a fifth of the training part of every fold.
    """

    def __init__(
        self,
        module: Any,
        *args: Any,
        criterion: Any = torch.nn.CrossEntropyLoss,
        train_split: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, *args, criterion=criterion, train_split=train_split, **kwargs)
