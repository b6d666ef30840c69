"""Observe a net while it trains on one batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["Probe"]

_REPLACED = ("run_single_epoch", "get_loss")


class Probe:
    """Cuts every epoch of a net to its first batch, and records batches, outputs and losses.

    Parameters
    ----------
    net : skorch net
        An unfitted net. Its overridden methods are called as in any training.

    Attributes
    ----------
    loader : object or None
        Loader of the training batches.
    batch : object or None
        The first training batch.
    output, target : object or None
        Arguments of ``get_loss`` for the first training batch.
    first_criterion_args, criterion_args : tuple
        Arguments of the first and of the last call of the criterion.
    loss : float or None
        The first training loss.
    get_loss : callable
        The net's original method.
    """

    def __init__(self, net: Any) -> None:
        self.net = net
        self.loader: Any = None
        self.batch: Any = None
        self.output: Any = None
        self.target: Any = None
        self.criterion_args: tuple[Any, ...] = ()
        self.first_criterion_args: tuple[Any, ...] = ()
        self.loss: float | None = None
        self.get_loss: Any = net.get_loss

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Replace methods of the net by those of the probe inside the block."""
        run, get_loss = self.net.run_single_epoch, self.get_loss

        def run_one_batch(iterator: Any, *args: Any, **kwargs: Any) -> Any:
            training = kwargs.get("training", args[0] if args else False)
            cut = None if iterator is None else _FirstBatch(iterator)
            if training and cut is not None:
                self.loader, cut.on_batch = iterator, self._see_batch
            return run(cut, *args, **kwargs)

        def get_watched_loss(y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> Any:
            if self.output is None:
                self.output, self.target = y_pred, y_true
            with self._watched_criterion():
                loss = get_loss(y_pred, y_true, *args, **kwargs)
            if self.loss is None and isinstance(loss, torch.Tensor) and loss.numel() == 1:
                self.loss = float(loss.detach())
            return loss

        self.net.run_single_epoch, self.net.get_loss = run_one_batch, get_watched_loss
        try:
            yield
        finally:
            for name in _REPLACED:
                vars(self.net).pop(name, None)

    def _see_batch(self, batch: Any) -> None:
        if self.batch is None:
            self.batch = batch

    @contextmanager
    def _watched_criterion(self) -> Iterator[None]:
        criterion = getattr(self.net, "criterion_", None)
        if not isinstance(criterion, nn.Module):
            yield
            return
        hook = criterion.register_forward_pre_hook(self._see_criterion)
        try:
            yield
        finally:
            hook.remove()

    def _see_criterion(self, criterion: nn.Module, args: tuple[Any, ...]) -> None:
        self.criterion_args, self.first_criterion_args = args, self.first_criterion_args or args
        n_classes = self.n_classes
        if n_classes is not None and args[1].device.type == "cuda":
            labels = args[1][args[1] != criterion.ignore_index]
            if len(labels) and not (labels.min() >= 0 and labels.max() < n_classes):
                # A GPU reports this too late, and cannot compute anything afterwards.
                raise IndexError(f"Target {int(labels.max())} is out of bounds.")

    @property
    def n_classes(self) -> int | None:
        """Number of outputs, if the criterion takes classes and has been called."""
        criterion = getattr(self.net, "criterion_", None)
        if type(criterion) not in {nn.CrossEntropyLoss, nn.NLLLoss} or len(self.criterion_args) < 2:
            return None
        output, labels = self.criterion_args[:2]
        if not all(isinstance(data, torch.Tensor) for data in (output, labels)):
            return None
        indices = output.ndim >= 2 and labels.ndim == output.ndim - 1
        return int(output.shape[1]) if indices and not labels.is_floating_point() else None


class _FirstBatch:
    """A loader that yields only its first batch."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self.on_batch: Any = lambda batch: None

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        for batch in self._loader:
            self.on_batch(batch)
            yield batch
            return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
