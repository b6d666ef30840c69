"""The callbacks of a net, called for epochs that a batch of models trains instead of the net."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from skorch.callbacks import Callback, EpochScoring, LRScheduler
from skorch.history import History
from torch import nn

from hpo.callbacks.schedule import LRSchedule
from hpo.training.adapters import figures_of
from hpo.training.callbacks import copy_of

__all__ = ["BaseReplayed", "ReplayedCallbacks", "shared_by_folds"]


class BaseReplayed(ABC):
    """The callbacks of one net on one fold: a `hpo.fused.Schedule`.

    Attributes
    ----------
    figures : dict of str to float
        Metrics in the history's row of the last epoch; see `figures_of`.
    finished : bool
        Whether a callback has ended the training.
    n_epochs : int
        Number of epochs that have begun.
    may_restore : bool
        Whether a callback may restore the weights of an earlier epoch at the end.
    """

    may_restore = False

    def __init__(self) -> None:
        self.n_epochs = 0
        self.figures: dict[str, float] = {}
        self.finished = False

    @abstractmethod
    def begin_epoch(self, n_batches: int) -> Sequence[float]:
        """Return the learning rates of the next epoch: one per minibatch, or a single one."""

    @abstractmethod
    def end_epoch(self, metrics: Mapping[str, float]) -> None:
        """Call the callbacks at the end of an epoch.

        Parameters
        ----------
        metrics : mapping of str to float
            The losses and the scores of the net's own validation part, by their names in the
            history.
        """

    def end_train(self) -> int:
        """Return the epoch, from 1, whose weights the net has at the end: usually the last."""
        return self.n_epochs


class ReplayedCallbacks(BaseReplayed):
    """Callbacks that are called in order, with the losses of one fold.

    They are copies of the user's own, and are given a stand-in with the parts of a net that they
    use: an optimizer of one weight, whose learning rate they set, and a history, which they read
    and write.

    Parameters
    ----------
    callbacks : sequence of (str, callback)
        Callbacks of an initialized net.
    lr : float
        Initial learning rate.
    """

    def __init__(self, callbacks: Sequence[tuple[str, Any]], lr: float) -> None:
        super().__init__()
        self._net = _Net(lr)
        self._by_batch = any(_steps_by_batch(callback) for _, callback in callbacks)
        self._callbacks = [_replayed(callback, self._net) for _, callback in callbacks]
        self.may_restore = any(getattr(c, "load_best", False) for _, c in callbacks)
        self._notify("on_train_begin", X=None, y=None)

    def begin_epoch(self, n_batches: int) -> Sequence[float]:
        """Call the callbacks up to the end of an epoch's last minibatch; return the rates."""
        net = self._net
        if self.finished:
            return [net.lr]
        self.n_epochs += 1
        net.n_batches = n_batches
        net.history.new_epoch()
        net.history.record("epoch", len(net.history))
        self._notify("on_epoch_begin", dataset_train=None, dataset_valid=None)
        rates = []
        for _ in range(n_batches if self._by_batch else 1):
            net.history.new_batch()
            rates.append(net.lr)
            if (
                len(net.history) == 1
            ):  # torch's schedulers warn unless the optimizer has stepped before
                net.optimizer_.step()
            self._notify("on_batch_end", training=True, batch=None)
        return rates

    def end_epoch(self, metrics: Mapping[str, float]) -> None:
        """Call the callbacks at the end of an epoch."""
        if self.finished:
            return
        net = self._net
        net.metrics = metrics
        batches = net.history[-1]["batches"]
        batches[:] = []  # replaced by one with the means, of which skorch's callbacks take the mean
        net.history.new_batch()
        for part in ("train", "valid"):
            if f"{part}_loss" in metrics:
                net.history.record_batch(f"{part}_loss", metrics[f"{part}_loss"])
                net.history.record_batch(f"{part}_batch_size", 1)
        net.module_.epoch = len(net.history)
        try:
            self._notify("on_epoch_end", dataset_train=None, dataset_valid=None)
        except KeyboardInterrupt:  # how callbacks of skorch end a training
            self.finished = True
        self.figures = figures_of(net.history[-1])

    def end_train(self) -> int:
        """Call the callbacks at the end; return the epoch, from 1, whose weights the net has."""
        self._notify("on_train_end", X=None, y=None)
        return self._net.module_.epoch

    def _notify(self, name: str, **kwargs: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, name)(self._net, **kwargs)


def shared_by_folds(
    callbacks: Sequence[tuple[str, Any]], lr: float, n_folds: int
) -> list[BaseReplayed]:
    """Return callbacks that depend only on epochs and minibatches, called once for all folds.

    See `ReplayedCallbacks` for the parameters. The folds must be trained in lock-step.
    """
    leaders: dict[int, _Leader] = {}
    return [_Follower(lambda: ReplayedCallbacks(callbacks, lr), leaders) for _ in range(n_folds)]


class _Leader:
    """Callbacks that are called for all folds, with the results of their last epoch."""

    def __init__(self, callbacks: ReplayedCallbacks) -> None:
        self._callbacks = callbacks
        self._number = 0
        self.rates: Sequence[float] = []
        self.figures: dict[str, float] = {}

    def advance(self, number: int, n_batches: int) -> None:
        """Advance to an epoch, unless another fold has done so."""
        if number > self._number:
            self._number = number
            self.rates = self._callbacks.begin_epoch(n_batches)
            self._callbacks.end_epoch({"train_loss": 0.0})
            self.figures = self._callbacks.figures


class _Follower(BaseReplayed):
    """A fold that shares its learning rates with all folds of the same number of minibatches."""

    def __init__(self, make: Callable[[], ReplayedCallbacks], leaders: dict[int, _Leader]) -> None:
        super().__init__()
        self._make, self._leaders = make, leaders

    def begin_epoch(self, n_batches: int) -> Sequence[float]:
        """Return the rates of the next epoch."""
        self.n_epochs += 1
        if n_batches not in self._leaders:
            self._leaders[n_batches] = _Leader(self._make())
        self._leader = self._leaders[n_batches]
        self._leader.advance(self.n_epochs, n_batches)
        return self._leader.rates

    def end_epoch(self, metrics: Mapping[str, float]) -> None:
        """Copy the metrics of the leader, with the fold's own loss."""
        self.figures = dict(self._leader.figures)
        if "train_loss" in self.figures:
            self.figures["train_loss"] = metrics["train_loss"]


class _Net:
    """A stand-in with the parts of a net that these callbacks use."""

    verbose = 0

    def __init__(self, lr: float) -> None:
        self.optimizer_ = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
        self.history = History()
        self.module_ = _Module()
        self.n_batches = 0
        self.metrics: Mapping[str, float] = {}

    @property
    def lr(self) -> float:
        """The learning rate as the callbacks have set it."""
        return float(self.optimizer_.param_groups[0]["lr"])

    def get_iterator(self, dataset: Any, training: bool = False) -> range:
        """Return a range as long as the loader of the training part."""
        return range(self.n_batches)


class _Module:
    """A stand-in for a module, whose state is the number of the epoch of its weights."""

    epoch = 0

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.epoch = state["epoch"]


def _steps_by_batch(callback: Any) -> bool:
    if isinstance(callback, LRScheduler):
        return bool(callback.step_every == "batch")
    return isinstance(callback, LRSchedule) and callback.steps_by_batch


def _replayed(callback: Any, net: _Net) -> Any:
    if isinstance(callback, EpochScoring):
        return _RecordedScore(callback)
    copied = copy_of(callback)
    copied.initialize()
    return copied


class _RecordedScore(Callback):  # type: ignore[misc]  # skorch has no types
    """Records a score that has been computed elsewhere, as `EpochScoring` would."""

    def __init__(self, scoring: EpochScoring) -> None:
        self.name = scoring.name_
        self.lower_is_better = scoring.lower_is_better
        self.best = None

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        score = net.metrics[self.name]
        net.history.record(self.name, score)
        if self.lower_is_better is None:
            return
        sign = 1 if self.lower_is_better else -1
        is_best = sign * score < (float("inf") if self.best is None else sign * self.best)
        self.best = score if is_best else self.best
        net.history.record(f"{self.name}_best", bool(is_best))
