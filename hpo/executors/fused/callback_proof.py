"""Proof that the callbacks of a net do the same in the fused loop as in its own `fit`."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from skorch.callbacks import Callback
from skorch.dataset import Dataset
from skorch.helper import predefined_split

from hpo.executors.fused.replayed_callbacks import BaseReplayed
from hpo.fused import NotFusibleError
from hpo.training.adapters import figures_of
from hpo.training.random_stream import RandomStream
from hpo.trial import derive_seed

__all__ = ["MAX_EPOCHS", "compare_callbacks"]

MAX_EPOCHS = 100
"""Largest number of epochs that are compared."""

Rows = tuple[torch.Tensor, torch.Tensor]

N_ROWS, N_BATCHES = 32, 2
"""Rows of a minibatch and of the validation part, and minibatches of an epoch."""

_NOT_RECORDED = {"grad_norm", "grad_norm_max"}
"""Metrics of `GradientClipping` that a batch of models does not record."""


def compare_callbacks(
    net: Any,
    callbacks: Callable[[float, int], Sequence[Any]],
    train: Rows,
    held_out: Rows | None,
    *,
    n_epochs: int,
    n_batches: int,
) -> None:
    """Fit a net on a few rows by its own ``fit``, and replay its callbacks from what it records.

    The learning rate of each minibatch, all metrics of each epoch, and the epoch in which the
    training ends must be the same, to the last bit.

    Parameters
    ----------
    net : skorch net
        Configured and not initialized; it is fitted.
    callbacks : callable
        ``callbacks(lr, n_folds)`` makes the replayed callbacks; see `schedules_of`.
    train, held_out : pair of tensors of shape (n_samples, ...)
        X and y of training samples, and of the net's own validation part if it has one.
    n_epochs : int
        Number of epochs of a trial; at most `MAX_EPOCHS` are made.
    n_batches : int
        Minibatches of an epoch in the shortest fold; at most `N_BATCHES` are made.

    Raises
    ------
    NotFusibleError
        If something differs, or the net cannot be fitted.
    """
    size = max(1, min(N_ROWS, len(train[0]) // N_BATCHES))
    watcher = _Watcher()
    batch_sizes = {"batch_size": size}
    if "batch_size" in net.get_params_for("iterator_train"):
        batch_sizes["iterator_train__batch_size"] = size
    net.set_params(verbose=0, warm_start=True, max_epochs=min(n_epochs, MAX_EPOCHS), **batch_sizes)
    if held_out is not None:
        net.set_params(train_split=predefined_split(Dataset(*_spread(held_out, N_ROWS))))
    X, y = _spread(train, size * min(n_batches, N_BATCHES))
    with RandomStream(derive_seed("fused", "callbacks"), str(X.device)).active():
        try:
            net.initialize()
            net.callbacks_.insert(0, ("hpo_rates", watcher))
            (replayed,) = callbacks(float(net.optimizer_.param_groups[0]["lr"]), 1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # scorers warn that there are few rows
                net.fit(X, y)
        except NotFusibleError:
            raise
        except Exception as error:
            message = " ".join(str(error).split())[:200]
            raise NotFusibleError(
                f"the net's own `fit` raises {type(error).__name__} on a few rows: {message}"
            ) from error
        _compare(net.history, watcher.rates, replayed, n_epochs=net.max_epochs)
    if replayed.may_restore:
        restored = replayed.end_train()
        if not torch.equal(watcher.weights[restored - 1], _first_weight(net)):
            raise NotFusibleError(
                f"the weights after the net's own `fit` are not those of epoch {restored}, which "
                "its callbacks put back in a batch of models"
            )


def _spread(rows: Rows, n: int) -> Rows:
    """Return ``n`` rows spread over the data, which may be sorted by label."""
    index = torch.linspace(0, len(rows[0]) - 1, min(n, len(rows[0]))).long()
    return rows[0][index.to(rows[0].device)], rows[1][index.to(rows[1].device)]


class _Watcher(Callback):  # type: ignore[misc]  # skorch has no types
    """Records the learning rate of each minibatch, before other callbacks change it."""

    def __init__(self) -> None:
        self.rates: list[list[float]] = []
        self.weights: list[torch.Tensor] = []
        """Weights of the first layer at the end of each epoch."""

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        self.rates.append([])

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if training:
            self.rates[-1].append(float(net.optimizer_.param_groups[0]["lr"]))

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self.weights.append(_first_weight(net).clone())


def _first_weight(net: Any) -> torch.Tensor:
    weight: torch.Tensor = next(net.module_.parameters()).detach()
    return weight


def _compare(
    history: Any, rates: list[list[float]], replayed: BaseReplayed, *, n_epochs: int
) -> None:
    for row, net_rates in zip(history, rates, strict=True):
        epoch = row["epoch"]
        replayed_rates = list(replayed.begin_epoch(len(net_rates)))
        if replayed_rates * (len(net_rates) if len(replayed_rates) == 1 else 1) != net_rates:
            raise NotFusibleError(
                f"the learning rates of epoch {epoch} are {net_rates} in the net's own `fit`, and "
                f"{replayed_rates} in a batch of models"
            )
        replayed.end_epoch(figures_of(row))
        recorded = {n: value for n, value in figures_of(row).items() if n not in _NOT_RECORDED}
        if repr(sorted(recorded.items())) != repr(
            sorted(replayed.figures.items())
        ):  # as text, nan equals nan
            raise NotFusibleError(
                f"the net's callbacks record {recorded} in epoch {epoch}, and {replayed.figures} "
                "in a batch of models"
            )
        ended = epoch == len(history) < n_epochs
        if replayed.finished != ended and epoch < n_epochs:
            raise NotFusibleError(
                f"the net's callbacks {'' if ended else 'do not '}end its training in epoch "
                f"{epoch}, unlike in a batch of models"
            )
