"""A classifier of images with all that can be turned of its training."""

from typing import Any

import torch
from skorch import NeuralNetClassifier

from hpo.nets.augmentation import AugmentationMixin
from hpo.nets.distillation import DistillationMixin
from hpo.nets.label_noise import LabelNoiseMixin
from hpo.nets.penalty import PenaltyMixin

__all__ = ["ImageClassifier"]


class ImageClassifier(
    AugmentationMixin,
    LabelNoiseMixin,
    PenaltyMixin,
    DistillationMixin,
    NeuralNetClassifier,  # type: ignore[misc]  # skorch has no types
):
    """A skorch classifier on logits that augments its images, and more.

    Parameters
    ----------
    module : torch module (class or instance)
        Must return a logit for each class, without a softmax.
    *args, **kwargs
        Those of `skorch.NeuralNetClassifier` and of the mixins: `AugmentationMixin`,
        `LabelNoiseMixin`, `PenaltyMixin`, `DistillationMixin`.
    criterion : torch criterion (class), default=torch.nn.CrossEntropyLoss
    """

    def __init__(
        self,
        module: Any,
        *args: Any,
        criterion: Any = torch.nn.CrossEntropyLoss,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, *args, criterion=criterion, **kwargs)
