"""Weights of a smaller model as the leading entries of those of a larger one."""

from collections.abc import Sequence

import torch

__all__ = ["fits", "leading", "place", "taken"]

Shape = Sequence[int]


def fits(shape: Shape, into: Shape) -> bool:
    """Return whether a tensor of one shape can be the leading entries of one of another."""
    return len(shape) == len(into) and all(a <= b for a, b in zip(shape, into, strict=True))


def leading(tensor: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Return a view of the entries of ``tensor`` that a tensor of ``shape`` at the end has."""
    if tuple(tensor.shape[tensor.ndim - len(shape) :]) == tuple(shape):
        return tensor
    for axis, n in enumerate(shape, tensor.ndim - len(shape)):
        tensor = tensor.narrow(axis, 0, n)
    return tensor


def place(into: torch.Tensor, slots: Sequence[int], values: Sequence[torch.Tensor]) -> None:
    """Write the values of some models, each of shape (n_folds, ...), and 0 beside smaller ones.

    Parameters
    ----------
    into : tensor of shape (n_folds, n_slots, ...)
        Changed in place.
    slots : sequence of int
    values : sequence of tensor
        One per slot.
    """
    whole = into.shape[2:]
    if all(value.shape[1:] == whole for value in values):
        into[:, list(slots)] = torch.stack(list(values), 1).to(into)
        return
    for slot, value in zip(slots, values, strict=True):
        into[:, slot] = 0
        leading(into[:, slot], value.shape[1:]).copy_(value)


def taken(into: torch.Tensor, slot: int, shape: Shape) -> None:
    """Set a mask of shape (1, n_slots, ...) to the entries that a model of ``shape`` has."""
    into[:, slot] = False
    leading(into[:, slot], shape).fill_(True)
