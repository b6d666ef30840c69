"""The loss of a minibatch by samples, so that padding can be left out."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.func import vmap

from hpo.fused._losses import LOSSES, Loss, Values
from hpo.fused.errors import NotFusibleError

__all__ = ["OF_CLASSES", "OF_NUMBERS", "SETTINGS", "Criterion", "mean_losses", "widen"]

_REDUCTIONS = {"mean", "sum"}

SETTINGS: Mapping[type[nn.Module], frozenset[str]] = {
    nn.CrossEntropyLoss: frozenset({"ignore_index", "label_smoothing"}),
    nn.NLLLoss: frozenset({"ignore_index"}),
    nn.MultiMarginLoss: frozenset({"p", "margin"}),
    nn.MSELoss: frozenset(),
    nn.L1Loss: frozenset(),
    nn.SmoothL1Loss: frozenset({"beta"}),
    nn.HuberLoss: frozenset({"delta"}),
    nn.BCEWithLogitsLoss: frozenset(),
    nn.BCELoss: frozenset(),
    nn.SoftMarginLoss: frozenset(),
    nn.PoissonNLLLoss: frozenset({"log_input", "full", "eps"}),
}
"""Settings of torch's criteria beside ``reduction`` and weights; a test fails if there are more."""

OF_CLASSES = frozenset({nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss})
"""Criteria whose targets are class indices."""

OF_NUMBERS = frozenset(LOSSES) - OF_CLASSES
"""Criteria that compare each output with a number."""


def widen(criterion: nn.Module) -> None:
    """Convert a criterion to float64 in place, including tensors that are not buffers."""
    criterion.double()
    for layer in criterion.modules():
        for name, value in list(vars(layer).items()):
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                setattr(layer, name, value.double())


class Criterion:
    """The loss of a minibatch with a mask: formulas for torch's criteria, others row by row.

    Any other class is called for each row separately, which is only right for a mean over the
    rows; `hpo.executors.fused.loss.check_loss` checks whether it is one.

    Parameters
    ----------
    criterion : torch.nn.Module
    of_probabilities : bool, default=True
        Whether a `torch.nn.NLLLoss` is given the logarithm of the module's outputs, as by
        skorch's classifier.

    Attributes
    ----------
    label_smoothing : float
        Label smoothing of the criterion; it may differ between models of a batch.
    is_custom : bool
        Whether there is no formula for the class.
    classifies : bool
        Whether targets are class indices.
    ignored : int or None
        A label that torch's criterion ignores.
    sums : bool
        Whether the loss is the sum over the rows of a minibatch, and not their mean.
    adds_up : bool
        Whether all rows of a minibatch have the same weight in its loss, so that this is known
        from the losses of parts of the minibatch and their sizes alone.

    Raises
    ------
    NotFusibleError
        If a setting of a class with a formula is not supported.
    """

    def __init__(self, criterion: nn.Module, *, of_probabilities: bool = True) -> None:
        cls = type(criterion)
        self._module: Any = criterion
        self._takes_logs = of_probabilities and isinstance(criterion, nn.NLLLoss)
        self.is_custom = cls not in LOSSES
        self.classifies = cls in OF_CLASSES
        if self.is_custom:
            self.label_smoothing, self.ignored, self.sums = 0.0, None, False
            self.adds_up = True
            return
        unsupported = set(vars(criterion)) - set(vars(nn.Module())) - SETTINGS[cls] - {"reduction"}
        if unsupported:
            raise NotFusibleError(
                f"the criterion {cls.__name__} has the setting {min(unsupported)}"
            )
        if self._module.reduction not in _REDUCTIONS:
            raise NotFusibleError(
                f"the criterion {cls.__name__} has reduction={self._module.reduction!r}"
            )
        self.sums = self._module.reduction == "sum"
        self._loss: Loss = LOSSES[cls](criterion)
        self._tensors = dict(criterion.named_buffers())
        weighs_rows = cls in {nn.CrossEntropyLoss, nn.NLLLoss} and "weight" in self._tensors
        self.adds_up = self.sums or not weighs_rows
        self.label_smoothing = float(getattr(criterion, "label_smoothing", 0.0))
        self.ignored = getattr(criterion, "ignore_index", None)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Criterion":
        """Return a copy on the device, with weights of the given type."""
        copied = copy.copy(self)
        copied._module = copy.deepcopy(self._module).to(device).train()
        if dtype is torch.float64:
            widen(copied._module)
        copied._tensors = dict(copied._module.named_buffers())
        return copied

    def __call__(
        self, out: torch.Tensor, y: torch.Tensor, label_smoothing: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss.

        Parameters
        ----------
        out : tensor of shape (n_samples, ...)
        y : tensor of shape (n_samples,) of classes, or of the shape of ``out``
        label_smoothing : tensor of shape ()
        mask : tensor of shape (n_samples,)
            1 for a sample that counts, 0 for padding.

        Returns
        -------
        tensor of shape ()
        """
        out = out.float() if out.dtype == torch.bfloat16 else out
        if self._takes_logs:
            out = torch.log(out + torch.finfo(out.dtype).eps)
        losses, shares = self._values(out, y, label_smoothing)
        losses = losses.reshape(len(losses), -1)
        if self.sums:
            return (losses.sum(1) * mask).sum()
        counted = mask if shares is None else shares * mask
        return (losses.mean(1) * mask).sum() / counted.sum()

    def _values(self, out: torch.Tensor, y: torch.Tensor, smoothing: torch.Tensor) -> Values:
        if not self.is_custom:
            return self._loss(out, y, smoothing, self._tensors)

        def row_loss(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            # Give the target each axis of vmap that the output has: if one is missing,
            # torch's rules for some losses (squared, Huber's) fail.
            y = torch.where(torch.ones_like(out, dtype=torch.bool).any(), y, y)
            loss: torch.Tensor = self._module(out.unsqueeze(0), y.unsqueeze(0))
            return loss

        return vmap(row_loss)(out, y), None


def mean_losses(  # noqa: PLR0917
    criterion: Criterion,
    outputs: torch.Tensor,
    y: torch.Tensor,
    n: torch.Tensor,
    label_smoothing: torch.Tensor,
    batch_size: int,
) -> torch.Tensor:
    """Return the losses of many models over the samples of each fold, as skorch computes them.

    That is the mean over the minibatches, weighted by their sizes; for a criterion with class
    weights, or one that sums, it differs from the loss over all samples.

    Parameters
    ----------
    criterion : Criterion
    outputs : tensor of shape (n_folds, n_models, n_longest, ...)
    y : tensor of shape (n_folds, n_longest, ...)
        Targets, the shorter parts padded.
    n : tensor of shape (n_folds,)
        Number of samples of each fold, which come before the padding.
    label_smoothing : tensor of shape (n_models,)
    batch_size : int
        Number of samples of a minibatch in evaluation.

    Returns
    -------
    tensor of shape (n_folds, n_models)
    """
    models = vmap(criterion, in_dims=(0, None, 0, None))
    folds = vmap(models, in_dims=(0, 0, None, 0))
    total = torch.zeros(outputs.shape[:2], dtype=outputs.dtype, device=outputs.device)
    positions = torch.arange(outputs.shape[2], device=n.device)
    for start in range(0, outputs.shape[2], batch_size):
        rows = slice(start, start + batch_size)
        mask = (positions[rows] < n.unsqueeze(1)).to(total)
        sizes = mask.sum(1, keepdim=True)
        losses = folds(outputs[:, :, rows], y[:, rows], label_smoothing, mask)
        total += torch.where(sizes > 0, losses * sizes, 0.0)
    return total / n.unsqueeze(1)
