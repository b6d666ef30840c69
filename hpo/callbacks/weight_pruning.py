"""Prune weights of a net while it trains; lottery tickets."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from skorch.callbacks import Callback
from torch.nn.utils import prune

from hpo._discovery import did_you_mean
from hpo.callbacks._once import Once

__all__ = ["OncePruned", "WeightPruning"]

SCOPES = ("global", "layer")
REINITS = ("keep", "random", "rewind")


class WeightPruning(Callback):  # type: ignore[misc]  # skorch has no types
    """Sets the smallest weights permanently to zero after some epochs, and continues training.

    The weights are all parameters of two or more dimensions that are not frozen. Those with the
    smallest absolute values are pruned (`torch.nn.utils.prune.L1Unstructured`). They stay exactly
    zero: their gradients are set to zero before each step, and changes by momentum or weight
    decay are undone after it. So the names of the module's parameters stay the same, and
    predictions do not need the callback.

    With one round and ``reinit="keep"`` this is pruning and fine-tuning (Han et al. 2015,
    *Learning both weights and connections*). With several rounds and ``reinit="rewind"`` it is
    the iterative magnitude pruning of lottery tickets, with ``"random"`` their control (Frankle
    and Carbin 2019, *The lottery ticket hypothesis*, sections 1 and 2). Round ``k`` of ``n``
    leaves ``(1 - amount) ** (k / n)`` of the weights, so each round prunes the same share of the
    remaining ones.

    It records ``sparsity``, the share of pruned weights, from 0 to 1. Before the last round the
    net is less sparse than required, but a search may select such an epoch as the best of a
    trial: use `OncePruned` as the scorer.

    Parameters
    ----------
    amount : float, default=0.5
        Share of the weights that are pruned after the last round, from 0 to below 1.
    at_epoch : int, default=10
        Number of epochs before the first round and between two rounds, at least 1. The epochs
        after the last round are the fine-tuning.
    rounds : int, default=1
        Number of rounds, at least 1. The last round is after ``at_epoch * rounds`` epochs.
    scope : {"global", "layer"}, default="global"
        Whether to compare the weights of all layers, or to prune the same share of each layer.
    reinit : {"keep", "random", "rewind"}, default="keep"
        What to do with the remaining weights at each round: keep them; give them their initial
        values, shuffled within each tensor (a draw from the same distribution, however the net
        was initialized); or give them their initial values. The last two also reset biases and
        buffers to their initial values, and the state of the optimizer. A schedule of the
        learning rate continues.
    """

    def __init__(
        self,
        amount: float = 0.5,
        at_epoch: int = 10,
        rounds: int = 1,
        scope: str = "global",
        reinit: str = "keep",
    ) -> None:
        self.amount = amount
        self.at_epoch = at_epoch
        self.rounds = rounds
        self.scope = scope
        self.reinit = reinit

    def initialize(self) -> "WeightPruning":
        """Reset the state of an earlier training."""
        self.rounds_done_ = 0
        self.epochs_done_ = 0
        self.masks_: dict[str, torch.Tensor] = {}
        self.initial_: dict[str, torch.Tensor] = {}
        return self

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Check the parameters.

        Raises
        ------
        ValueError
            If a parameter is out of its range.
        """
        if not 0 <= self.amount < 1:
            raise ValueError(
                f"The amount of WeightPruning must be from 0 to below 1. Got {self.amount!r}."
            )
        for name in ("at_epoch", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"The {name} of WeightPruning must be at least 1. Got {getattr(self, name)!r}."
                )
        for name, choices in (("scope", SCOPES), ("reinit", REINITS)):
            value = getattr(self, name)
            if value not in choices:
                hint = did_you_mean(str(value), choices) or "."
                raise ValueError(
                    f"The {name} of WeightPruning must be one of: {', '.join(choices)}. "
                    f"Got {value!r} instead{hint}"
                )

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Store the initial values; prune if a round is due before this epoch."""
        # Here and not in `on_train_begin`, as other callbacks may set weights there.
        if not self.epochs_done_ and self.reinit != "keep":
            self.initial_ = {
                name: value.detach().clone() for name, value in net.module_.state_dict().items()
            }
        if self.pruned or self.epochs_done_ < self.at_epoch * (self.rounds_done_ + 1):
            return
        self.rounds_done_ += 1
        self._prune(net)
        if self.reinit != "keep":
            self._reset_weights(net)
        self._apply_masks(net)

    def on_grad_computed(self, net: Any, **kwargs: Any) -> None:
        """Set the gradients of pruned weights to zero."""
        for name, parameter in self._weights(net):
            if name in self.masks_ and parameter.grad is not None:
                parameter.grad.mul_(self.masks_[name])

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Set pruned weights to zero again after a step."""
        if training:
            self._apply_masks(net)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Record the sparsity."""
        self.epochs_done_ += 1
        n_pruned = sum(int((mask == 0).sum().item()) for mask in self.masks_.values())
        n = sum(parameter.numel() for _, parameter in self._weights(net))
        net.history.record("sparsity", n_pruned / n if n else 0.0)

    @property
    def pruned(self) -> bool:
        """Whether the last round is done."""
        return self.rounds_done_ >= self.rounds

    def _weights(self, net: Any) -> Iterator[tuple[str, torch.Tensor]]:
        for name, parameter in net.module_.named_parameters():
            if parameter.ndim > 1 and parameter.requires_grad:
                yield name, parameter

    def _prune(self, net: Any) -> None:
        remaining = (1 - self.amount) ** (self.rounds_done_ / self.rounds)
        method = prune.L1Unstructured(1 - remaining)
        weights = {name: parameter.detach() for name, parameter in self._weights(net)}
        if self.scope == "layer":
            # Weights pruned before are zero, and therefore chosen first again.
            self.masks_ = {name: _mask(method, weight) for name, weight in weights.items()}
            return
        flat_mask = _mask(method, torch.cat([weight.ravel() for weight in weights.values()]))
        parts = torch.split(flat_mask, [weight.numel() for weight in weights.values()])
        self.masks_ = {
            name: part.view_as(weight)
            for (name, weight), part in zip(weights.items(), parts, strict=True)
        }

    def _reset_weights(self, net: Any) -> None:
        values: Mapping[str, torch.Tensor] = self.initial_
        if self.reinit == "random":
            values = dict(values)
            for name, parameter in self._weights(net):
                flat = values[name].ravel()
                order = torch.randperm(flat.numel()).to(flat.device)
                values[name] = flat[order].view_as(parameter)
        net.module_.load_state_dict(values)
        net.optimizer_.state.clear()

    def _apply_masks(self, net: Any) -> None:
        with torch.no_grad():
            for name, parameter in self._weights(net):
                if name in self.masks_:
                    parameter.mul_(self.masks_[name])


def _mask(method: prune.L1Unstructured, weight: torch.Tensor) -> torch.Tensor:
    flat = weight.ravel()  # compute_mask fails on weights that are stored channels last
    mask: torch.Tensor = method.compute_mask(  # type: ignore[no-untyped-call]
        flat, default_mask=torch.ones_like(flat)
    )
    return mask.view_as(weight)


class OncePruned(Once):
    """A scorer that is 0 until `WeightPruning` has done its last round; see `Once`."""

    needs = WeightPruning

    def counts(self, callback: Any) -> bool:
        """Return whether the last round of pruning is done."""
        return bool(callback.pruned)
