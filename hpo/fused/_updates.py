"""Optimizers as plain functions over a leading axis of models.

Each is the rule of the class of the same name in `torch.optim`, with a vector instead of every
number: one value per model. Where torch branches on a number (such as a momentum of 0), the
arithmetic gives the same result.

All five are also one rule with other coefficients, `MIXED`, by which models with different
optimizers are updated together.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

__all__ = ["COEFFICIENTS", "MIXED", "UPDATES", "Coefficients", "Update"]

State = dict[str, torch.Tensor]
Hyper = Mapping[str, torch.Tensor]
Numbers = Mapping[str, float]
Coefficients = Mapping[str, "np.ndarray | float"]


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
    moments : mapping of str to str
        The state tensors that have the part of these in `MIXED`, by name.
    coefficients : callable or None
        ``coefficients(lr, t, numbers, flags)`` returns those of `MIXED`, where they are not the
        ones of `COEFFICIENTS`, for arrays of rates and of numbers of updates.
    """

    slots: tuple[str, ...]
    numbers: tuple[str, ...]
    flags: Mapping[str, tuple[object, ...]]
    step: Callable[[torch.Tensor, torch.Tensor, State, Hyper, Mapping[str, object]], None]
    starts_at: str | None = None
    moments: Mapping[str, str] = field(default_factory=dict)
    coefficients: (
        Callable[[np.ndarray, np.ndarray, Numbers, Mapping[str, object]], Coefficients] | None
    ) = None


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


COEFFICIENTS: Mapping[str, float] = {
    "decay": 0.0,
    "keep_square": 1.0,
    "add_square": 0.0,
    "root_scale": 1.0,
    "root_eps": 1.0,
    "divides_first": 0.0,
    "divides_last": 0.0,
    "keep_mean": 1.0,
    "add_mean": 0.0,
    "shrink": 1.0,
    "rate": 0.0,
    "rate_first": 0.0,
}
"""Coefficients of `MIXED` with which it changes nothing."""


def _mixed(
    w: torch.Tensor, g: torch.Tensor, s: State, h: Hyper, flags: Mapping[str, object]
) -> None:
    g = g + h["decay"] * w
    square = h["keep_square"] * s["square"] + h["add_square"] * g * g
    root = square.sqrt() * h["root_scale"] + h["root_eps"]
    first = g / torch.where(h["divides_first"] > 0, root, 1.0)
    mean = h["keep_mean"] * s["mean"] + h["add_mean"] * first
    last = mean / torch.where(h["divides_last"] > 0, root, 1.0)
    stepped = h["shrink"] * w - (h["rate"] * last + h["rate_first"] * first)
    for old, new in ((s["square"], square), (s["mean"], mean), (w, stepped)):
        old.copy_(new)  # each once, which compiles to less


def _of_sgd(lr: np.ndarray, t: np.ndarray, n: Numbers, flags: Mapping[str, object]) -> Coefficients:
    momentum = n["momentum"]
    if momentum == 0:
        return {"decay": n["weight_decay"], "keep_mean": 0.0, "add_mean": 1.0, "rate": lr}
    return {
        "decay": n["weight_decay"],
        "keep_mean": momentum,
        "add_mean": np.where(t == 1, 1.0, 1.0 - n["dampening"]),
        "rate": lr * momentum if flags["nesterov"] else lr,
        "rate_first": lr if flags["nesterov"] else 0.0,
    }


def _of_adam(
    lr: np.ndarray, t: np.ndarray, n: Numbers, flags: Mapping[str, object]
) -> Coefficients:
    decoupled = bool(flags["decoupled_weight_decay"])
    return {
        "decay": 0.0 if decoupled else n["weight_decay"],
        "shrink": 1.0 - lr * n["weight_decay"] if decoupled else 1.0,
        "keep_mean": n["beta1"],
        "add_mean": 1.0 - n["beta1"],
        "keep_square": n["beta2"],
        "add_square": 1.0 - n["beta2"],
        "root_scale": 1.0 / np.sqrt(1.0 - n["beta2"] ** t),
        "root_eps": n["eps"],
        "divides_last": 1.0,
        "rate": lr / (1.0 - n["beta1"] ** t),
    }


def _of_rmsprop(
    lr: np.ndarray, t: np.ndarray, n: Numbers, flags: Mapping[str, object]
) -> Coefficients:
    return {
        "decay": n["weight_decay"],
        "keep_mean": n["momentum"],
        "add_mean": 1.0,
        "keep_square": n["alpha"],
        "add_square": 1.0 - n["alpha"],
        "root_eps": n["eps"],
        "divides_first": 1.0,
        "rate": lr,
    }


def _of_adagrad(
    lr: np.ndarray, t: np.ndarray, n: Numbers, flags: Mapping[str, object]
) -> Coefficients:
    return {
        "decay": n["weight_decay"],
        "keep_mean": 0.0,
        "add_mean": 1.0,
        "add_square": 1.0,
        "root_eps": n["eps"],
        "divides_first": 1.0,
        "rate": lr / (1.0 + (t - 1) * n["lr_decay"]),
    }


MIXED = Update(("mean", "square"), (), {}, _mixed)
"""The rule of which all others are cases, with `COEFFICIENTS` instead of numbers.

In the order of its lines: the gradient with weight decay; the mean of its squares and the root of
that, by which the gradient (RMSprop, Adagrad) or the mean of gradients (Adam) is divided; the mean;
and the step, to which Nesterov's rule adds the gradient itself.
"""

_ADAM = Update(
    ("exp_avg", "exp_avg_sq"),
    ("lr", "weight_decay", "beta1", "beta2", "eps"),
    {"amsgrad": (False,), "maximize": (False,), "decoupled_weight_decay": (False, True)},
    _adam,
    moments={"mean": "exp_avg", "square": "exp_avg_sq"},
    coefficients=_of_adam,
)

UPDATES: Mapping[type[torch.optim.Optimizer], Update] = {
    torch.optim.SGD: Update(
        ("momentum_buffer",),
        ("lr", "weight_decay", "momentum", "dampening"),
        {"nesterov": (False, True), "maximize": (False,)},
        _sgd,
        moments={"mean": "momentum_buffer"},
        coefficients=_of_sgd,
    ),
    torch.optim.Adam: _ADAM,
    torch.optim.AdamW: _ADAM,
    torch.optim.RMSprop: Update(
        ("square_avg", "momentum_buffer"),
        ("lr", "weight_decay", "momentum", "alpha", "eps"),
        {"centered": (False,), "maximize": (False,)},
        _rmsprop,
        moments={"mean": "momentum_buffer", "square": "square_avg"},
        coefficients=_of_rmsprop,
    ),
    torch.optim.Adagrad: Update(
        ("sum",),
        ("lr", "weight_decay", "lr_decay", "eps"),
        {"maximize": (False,)},
        _adagrad,
        starts_at="initial_accumulator_value",
        moments={"square": "sum"},
        coefficients=_of_adagrad,
    ),
}
"""The optimizers that can train a batch of models, by class in `torch.optim`."""
