"""A small recurrent language model."""

from typing import Any

import torch
from torch import nn

from hpo._discovery import did_you_mean

__all__ = ["RecurrentLM"]

CELLS: dict[str, tuple[Any, dict[str, str]]] = {
    "gru": (nn.GRU, {}),
    "lstm": (nn.LSTM, {}),
    "rnn_relu": (nn.RNN, {"nonlinearity": "relu"}),
    "rnn_tanh": (nn.RNN, {"nonlinearity": "tanh"}),
}


class RecurrentLM(nn.Module):
    """An embedding, recurrent layers, and a logit for each possible next symbol.

    Each block starts from a state of zeros. Gradients of plain RNNs grow or shrink by a
    factor with each step back in time (Pascanu, Mikolov and Bengio 2013, *On the difficulty of
    training recurrent neural networks*, section 2): those of ``rnn_relu``, whose units have
    no upper bound, overflow if the learning rate is too high and they are not clipped.

    Parameters
    ----------
    n_symbols : int
        Size of the alphabet or vocabulary, at least 1.
    cell : {"gru", "lstm", "rnn_relu", "rnn_tanh"}, default="lstm"
        Kind of the recurrent layers.
    hidden_units : int, default=64
        Width of each recurrent layer, at least 1.
    n_layers : int, default=1
        Number of recurrent layers, at least 1.
    embedding_size : int, default=32
        Dimension of the embedding of a symbol, at least 1.
    dropout : float, default=0.0
        Probability of zeroing an entry of the inputs and outputs of the recurrent layers, and
        between them, in training; from 0 to below 1.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """

    def __init__(
        self,
        n_symbols: int,
        cell: str = "lstm",
        hidden_units: int = 64,
        n_layers: int = 1,
        embedding_size: int = 32,
        *,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = {
            "n_symbols": n_symbols,
            "hidden_units": hidden_units,
            "n_layers": n_layers,
            "embedding_size": embedding_size,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(
                    f"The {name} of RecurrentLM must be at least 1. Got {size!r} instead."
                )
        if not 0.0 <= dropout < 1.0:
            raise ValueError(
                f"The dropout of RecurrentLM must be from 0 to below 1. Got {dropout!r} instead."
            )
        if cell not in CELLS:
            hint = did_you_mean(cell, CELLS) or "."
            raise ValueError(
                f"The cell of RecurrentLM must be one of: {', '.join(CELLS)}. "
                f"Got '{cell}' instead{hint}"
            )
        kind, options = CELLS[cell]
        self.embedding = nn.Embedding(n_symbols, embedding_size)
        self.recurrent = kind(
            embedding_size,
            hidden_units,
            n_layers,
            batch_first=True,
            # torch warns of a dropout between layers if there is only one
            dropout=dropout if n_layers > 1 else 0.0,
            **options,
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_units, n_symbols)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the logits of the symbol after each symbol.

        Parameters
        ----------
        X : int64 tensor of shape (n_blocks, length)

        Returns
        -------
        tensor of shape (n_blocks, length, n_symbols)
        """
        states, _ = self.recurrent(self.dropout(self.embedding(X)))
        logits: torch.Tensor = self.head(self.dropout(states))
        return logits
