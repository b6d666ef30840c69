"""The random draws of a batch of models, for one of them that is trained alone."""

from collections.abc import Iterator, Mapping

import torch

from hpo.fused._draws import draw_noise, epoch_draws, order
from hpo.fused._dropout import ReplayedDropout, buffer_of, layer_of
from hpo.fused._plan import Plan

__all__ = ["Replay"]


class Replay:
    """Orders of minibatches and noise of dropout, the same as in a batch of models.

    Parameters
    ----------
    plan : Plan
    fold : int
        Fold whose draws are used.
    X : tensor of shape (n_samples, ...)
        Some samples, as the plan's module is given them.
    seed, n_folds : int
        Seed and number of folds of the batch.
    """

    def __init__(
        self, plan: Plan, fold: int, X: torch.Tensor, *, seed: int = 0, n_folds: int = 2
    ) -> None:
        self._plan, self._fold, self._seed, self._n_folds = plan, fold, seed, n_folds
        self._device = X.device
        self._shapes = plan.batchable.noise_shapes(X[:2])

    def order(self, number: int, rows: torch.Tensor) -> torch.Tensor:
        """Return the rows of the fold in the order in which epoch ``number`` uses them."""
        return order(self._plan, rows, seed=self._seed, number=number, fold=self._fold)

    def noises(self, number: int) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the noise of each minibatch of an epoch, for the samples of a full one."""
        generators = {
            name: epoch_draws(self._seed, number, 1 + k, device=self._device)
            for k, name in enumerate(self._shapes)
        }
        size = self._plan.batch_size
        while True:
            yield {
                name: draw_noise(self._n_folds, size, self._shapes[name], generator)[self._fold]
                for name, generator in generators.items()
            }

    @staticmethod
    def write_noise(
        noise: Mapping[str, torch.Tensor],
        layers: Mapping[str, ReplayedDropout],
        n_samples: int,
        dtype: torch.dtype,
    ) -> None:
        """Write the noise of a minibatch of ``n_samples`` to the layers."""
        for name, drawn in noise.items():
            layer = layers.get(layer_of(name))
            if layer is not None:  # an attention without dropout is not replaced
                setattr(layer, buffer_of(name).rpartition(".")[2], drawn[:n_samples].to(dtype))
