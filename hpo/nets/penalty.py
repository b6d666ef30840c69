"""skorch nets with L1 and L2 penalties on their weights, as parameters to search over."""

import math
from typing import Any

import torch
from skorch import NeuralNetClassifier, NeuralNetRegressor

from hpo.nets.casting import LabelEncodingMixin, TargetShapeMixin

__all__ = ["PenaltyMixin", "RegularizedClassifier", "RegularizedRegressor"]


class PenaltyMixin:
    """Adds ``l1_lambda * sum(abs(w)) + l2_lambda * sum(w ** 2)`` to the training loss of a net.

    Put it before a skorch net in the bases of a class. The sums run over the weights:
    every parameter of two or more dimensions that is not frozen. Biases and the scales of
    normalization layers, which have one dimension, are not penalized, as usual: they are few,
    and shrinking them underfits more than it helps (Goodfellow, Bengio and Courville 2016,
    *Deep Learning*, section 7.1).

    The penalty is part of ``train_loss`` but of no validation score. If a coefficient is 0,
    nothing is computed for it. Under plain SGD ``l2_lambda=c`` equals
    ``optimizer__weight_decay=2 * c`` on these weights; under adaptive optimizers it does
    not (Loshchilov and Hutter 2019, *Decoupled weight decay regularization*).

    Parameters
    ----------
    l1_lambda : float, default=0.0
        Coefficient of the sum of absolute weights, 0 or greater.
    l2_lambda : float, default=0.0
        Coefficient of the sum of squared weights, 0 or greater.
    *args, **kwargs
        Arguments of the skorch net.
    """

    def __init__(
        self, *args: Any, l1_lambda: float = 0.0, l2_lambda: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.l1_lambda = l1_lambda
        self.l2_lambda = l2_lambda

    def initialize(self) -> Any:
        """Build the net.

        Raises
        ------
        ValueError
            If a coefficient is negative or not finite.
        """
        for name in ("l1_lambda", "l2_lambda"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be a number of 0 or greater. Got {value!r} instead.")
        return super().initialize()  # type: ignore[misc]

    def get_loss(
        self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False
    ) -> torch.Tensor:
        """Return the criterion's loss of a batch, with the penalty while training."""
        loss: torch.Tensor = super().get_loss(  # type: ignore[misc]
            y_pred, y_true, X=X, training=training
        )
        if training and (self.l1_lambda or self.l2_lambda):
            loss = loss + self._penalty()
        return loss

    def _penalty(self) -> torch.Tensor | float:
        weights = [
            parameter
            for _, parameter in self.get_all_learnable_params()  # type: ignore[attr-defined]
            if parameter.ndim > 1 and parameter.requires_grad
        ]
        penalty: torch.Tensor | float = 0.0
        if self.l1_lambda:
            penalty += self.l1_lambda * sum(w.abs().sum() for w in weights)
        if self.l2_lambda:
            penalty += self.l2_lambda * sum(w.square().sum() for w in weights)
        return penalty


class RegularizedClassifier(
    PenaltyMixin,
    LabelEncodingMixin,
    NeuralNetClassifier,  # type: ignore[misc]
):
    """A skorch classifier on logits, with `PenaltyMixin`'s two parameters.

    It accepts float64 rows and labels of any kind; see `LabelEncodingMixin`.

    Parameters
    ----------
    module : torch module (class or instance)
        Must return a logit for each class, without a softmax.
    *args, **kwargs
        Arguments of `skorch.NeuralNetClassifier`, ``l1_lambda`` and ``l2_lambda``.
    criterion : torch criterion (class), default=torch.nn.CrossEntropyLoss
        skorch's own default expects probabilities. With this one ``predict_proba`` applies
        the softmax (skorch's ``predict_nonlinearity="auto"``).
    train_split : callable or None, default=None
        skorch's own default sets aside a fifth of the training part of every fold. Give
        ``ValidSplit(5, stratified=True)`` for callbacks that use ``valid_loss``.
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


class RegularizedRegressor(
    PenaltyMixin,
    TargetShapeMixin,
    NeuralNetRegressor,  # type: ignore[misc]
):
    """A skorch regressor with `PenaltyMixin`'s two parameters.

    It accepts float64 rows and flat targets; see `TargetShapeMixin`.

    Parameters
    ----------
    module : torch module (class or instance)
        Must return a tensor of shape (n_samples, n_targets), or (n_samples,) for one target.
    *args, **kwargs
        Arguments of `skorch.NeuralNetRegressor` (criterion: `torch.nn.MSELoss`), ``l1_lambda``
        and ``l2_lambda``.
    train_split : callable or None, default=None
        skorch's own default sets aside a fifth of the training part of every fold. Give
        ``ValidSplit(5)`` for callbacks that use ``valid_loss``.
    """

    def __init__(self, module: Any, *args: Any, train_split: Any = None, **kwargs: Any) -> None:
        super().__init__(module, *args, train_split=train_split, **kwargs)
