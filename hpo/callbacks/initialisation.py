"""Weight initialisation, as parameters to search over."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from skorch.callbacks import Callback
from torch import nn
from torch.nn import init
from torch.nn.utils import parametrize

from hpo._discovery import did_you_mean

__all__ = ["WeightInit"]

_LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)

_SCHEMES: Mapping[str, Callable[[torch.Tensor, Any], Any]] = {
    "default": lambda weight, how: weight,
    "xavier_uniform": lambda weight, how: init.xavier_uniform_(weight, _gain(how.activation)),
    "xavier_normal": lambda weight, how: init.xavier_normal_(weight, _gain(how.activation)),
    "kaiming_uniform": lambda weight, how: init.kaiming_uniform_(
        weight, nonlinearity=how.activation or "relu"
    ),
    "kaiming_normal": lambda weight, how: init.kaiming_normal_(
        weight, nonlinearity=how.activation or "relu"
    ),
    "orthogonal": lambda weight, how: init.orthogonal_(weight, _gain(how.activation)),
    "normal": lambda weight, how: init.normal_(weight, std=how.std),
    "constant": lambda weight, how: init.constant_(weight, how.constant),
    "zeros": lambda weight, how: init.zeros_(weight),
}
"""Functions that set a weight, given the callback."""


def _gain(activation: Any) -> float:
    return init.calculate_gain(activation) if activation else 1.0


class WeightInit(Callback):  # type: ignore[misc]  # skorch has no types
    """Draws the weights of linear and convolutional layers again before a training begins.

    It applies to all layers of ``net.module_``, including the output layer. Frozen weights stay
    unchanged, and so do all weights if a training is continued (``partial_fit``, ``warm_start``).
    For a reparametrised weight (`torch.nn.utils.parametrizations`), the underlying parameters are
    set so that it equals the drawn weight.

    Parameters
    ----------
    scheme : str, default="default"
        One of torch.nn.init: ``xavier_uniform``, ``xavier_normal`` (Glorot and Bengio 2010),
        ``kaiming_uniform``, ``kaiming_normal`` (He et al. 2015), ``orthogonal`` (Saxe et al.
        2014); ``normal``, of one ``std`` in all layers; ``constant`` and ``zeros``, with which all
        units of a layer stay alike; or ``default``: the initialisation of the layers, which in
        torch is uniform within 1 / sqrt(inputs).
    bias : {"default", "zero"}, default="default"
        Initialisation of the biases of these layers.
    activation : str, optional
        Activation whose gain (`torch.nn.init.calculate_gain`) multiplies the weights (``relu``,
        ``tanh``, ``linear``, …). None means torch's defaults: the gain of ``relu``, sqrt(2), for
        Kaiming, and 1 for Xavier and orthogonal.
    std : float, default=0.01
        Standard deviation of the weights of ``normal``, greater than 0.
    constant : float, default=0.01
        Value of the weights of ``constant``.
    """

    def __init__(
        self,
        scheme: str = "default",
        *,
        bias: str = "default",
        activation: str | None = None,
        std: float = 0.01,
        constant: float = 0.01,
    ) -> None:
        self.scheme = scheme
        self.bias = bias
        self.activation = activation
        self.std = std
        self.constant = constant

    def initialize(self) -> "WeightInit":
        """Check the parameters.

        Raises
        ------
        ValueError
            If a parameter has none of its allowed values.
        """
        for name, choices in (("scheme", tuple(_SCHEMES)), ("bias", ("default", "zero"))):
            value = getattr(self, name)
            if value not in choices:
                hint = did_you_mean(str(value), choices) or "."
                raise ValueError(
                    f"The {name} of WeightInit must be one of: {', '.join(choices)}. "
                    f"Got {value!r} instead{hint}"
                )
        if not (self.std > 0 and math.isfinite(self.std)):
            raise ValueError(f"The std of WeightInit must be greater than 0. Got {self.std!r}.")
        if not math.isfinite(self.constant):
            raise ValueError(
                f"The constant of WeightInit must be a finite number. Got {self.constant!r}."
            )
        _gain(self.activation)
        self.done_ = False
        return self

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Draw the weights, unless the net has been trained already."""
        if self.done_ or len(net.history):
            return
        self.done_ = True
        for layer in net.module_.modules():
            if isinstance(layer, _LAYERS):
                self._initialize_layer(layer)

    def _initialize_layer(self, layer: Any) -> None:
        trainable = all(parameter.requires_grad for parameter in layer.parameters())
        if self.scheme != "default" and trainable:
            weight = layer.weight.detach().clone()
            _SCHEMES[self.scheme](weight, self)
            with torch.no_grad():
                if parametrize.is_parametrized(layer, "weight"):
                    layer.weight = weight
                else:
                    layer.weight.copy_(weight)
                if not layer.weight.isfinite().all():
                    raise ValueError(
                        f"WeightInit(scheme={self.scheme!r}) cannot set the weights of "
                        f"{type(layer).__name__}, which are reparametrized: a normalized weight "
                        "cannot be zero."
                    )
        if self.bias == "zero" and trainable and layer.bias is not None:
            init.zeros_(layer.bias)
