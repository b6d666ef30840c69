"""One update of a batch of models as one function of tensors: what `torch.compile` is given.

Weights, buffers and the state of the optimizer are changed in place. Every number of a model is an
entry of a vector over the models, so that a step of other numbers is the same program.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import functional_call, grad, vmap

from hpo.fused._dropout import layer_of, place_of
from hpo.fused._functional import FUNCTIONS
from hpo.fused._plan import Plan
from hpo.fused._updates import UPDATES
from hpo.fused.errors import NotFusibleError

__all__ = ["N_KEPT", "Stacked", "broadcast_like", "make_forward", "make_step"]

N_KEPT = 5
"""Arguments of a step that lie where they are: what it changes in place, and the data."""

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Stacked:
    """All that models keep: tensors of shape (n_folds, n_slots, ...) by name.

    Parameters
    ----------
    weights, buffers : dict of str to tensor
        Frozen weights are among the buffers.
    slots : dict of str to dict of str to tensor
        State of the optimizer, by weight.
    """

    weights: dict[str, torch.Tensor]
    buffers: dict[str, torch.Tensor]
    slots: dict[str, dict[str, torch.Tensor]]

    def mappings(self) -> list[dict[str, torch.Tensor]]:
        """Return every mapping of names to tensors."""
        return [self.weights, self.buffers, *self.slots.values()]

    def tensors(self) -> list[torch.Tensor]:
        """Return every tensor, in one order."""
        return [tensor for mapping in self.mappings() for tensor in mapping.values()]


def broadcast_like(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return values of shape (n_folds or 1, n_slots or 1) shaped to broadcast over ``like``."""
    return values.reshape(*values.shape, *[1] * (like.ndim - 2))


def make_step(
    plan: Plan, device: torch.device, dtype: torch.dtype = torch.float32
) -> Callable[..., torch.Tensor]:
    """Return the function that makes an update of all models.

    Parameters
    ----------
    plan : Plan
    device : torch.device
    dtype : torch.dtype, default=torch.float32
        Of the models.

    Returns
    -------
    callable
        ``step(weights, buffers, slots, X, y, numbers, mask, noise, rows)`` returns the losses
        before the update, ``n_folds x n_slots``. The first three are changed in place.
        ``numbers`` holds those of the optimizer, of the loss and of the clipping, and
        ``keep:LAYER`` for each dropout layer, ``n_folds or 1 x n_slots``.
    """
    gradients_of = _gradients(plan, device, dtype)
    update = UPDATES[plan.optimizer]
    momenta = plan.batchable.momenta

    def step(  # noqa: PLR0917 - called at one place, in the order of the data flow
        weights: dict[str, torch.Tensor],
        buffers: dict[str, torch.Tensor],
        slots: dict[str, dict[str, torch.Tensor]],
        X: torch.Tensor,
        y: torch.Tensor,
        numbers: Tensors,
        mask: torch.Tensor,
        noise: Tensors,
        rows: torch.Tensor,
    ) -> torch.Tensor:
        gradients, (losses, stats) = gradients_of(
            weights, buffers, numbers, mask, noise, X[rows], y[rows]
        )
        if plan.clips:
            gradients = _clipped(gradients, numbers)
        for name, weight in weights.items():
            shaped = {
                key: broadcast_like(value, weight)
                for key, value in numbers.items()
                if ":" not in key
            }
            update.step(weight, gradients[name], slots[name], shaped, plan.flags)
        for name, value in stats.items():
            buffers[name].lerp_(value.to(buffers[name].dtype), momenta[name.rpartition(".")[0]])
        return losses  # type: ignore[no-any-return]

    return step


def _gradients(plan: Plan, device: torch.device, dtype: torch.dtype) -> Callable[..., Any]:
    batchable, criterion = plan.batchable, plan.criterion.to(device, dtype)
    weights_of = batchable.module.named_parameters()
    penalised = [name for name, w in weights_of if w.ndim > 1 and w.requires_grad]

    def loss(  # noqa: PLR0917 - vmap maps arguments by their place
        weights: Any, buffers: Any, own: Any, mask: Any, noise: Any, X: Any, y: Any
    ) -> Any:
        called = {name: value for name, value in noise.items() if layer_of(name) == FUNCTIONS}
        inputs = {place_of(name): value for name, value in noise.items() if name not in called}
        layers = {layer_of(name) for name in noise if name not in called}
        inputs |= {f"{name}.keep": own[f"keep:{name}"] for name in layers}
        inputs |= {f"{name}.mask": mask for name in batchable.norms}

        def forward() -> torch.Tensor:
            with torch.autocast(
                device.type, torch.bfloat16, enabled=plan.autocast, cache_enabled=False
            ):
                out: torch.Tensor = functional_call(
                    batchable.module, {**weights, **buffers, **inputs}, (X,), tie_weights=False
                )
            return out

        out, stats = batchable.collect(forward, called)
        out = _read(plan, out)
        if plan.shapes_target:
            y = y.reshape(out.shape)
        total = criterion(out, y, own["label_smoothing"], mask)
        if plan.penalises:
            l1 = sum(weights[name].abs().sum() for name in penalised)
            l2 = sum(weights[name].square().sum() for name in penalised)
            total = total + own["l1_lambda"] * l1 + own["l2_lambda"] * l2
        return total, (total, stats)

    models = vmap(grad(loss, has_aux=True), in_dims=(0, 0, 0, None, None, None, None))
    folds = vmap(models, in_dims=(0, 0, None, 0, 0, 0, 0))

    def gradients(  # noqa: PLR0917
        weights: Tensors,
        buffers: Tensors,
        numbers: Tensors,
        mask: torch.Tensor,
        noise: Tensors,
        X: torch.Tensor,
        y: torch.Tensor,
    ) -> Any:
        of_loss = {
            name: value[0]
            for name, value in numbers.items()
            if name.startswith("keep:") or name in _OF_THE_LOSS
        }
        return folds(weights, buffers, of_loss, mask, noise, X, y)

    return gradients


def _read(plan: Plan, out: torch.Tensor) -> torch.Tensor:
    """Return what a module's outputs are taken as."""
    if not plan.flattens:
        return out
    if out.ndim > 2 or (out.ndim == 2 and out.shape[1] != 1):
        raise NotFusibleError(
            f"the module returns (n_samples, {', '.join(map(str, out.shape[1:]))}), and one output "
            "a row is what a binary classifier takes"
        )
    return out.reshape(-1)


_OF_THE_LOSS = {"l1_lambda", "l2_lambda", "label_smoothing"}


def _clipped(gradients: Tensors, numbers: Tensors) -> dict[str, torch.Tensor]:
    norm = sum(g.flatten(2).square().sum(2) for g in gradients.values()).sqrt()  # type: ignore[union-attr]
    factor = (numbers["max_norm"] / (norm + 1e-6)).clamp(max=1.0)
    limit = numbers["max_value"]
    return {
        name: torch.minimum(
            torch.maximum(g * broadcast_like(factor, g), -broadcast_like(limit, g)),
            broadcast_like(limit, g),
        )
        for name, g in gradients.items()
    }


def make_forward(plan: Plan) -> Callable[..., torch.Tensor]:
    """Return the function that makes the outputs of all models in evaluation.

    Returns
    -------
    callable
        ``forward(weights, buffers, X)``, where X is of shape (n_folds, n_samples, ...).
    """
    module = plan.batchable.module

    def outputs(weights: Any, buffers: Any, X: Any) -> torch.Tensor:
        state = {**weights, **buffers}
        found: torch.Tensor = functional_call(module, state, (X,), tie_weights=False)
        return _read(plan, found)

    models = vmap(vmap(outputs, in_dims=(0, 0, None)), in_dims=(0, 0, 0))

    def forward(weights: Tensors, buffers: Tensors, X: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = models(weights, buffers, X)
        return found

    return forward
