"""A multilayer perceptron."""

from collections.abc import Sequence

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

__all__ = ["MLP"]

DROPOUT_LAYERS = ("all", "first", "last")


class MLP(nn.Module):
    """Hidden layers of one width, each a linear map, a normalization, an activation and dropout.

    The structure only depends on the widths, the depth, the activation and the normalization:
    there is a dropout layer even if its probability is 0 (it then takes no time and draws no
    random numbers), so that models that differ only in dropout can be trained in one batch.

    Parameters
    ----------
    n_features : int
        Number of inputs for each sample, at least 1.
    n_classes : int
        Number of outputs for each sample, at least 1: a logit for each class (no softmax is
        applied), or the targets of a regression.
    hidden_units : int, default=64
        Width of each hidden layer, at least 1.
    n_layers : int, default=2
        Number of hidden layers, at least 0; 0 is a linear model.
    dropout : float or sequence of float, default=0.0
        Probability of zeroing a hidden unit in training, from 0 to below 1; or one for each hidden
        layer.
    activation : {"elu", "gelu", "leaky_relu", "relu", "silu", "tanh"}, default="relu"
        Activation after each hidden layer.
    norm : {"none", "batch", "layer", "group", "instance", "rms", "weight"}, default="none"
        Normalization between a hidden layer and its activation. ``group`` has ``groups`` groups of
        units. ``instance`` is `torch.nn.InstanceNorm1d` with all
        units of a sample as one channel, which is ``layer`` with a single scale and shift instead
        of one per unit. ``weight`` separates the length and the direction of each unit's weights.
        The output layer has none.
    groups : int, default=8
        Number of groups of ``norm="group"``, at least 1; the greatest common divisor of that and
        the width where it does not divide the width.
    dropout_layers : {"all", "first", "last"}, default="all"
        After which hidden layers a single ``dropout`` is applied.
    dropout_1, dropout_2, dropout_3 : float, optional
        Probability after the first, second and third hidden layer, in the place of ``dropout``.
    dropout_input : float, default=0.0
        Probability of zeroing an input in training, from 0 to below 1.

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
        dropout: float | Sequence[float] = 0.0,
        activation: str = "relu",
        norm: str = "none",
        groups: int = 8,
        dropout_layers: str = "all",
        dropout_1: float | None = None,
        dropout_2: float | None = None,
        dropout_3: float | None = None,
        dropout_input: float = 0.0,
    ) -> None:
        super().__init__()
        check_at_least(self, 1, n_features=n_features, n_classes=n_classes)
        check_at_least(self, 1, hidden_units=hidden_units, groups=groups)
        check_at_least(self, 0, n_layers=n_layers)
        check_choice(self, "activation", activation, ACTIVATIONS)
        check_choice(self, "norm", norm, NORMS)
        check_rate(self, "dropout_input", dropout_input)
        self.input_dropout = nn.Dropout(dropout_input)
        layers: list[nn.Module] = []
        width = n_features
        rates = self._rates(dropout, dropout_layers, n_layers)
        self._set_own(rates, (dropout_1, dropout_2, dropout_3))
        for rate in rates:
            layers += [
                with_weight_norm(norm, nn.Linear(width, hidden_units)),
                *flat_norm(norm, hidden_units, groups),
                ACTIVATIONS[activation](),
                nn.Dropout(rate),
            ]
            width = hidden_units
        self.layers = nn.Sequential(*layers, nn.Linear(width, n_classes))

    def _rates(self, dropout: float | Sequence[float], where: str, n_layers: int) -> list[float]:
        """Return the dropout after each hidden layer."""
        check_choice(self, "dropout_layers", where, DROPOUT_LAYERS)
        if isinstance(dropout, Sequence):
            if len(dropout) != n_layers or where != "all":
                raise ValueError(
                    f"The dropout of MLP must be a number, or one for each of {n_layers} hidden "
                    f"layers with dropout_layers='all'. Got {list(dropout)} and '{where}' instead."
                )
            rates = [float(rate) for rate in dropout]
        else:
            places = {"all": range(n_layers), "first": [0], "last": [n_layers - 1]}[where]
            rates = [dropout if place in places else 0.0 for place in range(n_layers)]
            check_rate(self, "dropout", dropout)
        for rate in rates:
            check_rate(self, "dropout", rate)
        return rates

    def _set_own(self, rates: list[float], own: Sequence[float | None]) -> None:
        """Put the rates that single layers are given in the place of others."""
        for place, rate in enumerate(own):
            if rate is None:
                continue
            name = f"dropout_{place + 1}"
            check_rate(self, name, rate)
            if place >= len(rates):
                raise ValueError(
                    f"MLP has {len(rates)} hidden layers, and {name} is of another one. Search it "
                    "only where n_layers is greater (when), or leave it out."
                )
            rates[place] = rate

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the outputs for ``X``.

        Parameters
        ----------
        X : tensor of shape (n_samples, n_features), or of that shape when flattened

        Returns
        -------
        tensor of shape (n_samples, n_classes)
        """
        outputs: torch.Tensor = self.layers(self.input_dropout(X.flatten(1)))
        return outputs
