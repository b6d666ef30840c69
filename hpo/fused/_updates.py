"""Optimizers as plain functions over a leading axis of models.

Each is the rule of the class of the same name in `torch.optim`, with a vector in the place of every
number: one value a model. Where a number of torch's decides on a branch (a momentum of 0), the
arithmetic gives the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

__all__ = ["UPDATES", "Update"]

State = dict[str, torch.Tensor]
Hyper = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Update:
    """One optimizer.

    Parameters
    ----------
    slots : tuple of str
        Names of the state that each weight has.
    numbers : tuple of str
        Names of `torch.optim`'s arguments that may differ between the models of a batch.
    flags : mapping of str to tuple
        Arguments that change the rule, and the values that this function takes.
    step : callable
        ``step(weight, grad, state, hyper)``: changes ``weight`` and ``state`` in place. ``hyper``
        holds ``lr``, the numbers and ``t`` (updates made, from 1), shaped to broadcast over
        ``weight``.
    initial : callable or None
        ``initial(defaults) -> float``: what the state starts from; None is 0.
    """

    slots: tuple[str, ...]
    numbers: tuple[str, ...]
    flags: Mapping[str, tuple[object, ...]]
    step: Callable[[torch.Tensor, torch.Tensor, State, Hyper, Mapping[str, object]], None]
    starts_at: str | None = None


def _sgd(w: torch.Tensor, g: torch.Tensor, s: State, h: Hyper, flags: Mapping[str, object]) -> None:
    g = g + h["weight_decay"] * w
    # The first update takes the gradient whole, whatever the dampening.
    share = torch.where(h["t"] == 1, 1.0, 1.0 - h["dampening"])
    s["momentum_buffer"].mul_(h["momentum"]).add_(share * g)
    # A momentum of 0 is plain descent, where dampening has no say.
    moving = torch.where(h["momentum"] == 0, g, s["momentum_buffer"])
    w.sub_(h["lr"] * (g + h["momentum"] * moving if flags["nesterov"] else moving))


def _adam(
    w: torch.Tensor, g: torch.Tensor, s: State, h: Hyper, flags: Mapping[str, object]
) -> None:
    if flags["decoupled_weight_decay"]:
        w.mul_(1.0 - h["lr"] * h["weight_decay"])
    else:
        g = g + h["weight_decay"] * w
    s["exp_avg"].mul_(h["beta1"]).add_((1.0 - h["beta1"]) * g)
    s["exp_avg_sq"].mul_(h["beta2"]).add_((1.0 - h["beta2"]) * g * g)
    root = s["exp_avg_sq"].sqrt() / h["correction2"] + h["eps"]
    w.sub_(h["lr"] / h["correction1"] * s["exp_avg"] / root)


def _rmsprop(
    w: torch.Tensor, g: torch.Tensor, s: State, h: Hyper, flags: Mapping[str, object]
) -> None:
    g = g + h["weight_decay"] * w
    s["square_avg"].mul_(h["alpha"]).add_((1.0 - h["alpha"]) * g * g)
    step = g / (s["square_avg"].sqrt() + h["eps"])
    s["momentum_buffer"].mul_(h["momentum"]).add_(step)
    w.sub_(h["lr"] * s["momentum_buffer"])


def _adagrad(
    w: torch.Tensor, g: torch.Tensor, s: State, h: Hyper, flags: Mapping[str, object]
) -> None:
    g = g + h["weight_decay"] * w
    s["sum"].add_(g * g)
    w.sub_(h["lr"] / (1.0 + (h["t"] - 1) * h["lr_decay"]) * g / (s["sum"].sqrt() + h["eps"]))


_ADAM = Update(
    ("exp_avg", "exp_avg_sq"),
    ("lr", "weight_decay", "beta1", "beta2", "eps"),
    {"amsgrad": (False,), "maximize": (False,), "decoupled_weight_decay": (False, True)},
    _adam,
)

UPDATES: Mapping[type[torch.optim.Optimizer], Update] = {
    torch.optim.SGD: Update(
        ("momentum_buffer",),
        ("lr", "weight_decay", "momentum", "dampening"),
        {"nesterov": (False, True), "maximize": (False,)},
        _sgd,
    ),
    torch.optim.Adam: _ADAM,
    torch.optim.AdamW: _ADAM,
    torch.optim.RMSprop: Update(
        ("square_avg", "momentum_buffer"),
        ("lr", "weight_decay", "momentum", "alpha", "eps"),
        {"centered": (False,), "maximize": (False,)},
        _rmsprop,
    ),
    torch.optim.Adagrad: Update(
        ("sum",),
        ("lr", "weight_decay", "lr_decay", "eps"),
        {"maximize": (False,)},
        _adagrad,
        starts_at="initial_accumulator_value",
    ),
}
"""The optimizers that can train a batch of models, by their class in `torch.optim`."""
