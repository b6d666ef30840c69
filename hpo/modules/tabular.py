"""Networks for tables of numbers and embedded categories."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import nn

from hpo.modules._layers import check_at_least, check_choice
from hpo.modules.mlp import MLP

__all__ = ["TabularNet", "table_sizes"]

ARCHITECTURES = ("embedding_mlp", "wide_deep", "deep_cross", "deep_cross_v2")
N_BUCKETS = 10_000
"""Number of weights for the pairs of values of two columns; pairs of large columns share them."""


def table_sizes(X: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the ``sizes`` of a table for `TabularNet`.

    It is meant for skorch's ``InputShapeSetter(param_name="sizes", input_dim_fn=table_sizes)``, a
    callback that sets the sizes of the training part on the module.

    Parameters
    ----------
    X : mapping
        ``numbers`` of shape (n_samples, n_numbers) and ``codes`` of shape (n_samples, n_columns),
        as `hpo.data.TableEncoder` returns.

    Returns
    -------
    tuple of int
        The number of numeric columns; for each categorical column, its greatest code plus one.
    """
    codes = X["codes"]
    return int(X["numbers"].shape[1]), *(int(column.max()) + 1 for column in codes.T)


class TabularNet(nn.Module):
    """A multilayer perceptron on numbers and embedded categories, alone or with a second part.

    Code 0 stands for a category that was not in the training part. Its embedding is zero and is
    not trained. Any code that is greater than ``sizes`` allows is treated the same.

    Parameters
    ----------
    sizes : sequence of int, default=(1,)
        The number of numeric columns, then the number of codes of each categorical column,
        including code 0; see `table_sizes`.
    n_classes : int, default=2
        Number of outputs for each sample, at least 1: a logit for each class (no softmax is
        applied), or the targets of a regression.
    architecture : str, default="embedding_mlp"
        The second part, which is added to the outputs of the perceptron:

        * ``embedding_mlp``: nothing.
        * ``wide_deep``: a linear model of the numbers, the categories and the pairs of
          categories (Cheng et al. 2016, *Wide & Deep Learning*, section 3).
        * ``deep_cross``: a linear model on the inputs after ``n_cross_layers`` layers, each
          ``x0 * (x @ w) + b + x`` (Wang et al. 2017, *Deep & Cross Network*, section 2.2).
        * ``deep_cross_v2``: the same with ``x0 * (W @ x + b) + x`` (Wang et al. 2021, *DCN V2*,
          section 3.2; in parallel with the perceptron).
    hidden_units, n_layers, dropout, activation, norm
        Arguments of the perceptron; see `MLP`.
    embedding_size : int, default=8
        Dimension of the embedding of a category, at least 1.
    n_frequencies : int, default=0
        Number of learned frequencies. Each number is an input together with its sines and cosines
        at these, so that the net can learn steps (Gorishniy, Rubachev and Babenko
        2022, *On Embeddings for Numerical Features*, section 3.3).
    frequency_scale : float, default=0.3
        Standard deviation of the initial frequencies, above 0, in periods per unit (a standard
        deviation of a scaled column).
    n_cross_layers : int, default=2
        Number of cross layers, at least 1.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """

    n_codes: torch.Tensor

    def __init__(
        self,
        sizes: Sequence[int] = (1,),
        n_classes: int = 2,
        *,
        architecture: str = "embedding_mlp",
        hidden_units: int = 256,
        n_layers: int = 2,
        dropout: float = 0.0,
        activation: str = "relu",
        norm: str = "none",
        embedding_size: int = 8,
        n_frequencies: int = 0,
        frequency_scale: float = 0.3,
        n_cross_layers: int = 2,
    ) -> None:
        super().__init__()
        check_choice(self, "architecture", architecture, ARCHITECTURES)
        check_at_least(self, 1, embedding_size=embedding_size, n_cross_layers=n_cross_layers)
        check_at_least(self, 0, n_frequencies=n_frequencies)
        if frequency_scale <= 0:
            raise ValueError(
                f"The frequency_scale of TabularNet must be above 0. Got {frequency_scale!r}."
            )
        n_numbers, *n_codes = sizes
        n_inputs = n_numbers * (1 + 2 * n_frequencies) + embedding_size * len(n_codes)
        if n_inputs == 0:
            raise ValueError("TabularNet needs at least one column. Got sizes=(0,).")
        self.register_buffer("n_codes", torch.tensor(n_codes, dtype=torch.int64), persistent=False)
        self.embeddings = nn.ModuleList(
            nn.Embedding(n, embedding_size, padding_idx=0) for n in n_codes
        )
        self.frequencies = nn.Parameter(frequency_scale * torch.randn(n_numbers, n_frequencies))
        self.deep = MLP(
            n_inputs,
            n_classes,
            hidden_units,
            n_layers,
            dropout=dropout,
            activation=activation,
            norm=norm,
        )
        self.wide = _Wide(n_numbers, n_codes, n_classes) if architecture == "wide_deep" else None
        self.cross: nn.Module | None = None
        if architecture.startswith("deep_cross"):
            layers = [
                _CrossLayer(n_inputs, full=architecture == "deep_cross_v2")
                for _ in range(n_cross_layers)
            ]
            self.cross = _Cross(layers, nn.Linear(n_inputs, n_classes))

    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Return the outputs for a batch.

        Parameters
        ----------
        numbers : float tensor of shape (n_samples, n_numbers)
        codes : int64 tensor of shape (n_samples, n_categorical_columns)

        Returns
        -------
        tensor of shape (n_samples, n_classes)
        """
        codes = torch.where(codes < self.n_codes, codes, 0)
        embedded = [embed(codes[:, i]) for i, embed in enumerate(self.embeddings)]
        waves = 2 * torch.pi * numbers.unsqueeze(2) * self.frequencies
        periodic = [wave.flatten(1) for wave in (waves.sin(), waves.cos())]
        inputs = torch.cat([numbers, *periodic, *embedded], dim=1)
        second_part = None
        if self.wide is not None:
            second_part = self.wide(numbers, codes)
        elif self.cross is not None:
            second_part = self.cross(inputs)
        # last, because the inputs of the last linear layer are plotted as the features of a net
        outputs: torch.Tensor = self.deep(inputs)
        return outputs if second_part is None else outputs + second_part


class _Wide(nn.Module):
    """A linear model of numbers, categories and pairs of categories; its weights start at 0."""

    def __init__(self, n_numbers: int, n_codes: Sequence[int], n_classes: int) -> None:
        super().__init__()
        self.pairs = list(combinations(range(len(n_codes)), 2))
        self.n_codes = list(n_codes)
        sizes = [*n_codes, *(min(n_codes[i] * n_codes[j], N_BUCKETS) for i, j in self.pairs)]
        self.linear = nn.Parameter(torch.empty(n_classes, n_numbers))
        self.weights = nn.ModuleList(nn.Embedding(n, n_classes, padding_idx=0) for n in sizes)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        columns = list(codes.T)
        for i, j in self.pairs:
            pair = codes[:, i] * self.n_codes[j] + codes[:, j]
            seen = (codes[:, i] > 0) & (codes[:, j] > 0)
            columns.append(torch.where(seen, pair % N_BUCKETS, 0))
        outputs = nn.functional.linear(numbers, self.linear)
        for weights, column in zip(self.weights, columns, strict=True):
            outputs = outputs + weights(column)
        return outputs


class _CrossLayer(nn.Module):
    """Multiplies the inputs by a linear map of the previous layer, and adds that layer."""

    def __init__(self, width: int, *, full: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width if full else 1, bias=full)
        self.bias = None if full else nn.Parameter(torch.zeros(width))

    def forward(self, inputs: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        crossed: torch.Tensor = inputs * self.linear(x) + x
        return crossed if self.bias is None else crossed + self.bias


class _Cross(nn.Module):
    def __init__(self, layers: Sequence[_CrossLayer], head: nn.Linear) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.head = head

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x = inputs
        for layer in self.layers:
            x = layer(inputs, x)
        outputs: torch.Tensor = self.head(x)
        return outputs
