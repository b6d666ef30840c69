"""A skorch net that learns to predict the next symbol of a sequence."""

from typing import Any

import torch
from skorch import NeuralNet
from skorch.dataset import get_len, unpack_data
from torch import nn

__all__ = ["NextSymbolLoss", "NextSymbolNet"]


class NextSymbolLoss(nn.Module):
    """Mean cross-entropy over all positions of all blocks, in nats per symbol."""

    def forward(self, logits: torch.Tensor, symbols: torch.Tensor) -> torch.Tensor:
        """Return the loss.

        Parameters
        ----------
        logits : tensor of shape (n_blocks, length, n_symbols)
        symbols : integer tensor of shape (n_blocks, length)
            The symbol to predict at each position.
        """
        return nn.functional.cross_entropy(logits.flatten(0, 1), symbols.flatten().long())


class NextSymbolNet(NeuralNet):  # type: ignore[misc]  # skorch has no types
    """A skorch net on blocks of symbols, scored by minus its loss.

    ``X`` and ``y`` are integers of shape (n_blocks, length), where ``y`` holds the symbol that
    follows each of ``X``; see `hpo.data.load_characters`.

    Parameters
    ----------
    module : torch module (class or instance)
        Must return logits of shape (n_blocks, length, n_symbols), as `hpo.modules.RecurrentLM`
        does.
    *args, **kwargs
        Arguments of `skorch.NeuralNet`. ``batch_size`` counts blocks.
    criterion : torch criterion (class), default=NextSymbolLoss
    train_split : callable or None, default=None
        skorch's own default sets aside a fifth of the training part of every fold.
    """

    def __init__(
        self,
        module: Any,
        *args: Any,
        criterion: Any = NextSymbolLoss,
        train_split: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, *args, criterion=criterion, train_split=train_split, **kwargs)

    def score(self, X: Any, y: Any) -> float:
        """Return minus the mean loss on ``X`` and ``y``: greater is better.

        With the default criterion it is minus the nats per symbol: 0 is perfect, and minus the
        logarithm of ``n_symbols`` is guessing.
        """
        total, n = 0.0, 0
        for batch in self.get_iterator(self.get_dataset(X, y), training=False):
            Xi, yi = unpack_data(batch)
            loss = self.get_loss(self.evaluation_step(batch), yi, X=Xi, training=False)
            total += loss.item() * get_len(Xi)
            n += get_len(Xi)
        return -total / n
