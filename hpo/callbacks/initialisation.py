"""Weight initialisation, as parameters to search over."""

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
    "default": lambda weight, activation: weight,
    "xavier_uniform": lambda weight, activation: init.xavier_uniform_(weight, _gain(activation)),
    "xavier_normal": lambda weight, activation: init.xavier_normal_(weight, _gain(activation)),
    "kaiming_uniform": lambda weight, activation: init.kaiming_uniform_(
        weight, nonlinearity=activation or "relu"
    ),
    "kaiming_normal": lambda weight, activation: init.kaiming_normal_(
        weight, nonlinearity=activation or "relu"
    ),
    "orthogonal": lambda weight, activation: init.orthogonal_(weight, _gain(activation)),
}


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
        2014); or ``default``: the initialisation of the layers, which in torch is uniform within
        1 / sqrt(inputs).
    bias : {"default", "zero"}, default="default"
        Initialisation of the biases of these layers.
    activation : str, optional
        Activation whose gain (`torch.nn.init.calculate_gain`) multiplies the weights (``relu``,
        ``tanh``, ``linear``, …). None means torch's defaults: the gain of ``relu``, sqrt(2), for
        Kaiming, and 1 for Xavier and orthogonal.
    """

    def __init__(
        self, scheme: str = "default", *, bias: str = "default", activation: str | None = None
    ) -> None:
        self.scheme = scheme
        self.bias = bias
        self.activation = activation

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
            _SCHEMES[self.scheme](weight, self.activation)
            with torch.no_grad():
                if parametrize.is_parametrized(layer, "weight"):
                    layer.weight = weight
                else:
                    layer.weight.copy_(weight)
        if self.bias == "zero" and trainable and layer.bias is not None:
            init.zeros_(layer.bias)
