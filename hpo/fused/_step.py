"""One update of a batch of models as one function of tensors, which can be compiled.

Weights, buffers and the state of the optimizer are changed in place. Every number of a model is an
entry of a vector over the models, so that a step with other numbers uses the same program.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import functional_call, grad, vmap

from hpo.fused._dropout import buffer_of, layer_of
from hpo.fused._functional import FUNCTIONS
from hpo.fused._plan import Plan
from hpo.fused._updates import MIXED, UPDATES
from hpo.fused.errors import NotFusibleError

__all__ = [
    "N_FIXED",
    "Stacked",
    "broadcast_like",
    "make_forward",
    "make_gradients",
    "make_step",
    "penalised_weights",
]

N_FIXED = 6
"""Leading arguments of a step that are always the same tensors: those it changes, and the data."""

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Stacked:
    """All state of the models: tensors of shape (n_folds, n_slots, ...) by name.

    Parameters
    ----------
    weights, buffers : dict of str to tensor
        Frozen weights are among the buffers.
    slots : dict of str to dict of str to tensor
        State of the optimizer by weight.
    """

    weights: dict[str, torch.Tensor]
    buffers: dict[str, torch.Tensor]
    slots: dict[str, dict[str, torch.Tensor]]

    def mappings(self) -> list[dict[str, torch.Tensor]]:
        """Return every mapping of names to tensors."""
        return [self.weights, self.buffers, *self.slots.values()]

    def tensors(self) -> list[torch.Tensor]:
        """Return every tensor, always in the same order."""
        return [tensor for mapping in self.mappings() for tensor in mapping.values()]


def broadcast_like(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return values of shape (n_folds or 1, n_slots or 1) shaped to broadcast over ``like``."""
    return values.reshape(*values.shape, *[1] * (like.ndim - 2))


def make_step(
    plan: Plan, device: torch.device, dtype: torch.dtype = torch.float32
) -> Callable[..., torch.Tensor]:
    """Return the function that updates all models.

    Parameters
    ----------
    plan : Plan
    device : torch.device
    dtype : torch.dtype, default=torch.float32
        Type of the models' weights.

    Returns
    -------
    callable
        ``step(weights, buffers, slots, inside, X, y, numbers, mask, noise, rows)`` returns the
        losses before the update, of shape (n_folds, n_slots); in a mixed batch, their shares in
        those of the models' minibatches. The first three are changed in place. ``inside`` masks
        the entries of each weight that a model has, of shape (1, n_slots, ...). ``numbers`` holds
        those of the optimizer, of the loss and of clipping, and ``keep:LAYER`` for each dropout
        layer, of shape (n_folds or 1, n_slots).
    """
    gradients_of = make_gradients(plan, device, dtype)
    update = MIXED if plan.mixed else UPDATES[plan.optimizer]
    momenta, penalised = plan.batchable.momenta, penalised_weights(plan)

    def step(  # noqa: PLR0917 - called once, in the order of the data flow
        weights: dict[str, torch.Tensor],
        buffers: dict[str, torch.Tensor],
        slots: dict[str, dict[str, torch.Tensor]],
        inside: Tensors,
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
        if plan.pads:
            gradients = {name: torch.where(inside[name], g, 0.0) for name, g in gradients.items()}
        if plan.accumulates:
            gradients = sums = {n: slots[n]["gradient"] + g for n, g in gradients.items()}
        if plan.mixed and plan.penalises:
            gradients = {**gradients, **_with_penalties(gradients, weights, numbers, penalised)}
            losses = losses + numbers["part"] * _penalties(weights, numbers, penalised)
        if plan.clips:
            gradients = _clipped(gradients, numbers)
        for name, weight in weights.items():
            shaped = {
                key: broadcast_like(value, weight)
                for key, value in numbers.items()
                if ":" not in key
            }
            update.step(weight, gradients[name], slots[name], shaped, plan.flags)
            if plan.accumulates:
                slots[name]["gradient"].copy_(torch.where(shaped["due"] > 0, 0.0, sums[name]))
        for name, value in stats.items():
            buffers[name].lerp_(value.to(buffers[name].dtype), momenta[name.rpartition(".")[0]])
        return losses  # type: ignore[no-any-return]

    return step


def make_gradients(plan: Plan, device: torch.device, dtype: torch.dtype) -> Callable[..., Any]:
    """Return the function of the gradients, losses and statistics of all models.

    Returns
    -------
    callable
        ``gradients(weights, buffers, numbers, mask, noise, X, y)``, where ``numbers`` are those of
        the loss, and ``share`` in a mixed batch, of which penalties are no part.
    """
    batchable, criterion = plan.batchable, plan.criterion.to(device, dtype)
    penalised = penalised_weights(plan)

    def loss(  # noqa: PLR0917 - vmap maps arguments by their position
        weights: Any,
        buffers: Any,
        numbers: Any,
        share: Any,
        mask: Any,
        noise: Any,
        X: Any,
        y: Any,
    ) -> Any:
        function_noise = {
            name: value for name, value in noise.items() if layer_of(name) == FUNCTIONS
        }
        inputs = {
            buffer_of(name): value for name, value in noise.items() if name not in function_noise
        }
        layers = {layer_of(name) for name in noise if name not in function_noise}
        inputs |= {f"{name}.keep": numbers[f"keep:{name}"] for name in layers}
        inputs |= {f"{name}.mask": mask for name in batchable.norms}

        def forward() -> torch.Tensor:
            with torch.autocast(
                device.type, torch.bfloat16, enabled=plan.autocast, cache_enabled=False
            ):
                out: torch.Tensor = functional_call(
                    batchable.module, {**weights, **buffers, **inputs}, (X,), tie_weights=False
                )
            return out

        out, stats = batchable.collect(forward, function_noise)
        out = _flatten(plan, out)
        if plan.shapes_target:
            y = y.reshape(out.shape)
        total = criterion(out, y, numbers["label_smoothing"], mask)
        if plan.mixed:
            total = total * share
        elif plan.penalises:
            l1 = sum(weights[name].abs().sum() for name in penalised)
            l2 = sum(weights[name].square().sum() for name in penalised)
            total = total + numbers["l1_lambda"] * l1 + numbers["l2_lambda"] * l2
        return total, (total, stats)

    models = vmap(grad(loss, has_aux=True), in_dims=(0, 0, 0, 0, None, None, None, None))
    folds = vmap(models, in_dims=(0, 0, None, 0, 0, 0, 0, 0))

    def gradients(  # noqa: PLR0917
        weights: Tensors,
        buffers: Tensors,
        numbers: Tensors,
        mask: torch.Tensor,
        noise: Tensors,
        X: torch.Tensor,
        y: torch.Tensor,
    ) -> Any:
        loss_numbers = {
            name: value[0]
            for name, value in numbers.items()
            if name.startswith("keep:") or name in _LOSS_NUMBERS
        }
        share = numbers["share"] if plan.mixed else torch.ones_like(numbers["lr"])
        return folds(weights, buffers, loss_numbers, share, mask, noise, X, y)

    return gradients


def _flatten(plan: Plan, out: torch.Tensor) -> torch.Tensor:
    """Return a module's outputs, flattened if the plan says so."""
    if not plan.flattens:
        return out
    if out.ndim > 2 or (out.ndim == 2 and out.shape[1] != 1):
        raise NotFusibleError(
            f"the module returns (n_samples, {', '.join(map(str, out.shape[1:]))}), and one output "
            "a row is what a binary classifier takes"
        )
    return out.reshape(-1)


_LOSS_NUMBERS = {"l1_lambda", "l2_lambda", "label_smoothing"}


def penalised_weights(plan: Plan) -> list[str]:
    """Return the weights that penalties look at; biases and scales are none."""
    weights = plan.batchable.module.named_parameters()
    return [name for name, weight in weights if weight.ndim > 1 and weight.requires_grad]


def _with_penalties(
    gradients: Tensors, weights: Tensors, numbers: Tensors, names: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Return gradients of the loss with those of the penalties on the weights.

    These are added in closed form, once for each update, and not to the loss of each step.
    """
    return {
        name: gradients[name]
        + broadcast_like(numbers["l1_lambda"], weights[name]) * weights[name].sign()
        + 2 * broadcast_like(numbers["l2_lambda"], weights[name]) * weights[name]
        for name in names
    }


def _penalties(weights: Tensors, numbers: Tensors, names: Sequence[str]) -> Any:
    """Return the penalties of all models, of shape (n_folds, n_slots).

    Summed in two stages: TorchInductor would put a single sum, over all that an update changes,
    into one loop with the update, and fails (KeyError in `outer_loop_fusion_with_local_buf`).
    """
    l1 = sum(weights[name].abs().flatten(3).sum(3).sum(2) for name in names)
    l2 = sum(weights[name].square().flatten(3).sum(3).sum(2) for name in names)
    return numbers["l1_lambda"] * l1 + numbers["l2_lambda"] * l2


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
    """Return the function that computes the outputs of all models in evaluation.

    Returns
    -------
    callable
        ``forward(weights, buffers, X)``, where X is of shape (n_folds, n_samples, ...).
    """
    module = plan.batchable.module

    def outputs(weights: Any, buffers: Any, X: Any) -> torch.Tensor:
        state = {**weights, **buffers}
        result: torch.Tensor = functional_call(module, state, (X,), tie_weights=False)
        return _flatten(plan, result)

    models = vmap(vmap(outputs, in_dims=(0, 0, None)), in_dims=(0, 0, 0))

    def forward(weights: Tensors, buffers: Tensors, X: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = models(weights, buffers, X)
        return result

    return forward
