"""Averages of the weights along a training, as parameters to search over."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from skorch.callbacks import Callback
from skorch.dataset import get_len, unpack_data
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.utils.data import Subset

from hpo._discovery import did_you_mean

__all__ = ["WeightAveraging"]

KINDS = ("none", "swa", "ema")


class WeightAveraging(Callback):  # type: ignore[misc]  # skorch has no types
    """Trains on as without it, but has the average of the weights judge and predict.

    From the end of an epoch to the begin of the next the module holds the average: validation
    losses, scores and predictions are the average's, and so is what is left at the end. Callbacks
    that look at the weights when an epoch ends (Checkpoint, EarlyStopping) stand behind this one
    in the list to see the average. The module's copy for the average and the raw weights put
    aside take twice its memory more.

    * ``swa``: the mean over the ends of the epochs from ``start_epoch`` on (Izmailov et al. 2018,
      *Averaging weights leads to wider optima*). It wants a learning rate that stays up. The
      statistics of batch normalization are made anew for the average by a pass over the training
      part in each of these epochs, as in the paper's section 3.2.
    * ``ema``: ``decay`` times the average so far, and the rest of the new weights, after each
      batch from ``start_epoch`` on. After n of them ``decay`` is at most (1 + n) / (10 + n), or the
      first would weigh on a short training. Batch normalization's statistics are averaged in
      the same way.

    Parameters
    ----------
    kind : {"none", "swa", "ema"}, default="none"
    start_epoch : int, default=1
        The first epoch that counts, at least 1; before it the raw weights judge.
    decay : float, default=0.99
        Of ``ema``, from above 0 to below 1: it looks back on about 1 / (1 - decay) batches.
    """

    def __init__(self, kind: str = "none", *, start_epoch: int = 1, decay: float = 0.99) -> None:
        self.kind = kind
        self.start_epoch = start_epoch
        self.decay = decay

    def initialize(self) -> "WeightAveraging":
        """Forget an average.

        Raises
        ------
        ValueError
            If a parameter is out of its range.
        """
        if self.kind not in KINDS:
            hint = did_you_mean(str(self.kind), KINDS) or "."
            raise ValueError(
                f"The kind of WeightAveraging must be one of: {', '.join(KINDS)}. "
                f"Got {self.kind!r} instead{hint}"
            )
        if self.start_epoch < 1:
            raise ValueError(
                f"WeightAveraging's start_epoch must be at least 1. Got {self.start_epoch!r}."
            )
        if not 0 < self.decay < 1:
            raise ValueError(
                f"WeightAveraging's decay must be from above 0 to below 1. Got {self.decay!r}."
            )
        self.average_: AveragedModel | None = None
        self.raw_: list[torch.Tensor] | None = None
        self.epoch_ = 0
        self.dataset_: Any = None
        return self

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, **kwargs: Any) -> None:
        """Put the raw weights back."""
        if self.kind == "none":
            return
        self.epoch_ += 1
        if self.raw_ is not None:
            _write(net.module_, self.raw_)
            self.raw_ = None
        if self.epoch_ < self.start_epoch:
            return
        self.dataset_ = dataset_train
        if self.average_ is None:
            ema = self.kind == "ema"
            average = partial(_ema, decay=self.decay) if ema else None
            self.average_ = AveragedModel(net.module_, multi_avg_fn=average, use_buffers=ema)

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Let the average judge the net's own validation part, if it has one."""
        if not training:
            self._show(net)

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Take the weights of a batch in."""
        if training and self.kind == "ema" and self.average_ is not None:
            self.average_.update_parameters(net.module_)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Put the average in the place of the raw weights."""
        self._show(net)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Do so too where another callback broke the last epoch's end off."""
        self._show(net)

    def _show(self, net: Any) -> None:
        if self.dataset_ is None or self.average_ is None:
            return
        dataset, self.dataset_ = self.dataset_, None
        if self.kind == "swa":
            self.average_.update_parameters(net.module_)
        self.raw_ = [tensor.detach().clone() for tensor in _tensors(net.module_)]
        _write(net.module_, list(_tensors(self.average_.module)))
        if self.kind == "swa":
            update_bn(_batches(net, dataset), _Inferring(net))


class _Inferring(nn.Module):
    """The module of a net, called as the net calls it."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.module, self.infer = net.module_, net.infer

    def forward(self, X: Any) -> Any:
        return self.infer(X)


def _batches(net: Any, dataset: Any) -> Iterator[Any]:
    """Yield a training part's inputs in random order: classes may come sorted.

    By the iterator for predictions, as the one for training may be in the middle of an epoch.
    Batch normalization cannot take a batch of one.
    """
    shuffled = Subset(dataset, torch.randperm(len(dataset)).tolist())
    for batch in net.get_iterator(shuffled, training=False):
        X, _ = unpack_data(batch)
        if get_len(X) > 1:
            yield X


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _write(module: nn.Module, values: list[torch.Tensor]) -> None:
    with torch.no_grad():
        for tensor, value in zip(_tensors(module), values, strict=True):
            tensor.copy_(value)


def _ema(averaged: Any, current: Any, n_averaged: torch.Tensor, *, decay: float) -> None:
    """Average as torch does: at the top of a module, as torch's own cannot be pickled."""
    n = float(n_averaged)
    average = get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))  # type: ignore[no-untyped-call]
    average(averaged, current, n_averaged)
