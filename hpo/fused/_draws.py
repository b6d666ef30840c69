"""The random numbers of an epoch: order of minibatches and noise of dropout, for each fold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from hpo.fused._plan import Plan

__all__ = ["Batch", "Epoch", "draw_epoch", "draw_noise", "epoch_draws", "order"]


def epoch_draws(seed: int, *parts: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the random generator of one part of an epoch; the same parts give the same numbers.

    A GPU draws its own numbers, which differ from those of the CPU.
    """
    mixed = seed
    for part in parts:
        mixed = (mixed * 6364136223846793005 + part + 1442695040888963407) % 2**63
    return torch.Generator(device).manual_seed(mixed)


def order(plan: Plan, rows: torch.Tensor, *, seed: int, number: int, fold: int) -> torch.Tensor:
    """Return the rows of a fold in the order in which epoch ``number`` uses them."""
    if plan.shuffle:
        draws = epoch_draws(seed, number, 0, fold)
        rows = rows[torch.randperm(len(rows), generator=draws)]
    if plan.drop_last:
        rows = rows[: len(rows) // plan.batch_size * plan.batch_size]
    return rows


def draw_noise(
    n_folds: int,
    batch_size: int,
    shape: Sequence[int],
    generator: torch.Generator,
) -> torch.Tensor:
    """Return uniform noise for a full minibatch of each fold, even if it has fewer samples.

    It is always float32, so that the draws do not depend on the precision of the models.
    """
    return torch.rand(n_folds, batch_size, *shape, generator=generator, device=generator.device)


@dataclass(frozen=True)
class Batch:
    """A minibatch of each fold.

    Parameters
    ----------
    rows : int64 tensor of shape (n_folds, batch_size)
        Padded with row 0 where a fold has fewer samples left.
    mask : tensor of shape (n_folds, batch_size)
        1 for a sample; 0 for padding, or rather a tiny number, as the loss divides by the sum.
    n : tensor of shape (n_folds, 1)
        Number of samples.
    noise : mapping of str to tensor of shape (n_folds, batch_size, ...)
        Noise of each dropout layer; of shape (n_folds,) if no model drops anything.
    complete : bool
        Whether every fold has samples in this minibatch.
    """

    rows: torch.Tensor
    mask: torch.Tensor
    n: torch.Tensor
    noise: Mapping[str, torch.Tensor]
    complete: bool


@dataclass(frozen=True)
class Epoch:
    """The minibatches of an epoch.

    Parameters
    ----------
    n : tensor of shape (n_batches, n_folds, 1)
        Number of samples, on the CPU.
    batches : iterator of Batch
    """

    n: torch.Tensor
    batches: Iterator[Batch]


def draw_epoch(
    plan: Plan,
    rows: Sequence[torch.Tensor],
    shapes: Mapping[str, Sequence[int]],
    *,
    seed: int,
    number: int,
    dropping: Sequence[str],
    like: torch.Tensor,
) -> Epoch:
    """Return the minibatches of an epoch, all of one size.

    Parameters
    ----------
    plan : Plan
    rows : sequence of int64 tensor, one per fold
        Training samples, on the CPU.
    shapes : mapping of str to sequence of int
        Shape of each dropout layer's noise for one sample.
    seed, number : int
        Seed of the batch of models, and number of the epoch.
    dropping : sequence of str
        Layers whose rate is not 0 in every model.
    like : tensor
        A tensor of the device and type of the result.
    """
    orders = [
        order(plan, part, seed=seed, number=number, fold=fold) for fold, part in enumerate(rows)
    ]
    n_folds, size = len(rows), min(plan.batch_size, max(map(len, orders), default=1))
    n_batches = -(-max(map(len, orders)) // size)
    padded_rows = torch.zeros(n_folds, n_batches * size, dtype=torch.int64)
    mask = torch.zeros(n_folds, n_batches * size)
    for fold, part in enumerate(orders):
        padded_rows[fold, : len(part)] = part
        mask[fold, : len(part)] = 1.0
    shape = (n_folds, n_batches, size)
    n = mask.view(shape).sum(2).T.contiguous().unsqueeze(2)
    generators = {
        name: epoch_draws(seed, number, 1 + k, device=like.device)
        for k, name in enumerate(shapes)
        if name in set(dropping)
    }

    def draw() -> Iterator[Batch]:
        complete = (n > 0).all(1).flatten().tolist()
        batch_rows = padded_rows.view(shape).transpose(0, 1).contiguous().to(like.device)
        batch_masks = mask.view(shape).transpose(0, 1).clamp_min(1e-30).contiguous().to(like)
        batch_sizes = n.to(like)
        idle = {name: like.new_zeros(n_folds) for name in shapes}
        for i in range(n_batches):
            noise = {
                name: draw_noise(n_folds, plan.batch_size, shapes[name], g)[:, :size].to(like)
                for name, g in generators.items()
            }
            yield Batch(batch_rows[i], batch_masks[i], batch_sizes[i], idle | noise, complete[i])

    return Epoch(n, draw())
