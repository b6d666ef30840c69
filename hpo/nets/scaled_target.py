"""Regression on a standardized target."""

from typing import Any

import numpy as np
import torch

__all__ = ["ScaledTargetMixin"]


class ScaledTargetMixin:
    """Lets a net learn ``(y - mean) / std`` and predict ``y``.

    Put it before a skorch regressor in the bases of a class. Mean and standard deviation are
    those of the training part, for each column of ``y``. Losses are in units of the standard
    deviation, scores and predictions in units of ``y``.

    Attributes
    ----------
    target_mean_, target_std_ : ndarray of float32, shape (n_targets,)
        A constant target has the standard deviation 1.
    """

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Compute the mean and standard deviation of the target.

        Raises
        ------
        ValueError
            If ``y`` is None: it must be an array or a tensor.
        """
        super().on_train_begin(net, X=X, y=y, **kwargs)  # type: ignore[misc]
        if y is None:
            raise ValueError("ScaledTargetMixin needs y as an array or a tensor. Got None instead.")
        target = np.asarray(y, dtype=np.float32)
        std = target.std(axis=0)
        self.target_mean_ = target.mean(axis=0)
        self.target_std_ = np.where(std > 0, std, np.float32(1))

    def get_loss(self, y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the loss of a batch, in standard deviations."""
        mean, std = (
            torch.as_tensor(value, device=y_true.device)
            for value in (self.target_mean_, self.target_std_)
        )
        loss: torch.Tensor = super().get_loss(  # type: ignore[misc]
            y_pred, (y_true - mean) / std, *args, **kwargs
        )
        return loss

    def predict_proba(self, X: Any) -> Any:
        """Return the predictions, in the units of ``y``."""
        return super().predict_proba(X) * self.target_std_ + self.target_mean_  # type: ignore[misc]
