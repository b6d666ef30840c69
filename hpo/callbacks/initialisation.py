"""How the weights begin, as parameters to search over."""

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
    """Draws the weights of linear and convolutional layers anew before a training begins.

    What they are the layers of: ``net.module_``, its output layer too. Frozen weights stay, and
    so do all weights where a training goes on (``partial_fit``, ``warm_start``). A weight that is
    reparametrised (`torch.nn.utils.parametrizations`) gets what makes it the drawn one.

    Parameters
    ----------
    scheme : str, default="default"
        One of torch.nn.init: ``xavier_uniform``, ``xavier_normal`` (Glorot and Bengio 2010),
        ``kaiming_uniform``, ``kaiming_normal`` (He et al. 2015), ``orthogonal`` (Saxe et al.
        2014); or ``default``: as the layers draw them themselves, which for torch's own is uniform
        within 1 / sqrt(inputs).
    bias : {"default", "zero"}, default="default"
        What these layers' biases become.
    activation : str, optional
        Which gain of `torch.nn.init.calculate_gain` multiplies the weights (``relu``, ``tanh``,
        ``linear``, …). None is as torch has it: that of ``relu``, sqrt(2), for Kaiming, and 1 for
        Xavier and orthogonal.
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
            If one is none of its values.
        """
        for name, known in (("scheme", tuple(_SCHEMES)), ("bias", ("default", "zero"))):
            value = getattr(self, name)
            if value not in known:
                hint = did_you_mean(str(value), known) or "."
                raise ValueError(
                    f"The {name} of WeightInit must be one of: {', '.join(known)}. "
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
                self._begin(layer)

    def _begin(self, layer: Any) -> None:
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
