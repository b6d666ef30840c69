"""A multilayer perceptron."""

import torch
from torch import nn

from hpo._discovery import did_you_mean

__all__ = ["MLP"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class MLP(nn.Module):
    """Hidden layers of one width, each a linear map, an activation and dropout.

    The structure depends on the widths, the depth and the activation alone: there is a
    dropout layer even where its probability is 0 (it then costs nothing and draws nothing),
    so that models that differ only in dropout can be trained in one batch.

    Parameters
    ----------
    n_features : int
        Inputs of each sample, at least 1.
    n_classes : int
        Outputs of each sample, at least 1: a logit for each class (no softmax is applied),
        or the targets of a regression.
    hidden_units : int, default=64
        Width of each hidden layer, at least 1.
    n_layers : int, default=2
        Number of hidden layers, at least 0; 0 is a linear model.
    dropout : float, default=0.0
        Probability of zeroing a hidden unit in training, from 0 to below 1.
    activation : {"elu", "gelu", "leaky_relu", "relu", "silu", "tanh"}, default="relu"
        Activation after each hidden layer.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        hidden_units: int = 64,
        n_layers: int = 2,
        *,
        dropout: float = 0.0,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        _check_at_least("n_features", n_features, 1)
        _check_at_least("n_classes", n_classes, 1)
        _check_at_least("hidden_units", hidden_units, 1)
        _check_at_least("n_layers", n_layers, 0)
        if not 0.0 <= dropout < 1.0:
            raise ValueError(
                f"The dropout of MLP must be from 0 to below 1. Got {dropout!r} instead."
            )
        if activation not in ACTIVATIONS:
            hint = did_you_mean(activation, ACTIVATIONS) or "."
            raise ValueError(
                f"The activation of MLP must be one of: {', '.join(ACTIVATIONS)}. "
                f"Got '{activation}' instead{hint}"
            )
        layers: list[nn.Module] = []
        width = n_features
        for _ in range(n_layers):
            layers += [
                nn.Linear(width, hidden_units),
                ACTIVATIONS[activation](),
                nn.Dropout(dropout),
            ]
            width = hidden_units
        self.layers = nn.Sequential(*layers, nn.Linear(width, n_classes))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the outputs for ``X``.

        Parameters
        ----------
        X : tensor of shape (n_samples, n_features)

        Returns
        -------
        tensor of shape (n_samples, n_classes)
        """
        outputs: torch.Tensor = self.layers(X)
        return outputs


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"The {name} of MLP must be at least {least}. Got {value!r} instead.")
