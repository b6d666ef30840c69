"""Losses sample by sample, so that padded samples can be left out of a batch's mean."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import vmap

from hpo.fused.errors import NotFusibleError

__all__ = ["Criterion", "mean_losses"]

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def _one_hot(y: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return classes as columns: by a comparison, as `torch.nn.functional.one_hot` looks at y."""
    return (y.unsqueeze(-1) == torch.arange(like.shape[-1], device=y.device)).to(like.dtype)


def _cross_entropy(out: torch.Tensor, y: torch.Tensor, smoothing: torch.Tensor) -> torch.Tensor:
    logs = torch.log_softmax(out, -1)
    target = _one_hot(y, logs) * (1.0 - smoothing) + smoothing / out.shape[-1]
    return -(target * logs).sum(-1)


def _nll_of_probabilities(
    out: torch.Tensor, y: torch.Tensor, smoothing: torch.Tensor
) -> torch.Tensor:
    # skorch's NeuralNetClassifier takes the logarithm of what the module returns.
    logs = torch.log(out + torch.finfo(out.dtype).eps)
    return -(_one_hot(y, logs) * logs).sum(-1)


def _squared(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (out - y).square()


def _absolute(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (out - y).abs()


def _smooth(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    size = (out - y).abs()
    return torch.where(size < 1, 0.5 * size.square(), size - 0.5)


def _logistic(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.softplus(out) - out * y


def _per_sample(loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Loss:
    """Return the mean over the outputs of a sample.

    The losses are written out: those of `torch.nn.functional` mix samples up under two vmaps.
    """

    def mean_of_sample(out: torch.Tensor, y: torch.Tensor, smoothing: torch.Tensor) -> torch.Tensor:
        return loss(out, y.to(out.dtype)).flatten(1).mean(1)

    return mean_of_sample


_LOSSES: Mapping[type[nn.Module], Loss] = {
    nn.CrossEntropyLoss: _cross_entropy,
    nn.NLLLoss: _nll_of_probabilities,
    nn.MSELoss: _per_sample(_squared),
    nn.L1Loss: _per_sample(_absolute),
    nn.SmoothL1Loss: _per_sample(_smooth),
    nn.BCEWithLogitsLoss: _per_sample(_logistic),
}

_PLAIN: Mapping[str, object] = {
    "weight": None,
    "pos_weight": None,
    "ignore_index": -100,
    "reduction": "mean",
    "beta": 1.0,
}
"""Attributes of a criterion that are taken at these values alone."""


class Criterion:
    """The loss of each sample of a batch, by the class of a torch criterion.

    Parameters
    ----------
    criterion : torch.nn.Module

    Attributes
    ----------
    label_smoothing : float
        That of the criterion; it may differ between models of a batch.

    Raises
    ------
    NotFusibleError
        If the class, or a setting of it, is not known here.
    """

    def __init__(self, criterion: nn.Module) -> None:
        cls = type(criterion)
        if cls not in _LOSSES:
            raise NotFusibleError(f"the criterion is {cls.__name__}")
        for name, value in _PLAIN.items():
            if getattr(criterion, name, value) != value:
                raise NotFusibleError(f"the criterion {cls.__name__} has {name} set")
        self._loss = _LOSSES[cls]
        self.classifies = cls in {nn.CrossEntropyLoss, nn.NLLLoss}
        self.label_smoothing = float(getattr(criterion, "label_smoothing", 0.0))

    def __call__(
        self, out: torch.Tensor, y: torch.Tensor, label_smoothing: torch.Tensor
    ) -> torch.Tensor:
        """Return the losses.

        Parameters
        ----------
        out : tensor of shape (n_samples, ...)
        y : tensor of shape (n_samples,) of classes, or of the shape of ``out``
        label_smoothing : tensor of shape ()

        Returns
        -------
        tensor of shape (n_samples,)
        """
        return self._loss(out.float() if out.dtype == torch.bfloat16 else out, y, label_smoothing)


def mean_losses(
    criterion: Criterion,
    outputs: torch.Tensor,
    y: torch.Tensor,
    n: torch.Tensor,
    label_smoothing: torch.Tensor,
) -> torch.Tensor:
    """Return the mean loss of many models over the samples of each fold.

    Parameters
    ----------
    criterion : Criterion
    outputs : tensor of shape (n_folds, n_models, n_longest, ...)
    y : tensor of shape (n_folds, n_longest, ...)
        What the outputs are compared with, the shorter parts filled up.
    n : tensor of shape (n_folds,)
        Samples of each fold, which stand before the filling.
    label_smoothing : tensor of shape (n_models,)

    Returns
    -------
    tensor of shape (n_folds, n_models)
    """
    models = vmap(criterion, in_dims=(0, None, 0))
    losses = vmap(models, in_dims=(0, 0, None))(outputs, y, label_smoothing)
    counts = torch.arange(losses.shape[2], device=n.device) < n.unsqueeze(1)
    kept = torch.where(counts.unsqueeze(1), losses, 0.0)
    return kept.sum(2) / n.unsqueeze(1)
