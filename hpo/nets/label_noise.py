"""Wrong labels, to see what a net makes of them."""

from typing import Any

import numpy as np
import torch
from skorch.utils import data_from_dataset, to_numpy

__all__ = ["LabelNoiseMixin"]


class LabelNoiseMixin:
    """Shuffles a share of the training labels, once a training.

    Stands before a skorch net among the bases of a class. That many samples are drawn and their
    labels are exchanged among one another, so that the shares of the classes stay what they are;
    by chance some get their own back. The labels are the same in all epochs. Validation,
    whether the search's or the net's own ``train_split``, sees the true ones. At 1 nothing is
    left to learn but each sample by heart (Zhang et al. 2017, *Understanding deep learning
    requires rethinking generalization*, section 2).

    The training accuracy of skorch's ``EpochScoring("accuracy", on_train=True)`` is on the
    labels trained on.

    Parameters
    ----------
    label_noise : float, default=0.0
        Share of the training samples whose labels are shuffled, from 0 to 1.
    *args, **kwargs
        Those of the skorch net.
    """

    def __init__(self, *args: Any, label_noise: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_noise = label_noise

    def initialize(self) -> Any:
        """Build the net.

        Raises
        ------
        ValueError
            If the share is not from 0 to 1.
        """
        if not 0 <= self.label_noise <= 1:
            raise ValueError(f"label_noise must be from 0 to 1. Got {self.label_noise!r} instead.")
        return super().initialize()  # type: ignore[misc]

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget the labels of an earlier training."""
        super().on_train_begin(net, **kwargs)  # type: ignore[misc]
        self.noisy_labels_: np.ndarray | None = None

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Return the loader of a dataset; in training, with some labels shuffled.

        Raises
        ------
        ValueError
            If labels are to be shuffled and the dataset is not made of ``X`` and ``y``.
        """
        net: Any = super()
        if training and self.label_noise:
            dataset = self._with_noise(dataset)
        return net.get_iterator(dataset, training=training)

    def _with_noise(self, dataset: Any) -> Any:
        try:
            X, y = data_from_dataset(dataset)
        except AttributeError as error:
            raise ValueError(
                f"label_noise needs a dataset made of X and y. Got {type(dataset).__name__}."
            ) from error
        if self.noisy_labels_ is None:
            self.noisy_labels_ = _shuffled(to_numpy(y), self.label_noise)
        return self.get_dataset(X, self.noisy_labels_)  # type: ignore[attr-defined]


def _shuffled(y: np.ndarray, share: float) -> np.ndarray:
    rows = torch.randperm(len(y))[: round(share * len(y))].numpy()
    noisy = y.copy()
    noisy[rows] = y[rows[torch.randperm(len(rows)).numpy()]]
    return noisy
