"""Weight averaging during a training, as parameters to search over."""

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
    """Uses an average of the weights for validation and prediction, without changing the training.

    From the end of an epoch to the beginning of the next the module has the averaged weights:
    they give the validation losses, scores and predictions, and remain at the end. Put callbacks
    that use the weights at the end of an epoch (Checkpoint, EarlyStopping) after this one in the
    list, so that they see the average. The average and the copy of the raw weights take twice
    the memory of the module in addition.

    * ``swa``: the mean over the ends of the epochs from ``start_epoch`` on (Izmailov et al. 2018,
      *Averaging weights leads to wider optima*). It needs a learning rate that stays high.
      The statistics of batch normalization are recomputed for the average by a pass over the
      training part in each of these epochs, as in the paper's section 3.2.
    * ``ema``: ``decay`` times the average so far plus ``1 - decay`` times the new weights, after
      each batch from ``start_epoch`` on. After n batches ``decay`` is at most (1 + n) / (10 + n),
      so that the first weights do not dominate a short training. The statistics of batch
      normalization are averaged in the same way.

    Parameters
    ----------
    kind : {"none", "swa", "ema"}, default="none"
    start_epoch : int, default=1
        The first epoch of the average, at least 1; before it the raw weights are used.
    decay : float, default=0.99
        Decay of ``ema``, from above 0 to below 1: it averages about 1 / (1 - decay) batches.
    """

    def __init__(self, kind: str = "none", *, start_epoch: int = 1, decay: float = 0.99) -> None:
        self.kind = kind
        self.start_epoch = start_epoch
        self.decay = decay

    def initialize(self) -> "WeightAveraging":
        """Reset the average.

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
        """Restore the raw weights."""
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
        """Use the average for the net's own validation part, if it has one."""
        if not training:
            self._use_average(net)

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Add the weights after a batch to the average."""
        if training and self.kind == "ema" and self.average_ is not None:
            self.average_.update_parameters(net.module_)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Replace the raw weights by the average."""
        self._use_average(net)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Replace them too if another callback interrupted the end of the last epoch."""
        self._use_average(net)

    def _use_average(self, net: Any) -> None:
        if self.dataset_ is None or self.average_ is None:
            return
        dataset, self.dataset_ = self.dataset_, None
        if self.kind == "swa":
            self.average_.update_parameters(net.module_)
        self.raw_ = [tensor.detach().clone() for tensor in _tensors(net.module_)]
        _write(net.module_, list(_tensors(self.average_.module)))
        if self.kind == "swa":
            update_bn(_batches(net, dataset), _InferModule(net))


class _InferModule(nn.Module):
    """The module of a net, called by the net's ``infer``."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.module, self.infer = net.module_, net.infer

    def forward(self, X: Any) -> Any:
        return self.infer(X)


def _batches(net: Any, dataset: Any) -> Iterator[Any]:
    """Yield the inputs of a training part in random order, as classes may be sorted.

    It uses the iterator for predictions, as the one for training may be in the middle of an
    epoch. Batches of one sample are skipped, as batch normalization cannot process them.
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
    """Average as torch does, in a top-level function, as torch's own cannot be pickled."""
    n = float(n_averaged)
    average = get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))  # type: ignore[no-untyped-call]
    average(averaged, current, n_averaged)
