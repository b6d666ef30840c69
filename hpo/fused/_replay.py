"""The random draws of a batch of models, for one of them that is trained alone."""

from collections.abc import Iterator, Mapping

import torch

from hpo.fused._blocks import leading
from hpo.fused._draws import draw_noise, epoch_draws, order
from hpo.fused._dropout import ReplayedDropout, buffer_of, layer_of
from hpo.fused._plan import Plan

__all__ = ["Replay"]


class Replay:
    """Orders of minibatches and noise of dropout, the same as in a batch of models.

    Parameters
    ----------
    plan : Plan
        That of the model alone, with `Plan.draws_of` where the batch has another one.
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
        self._batch = plan.draws_of or plan
        self._device = X.device
        self._shapes = _noise_shapes(self._batch, X)
        self._own_shapes = self._shapes if plan is self._batch else _noise_shapes(plan, X)

    def order(self, number: int, rows: torch.Tensor) -> torch.Tensor:
        """Return the rows of the fold in the order in which epoch ``number`` uses them."""
        return order(self._plan, rows, seed=self._seed, number=number, fold=self._fold)

    def noises(self, number: int) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the noise of each minibatch of an epoch, for the samples of a full one."""
        generators = {
            name: epoch_draws(self._seed, number, 1 + k, device=self._device)
            for k, name in enumerate(self._shapes)
        }
        size = self._batch.batch_size
        n_steps = -(-self._plan.batch_size // size)

        def draw(name: str) -> torch.Tensor:
            shape, generator = self._shapes[name], generators[name]
            steps = [
                draw_noise(self._n_folds, size, shape, generator)[self._fold]
                for _ in range(n_steps)
            ]
            drawn = steps[0] if n_steps == 1 else torch.cat(steps)
            return leading(drawn, self._own_shapes[name])

        while True:
            yield {name: draw(name) for name in generators}

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


def _noise_shapes(plan: Plan, X: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """Return the shape of each dropout's noise for one sample, whatever type the module has."""
    weight = next(plan.batchable.module.parameters())
    samples = X[:2].to(weight.device)
    return plan.batchable.noise_shapes(
        samples.to(weight.dtype) if samples.is_floating_point() else samples
    )
