"""A multilayer perceptron with skip connections."""

import torch
from torch import nn

from hpo.modules._layers import (
    ACTIVATIONS,
    NORMS,
    check_at_least,
    check_choice,
    check_rate,
    flat_norm,
    with_weight_norm,
)

__all__ = ["ResidualMLP"]


class ResidualMLP(nn.Module):
    """A linear layer, residual blocks of two layers, and an output layer.

    The blocks are the "pre-activation" blocks of He et al. (2016, *Identity mappings in deep
    residual networks*, figure 4e), with linear instead of convolutional layers: normalization,
    activation and linear map, twice, with dropout before the second map. Before the output there
    are another normalization and activation.

    Parameters
    ----------
    n_features : int
        Number of inputs for each sample, at least 1.
    n_classes : int
        Number of outputs for each sample, at least 1: a logit for each class, or the targets of a
        regression.
    hidden_units : int, default=128
        Width of all layers, at least 1.
    n_blocks : int, default=2
        Number of blocks of two layers, at least 0.
    dropout : float, default=0.0
        Probability of zeroing a unit inside a block in training, from 0 to below 1.
    activation : {"elu", "gelu", "leaky_relu", "relu", "silu", "tanh"}, default="relu"
    norm : {"none", "batch", "layer", "group", "instance", "rms", "weight"}, default="batch"
        As in `MLP`.
    groups : int, default=8
        As in `MLP`.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        hidden_units: int = 128,
        n_blocks: int = 2,
        *,
        dropout: float = 0.0,
        activation: str = "relu",
        norm: str = "batch",
        groups: int = 8,
    ) -> None:
        super().__init__()
        check_at_least(self, 1, n_features=n_features, n_classes=n_classes)
        check_at_least(self, 1, hidden_units=hidden_units, groups=groups)
        check_at_least(self, 0, n_blocks=n_blocks)
        check_choice(self, "activation", activation, ACTIVATIONS)
        check_choice(self, "norm", norm, NORMS)
        check_rate(self, "dropout", dropout)

        def before() -> list[nn.Module]:
            return [*flat_norm(norm, hidden_units, groups), ACTIVATIONS[activation]()]

        def linear() -> nn.Module:
            return with_weight_norm(norm, nn.Linear(hidden_units, hidden_units))

        self.first = nn.Linear(n_features, hidden_units)
        self.blocks = nn.ModuleList(
            nn.Sequential(*before(), linear(), *before(), nn.Dropout(dropout), linear())
            for _ in range(n_blocks)
        )
        self.last = nn.Sequential(*before(), nn.Linear(hidden_units, n_classes))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the outputs for ``X``.

        Parameters
        ----------
        X : tensor of shape (n_samples, n_features), or of that shape when flattened

        Returns
        -------
        tensor of shape (n_samples, n_classes)
        """
        hidden = self.first(X.flatten(1))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        outputs: torch.Tensor = self.last(hidden)
        return outputs
