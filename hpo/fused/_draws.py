"""The random numbers of an epoch: orders of minibatches and noise of dropout, fold by fold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from hpo.fused._plan import Plan

__all__ = ["Batch", "Epoch", "draw_epoch", "draw_noise", "epoch_draws", "order"]


def epoch_draws(seed: int, *parts: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the random numbers of one part of an epoch: the same parts, the same numbers.

    They are other ones on a GPU, which draws them itself.
    """
    mixed = seed
    for part in parts:
        mixed = (mixed * 6364136223846793005 + part + 1442695040888963407) % 2**63
    return torch.Generator(device).manual_seed(mixed)


def order(plan: Plan, rows: torch.Tensor, *, seed: int, number: int, fold: int) -> torch.Tensor:
    """Return the rows of a fold in the order in which epoch ``number`` takes them."""
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
    """Return uniform noise for a whole batch of each fold, however few samples the batch has.

    It is of float32 whatever the models are, so that each precision has the same draws.
    """
    return torch.rand(n_folds, batch_size, *shape, generator=generator, device=generator.device)


@dataclass(frozen=True)
class Batch:
    """A minibatch of each fold.

    Parameters
    ----------
    rows : int64 tensor of shape (n_folds, batch_size)
        Filled up with row 0 where a fold has fewer samples left.
    mask : tensor of shape (n_folds, batch_size)
        1 for a sample, 0 for what was filled up; of no zeros alone, which would divide by 0.
    n : tensor of shape (n_folds, 1)
        Samples.
    noise : mapping of str to tensor of shape (n_folds, batch_size, ...)
        Of each dropout layer; of shape (n_folds,) where no model drops anything.
    complete : bool
        Whether every fold has samples.
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
        Samples, on the CPU.
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
    rows : sequence of int64 tensor, one a fold
        Training samples, on the CPU.
    shapes : mapping of str to sequence of int
        Of each dropout layer's noise for one sample.
    seed, number : int
        Of the batch of models, and the epoch's.
    dropping : sequence of str
        Layers whose rate is not 0 in every model.
    like : tensor
        Of the device and type that is wanted.
    """
    orders = [
        order(plan, part, seed=seed, number=number, fold=fold) for fold, part in enumerate(rows)
    ]
    n_folds, size = len(rows), min(plan.batch_size, max(map(len, orders), default=1))
    n_batches = -(-max(map(len, orders)) // size)
    taken = torch.zeros(n_folds, n_batches * size, dtype=torch.int64)
    mask = torch.zeros(n_folds, n_batches * size)
    for fold, part in enumerate(orders):
        taken[fold, : len(part)] = part
        mask[fold, : len(part)] = 1.0
    shape = (n_folds, n_batches, size)
    n = mask.view(shape).sum(2).T.contiguous().unsqueeze(2)
    generators = {
        name: epoch_draws(seed, number, 1 + k, device=like.device)
        for k, name in enumerate(shapes)
        if name in set(dropping)
    }

    def drawn() -> Iterator[Batch]:
        complete = (n > 0).all(1).flatten().tolist()
        rows_of = taken.view(shape).transpose(0, 1).contiguous().to(like.device)
        mask_of = mask.view(shape).transpose(0, 1).clamp_min(1e-30).contiguous().to(like)
        n_of = n.to(like)
        idle = {name: like.new_zeros(n_folds) for name in shapes}
        for i in range(n_batches):
            noise = {
                name: draw_noise(n_folds, plan.batch_size, shapes[name], g)[:, :size].to(like)
                for name, g in generators.items()
            }
            yield Batch(rows_of[i], mask_of[i], n_of[i], idle | noise, complete[i])

    return Epoch(n, drawn())
