"""Optimizers as plain functions over a leading axis of models.

Each is the rule of the class of the same name in `torch.optim`, with a vector instead of every
number: one value per model. Where torch branches on a number (such as a momentum of 0), the
arithmetic gives the same result.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

__all__ = ["UPDATES", "Update"]

State = dict[str, torch.Tensor]
Hyper = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Update:
    """The update rule of one optimizer.

    Parameters
    ----------
    slots : tuple of str
        Names of the state tensors of each weight.
    numbers : tuple of str
        Names of `torch.optim`'s arguments that may differ between the models of a batch.
    flags : mapping of str to tuple
        Arguments that change the rule, and their supported values.
    step : callable
        ``step(weight, grad, state, hyper, flags)`` changes ``weight`` and ``state`` in place.
        ``hyper`` holds ``lr``, the numbers and ``t`` (the number of the update, from 1), shaped to
        broadcast over ``weight``.
    starts_at : str or None
        Name of the argument that is the initial value of the state; None means 0.
    """

    slots: tuple[str, ...]
    numbers: tuple[str, ...]
    flags: Mapping[str, tuple[object, ...]]
    step: Callable[[torch.Tensor, torch.Tensor, State, Hyper, Mapping[str, object]], None]
    starts_at: str | None = None


def _sgd(w: torch.Tensor, g: torch.Tensor, s: State, h: Hyper, flags: Mapping[str, object]) -> None:
    g = g + h["weight_decay"] * w
    # The first update uses the whole gradient, whatever the dampening.
    share = torch.where(h["t"] == 1, 1.0, 1.0 - h["dampening"])
    s["momentum_buffer"].mul_(h["momentum"]).add_(share * g)
    # A momentum of 0 is plain gradient descent, without dampening.
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
"""The optimizers that can train a batch of models, by class in `torch.optim`."""
