"""Train on wrong labels, to see how a net copes with them."""

from typing import Any

import numpy as np
import torch
from skorch.utils import data_from_dataset, to_numpy

__all__ = ["LabelNoiseMixin"]


class LabelNoiseMixin:
    """Shuffles a share of the training labels, once per training.

    Put it before a skorch net in the bases of a class. A share of the samples is drawn and
    their labels are permuted among them, so that the frequencies of the classes do not change;
    by chance some samples keep their label. The labels are the same in all epochs. Validation,
    whether by the search or by the net's own ``train_split``, uses the true labels. At 1 the net
    can only memorize the samples (Zhang et al. 2017, *Understanding deep learning
    requires rethinking generalization*, section 2).

    The training accuracy of skorch's ``EpochScoring("accuracy", on_train=True)`` refers to
    the shuffled labels.

    Parameters
    ----------
    label_noise : float, default=0.0
        Share of the training samples whose labels are shuffled, from 0 to 1.
    *args, **kwargs
        Arguments of the skorch net.
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
            self.noisy_labels_ = _shuffle(to_numpy(y), self.label_noise)
        return self.get_dataset(X, self.noisy_labels_)  # type: ignore[attr-defined]


def _shuffle(y: np.ndarray, share: float) -> np.ndarray:
    rows = torch.randperm(len(y))[: round(share * len(y))].numpy()
    noisy = y.copy()
    noisy[rows] = y[rows[torch.randperm(len(rows)).numpy()]]
    return noisy
