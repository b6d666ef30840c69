"""The step of a mixed batch that isn't compiled: each model is updated by itself, when it is due.

An update of all models by one rule passes over all weights some twenty times, whatever is due. One
model's weights fit into a cache, its own rule passes over them less often, and only its own entries
are touched.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hpo.fused._blocks import leading
from hpo.fused._draws import Batch
from hpo.fused._mixture import MixedSteps, update_of
from hpo.fused._plan import ModelState, Plan
from hpo.fused._step import Stacked, make_gradients, penalised_weights
from hpo.fused._updates import UPDATES

__all__ = ["SlotwiseStep"]


@dataclass(frozen=True)
class _Due:
    """A model that is updated after a step, on some folds."""

    slot: int
    folds: slice
    member: ModelState
    lr: np.ndarray
    t: np.ndarray


class SlotwiseStep:
    """Updates the models of a mixed batch one by one.

    Parameters
    ----------
    plan : Plan
    device : torch.device
    dtype : torch.dtype
    """

    def __init__(self, plan: Plan, device: torch.device, dtype: torch.dtype) -> None:
        self._plan, self._device = plan, device
        self._gradients_of = make_gradients(plan, device, dtype)
        self._momenta = plan.batchable.momenta
        self._penalised = penalised_weights(plan)

    def __call__(
        self,
        stacked: Stacked,
        data: tuple[torch.Tensor, torch.Tensor],
        numbers: Mapping[str, torch.Tensor],
        batch: Batch,
        *,
        steps: MixedSteps,
        i: int,
        members: Sequence[ModelState | None],
    ) -> torch.Tensor:
        """Make the i-th step of an epoch; return its shares in the losses, before the update.

        Parameters
        ----------
        stacked : Stacked
            Changed in place.
        data : pair of tensors
            X and y.
        numbers : mapping of str to tensor
            Those of the loss, and ``share``, of shape (n_folds, n_slots).
        batch : Batch
        steps : MixedSteps
        i : int
        members : sequence of ModelState or None
            By slot.
        """
        X, y = data
        gradients, (losses, stats) = self._gradients_of(
            stacked.weights,
            stacked.buffers,
            numbers,
            batch.mask,
            batch.noise,
            X[batch.rows],
            y[batch.rows],
        )
        if self._plan.accumulates:
            for name, gradient in gradients.items():
                gradients[name] = stacked.slots[name]["gradient"].add_(gradient)
        for due in _due(steps, i, members):
            losses[due.folds, due.slot] += self._update(stacked, gradients, due)
        for name, value in stats.items():
            buffer = stacked.buffers[name]
            buffer.lerp_(value.to(buffer.dtype), self._momenta[name.rpartition(".")[0]])
        return losses  # type: ignore[no-any-return]

    def _update(self, stacked: Stacked, gradients: Mapping[str, torch.Tensor], due: _Due) -> Any:
        """Update a model; return the penalties on its weights before, by fold."""
        member, plan = due.member, self._plan
        rule = UPDATES[update_of(plan, member)]
        flags = plan.flags if member.flags is None else member.flags
        shapes = {name: member.states[0][name].shape for name in stacked.weights}

        def own(tensor: torch.Tensor, name: str) -> torch.Tensor:
            return leading(tensor[due.folds, due.slot], shapes[name])

        weights = {name: own(tensor, name) for name, tensor in stacked.weights.items()}
        own_gradients = {name: own(gradients[name], name) for name in weights}
        penalty: Any = 0.0
        if plan.penalises:
            penalty = self._add_penalties(weights, own_gradients, member.numbers)
        if plan.clips:
            _clip(own_gradients, member.numbers)
        numbers = _numbers(due, rule.numbers, self._device)
        for name, weight in weights.items():
            state = {
                mine: own(stacked.slots[name][part], name) for part, mine in rule.moments.items()
            }
            shaped = {
                key: value.reshape(-1, *[1] * (weight.ndim - 1)) if value.ndim else value
                for key, value in numbers.items()
            }
            rule.step(weight, own_gradients[name], state, shaped, flags)
            if plan.accumulates:
                stacked.slots[name]["gradient"][due.folds, due.slot] = 0.0
        return penalty

    def _add_penalties(
        self,
        weights: Mapping[str, torch.Tensor],
        gradients: dict[str, torch.Tensor],
        numbers: Mapping[str, float],
    ) -> Any:
        """Add the derivatives of the penalties in closed form; return the penalties, by fold."""
        total: Any = 0.0
        l1, l2 = numbers.get("l1_lambda", 0.0), numbers.get("l2_lambda", 0.0)
        for name in self._penalised:
            flat = weights[name].flatten(1)
            if l1:
                gradients[name] = gradients[name].add(weights[name].sign(), alpha=l1)
                total = total + l1 * flat.abs().sum(1)
            if l2:
                gradients[name] = gradients[name].add(weights[name], alpha=2 * l2)
                total = total + l2 * flat.square().sum(1)
        return total


def _due(steps: MixedSteps, i: int, members: Sequence[ModelState | None]) -> Iterator[_Due]:
    """Yield the models that are updated after a step; folds that differ one by one."""
    n_folds = steps.due.shape[1]
    for slot in np.flatnonzero(steps.due[i].any(0)).tolist():
        member = members[slot]
        assert member is not None
        whole = bool(steps.due[i, :, slot].all())
        parts = [slice(0, n_folds)] if whole else [slice(f, f + 1) for f in range(n_folds)]
        for folds in parts:
            if steps.due[i, folds, slot].all():
                lr, t = steps.lr[i, folds, slot], steps.t[i, folds, slot]
                yield _Due(slot, folds, member, lr, t)


def _numbers(due: _Due, names: Sequence[str], device: torch.device) -> dict[str, torch.Tensor]:
    """Return the numbers of an update: those that folds share as a scalar, others by fold."""
    own = due.member.numbers
    values: dict[str, Any] = {"lr": due.lr, "t": due.t}
    values |= {name: own[name] for name in names if name != "lr"}
    if "beta1" in values:
        values["correction1"] = 1 - own["beta1"] ** due.t
        values["correction2"] = np.sqrt(1 - own["beta2"] ** due.t)
    numbers = {}
    for name, value in values.items():
        by_fold = np.atleast_1d(value)
        shared = (by_fold == by_fold[0]).all()
        numbers[name] = torch.as_tensor(by_fold[0] if shared else by_fold, device=device)
    return numbers


def _clip(gradients: dict[str, torch.Tensor], numbers: Mapping[str, float]) -> None:
    """Clip gradients by their norm, then by value, as `torch.nn.utils` does."""
    limit, value = numbers.get("max_norm", np.inf), numbers.get("max_value", np.inf)
    if np.isfinite(limit):
        squares = [gradient.flatten(1).square().sum(1) for gradient in gradients.values()]
        factor = (limit / (torch.stack(squares).sum(0).sqrt() + 1e-6)).clamp(max=1.0)
        for name, gradient in gradients.items():
            gradients[name] = gradient * factor.reshape(-1, *[1] * (gradient.ndim - 1))
    if np.isfinite(value):
        for name, gradient in gradients.items():
            gradients[name] = gradient.clamp(-value, value)
