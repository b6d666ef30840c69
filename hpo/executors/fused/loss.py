"""Proof that a batch of models has the same loss as the user's own net, for any criterion."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import joblib
import torch
from torch import nn
from torch.func import grad_and_value, vmap

from hpo.executors.fused.attributes import Attributes, global_streams
from hpo.fused import Criterion, NotFusibleError, Plan

__all__ = ["check_loss", "criterion_structure", "hash_of"]

TOLERANCE, TOLERANCE_ABSOLUTE = 1e-8, 1e-9
"""Allowed difference of losses and gradients in float64: relative to the largest, and absolute."""

N_LABELS, N_ROWS, N_NUMBERS = 512, 32, 2**18
"""Largest numbers of labels, further rows, and output values that a loss is compared on."""


def criterion_structure(criterion: nn.Module, parsed: Criterion) -> str:
    """Return a hash of a criterion, without a label smoothing in which models may differ."""
    parts = []
    for name, layer in criterion.named_modules():
        attributes = {k: v for k, v in vars(layer).items() if not (k.startswith("_") and not v)}
        attributes.pop("_modules", None)
        attributes.pop("training", None)
        if not parsed.is_custom:
            attributes.pop("label_smoothing", None)
        parts.append((name, type(layer), _as_arrays(attributes)))
    return hash_of("the criterion", parts)


def hash_of(what: str, value: Any) -> str:
    """Return a hash of ``value``; ``what`` names it in the error if it cannot be pickled."""
    try:
        return str(joblib.hash(cloudpickle.dumps(value)))
    except TypeError as error:
        raise NotFusibleError(f"{what} keeps what cannot be pickled ({error})") from error


def _as_arrays(value: Any) -> Any:
    """Replace tensors in containers by arrays, as pickles of tensors are not reproducible."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), value.detach().cpu().numpy()
    if isinstance(value, dict):
        return {key: _as_arrays(element) for key, element in value.items()}
    return [_as_arrays(element) for element in value] if isinstance(value, list | tuple) else value


def check_loss(plan: Plan, net: Any, outputs: torch.Tensor, y: torch.Tensor) -> None:
    """Check the loss of minibatches, and its derivative, with those of the net itself.

    Full and padded minibatches of 1 row and of many, with every label, are compared in float64 for
    outputs of the module and for random ones, as far as the net's own loss is defined for these. A
    custom criterion is compared with all targets. A criterion that is not a mean over the rows
    fails this check.

    Parameters
    ----------
    plan : Plan
    net : skorch net
        An initialized net in float64.
    outputs : float64 tensor of shape (n_outputs, ...)
        Some outputs of the net.
    y : tensor of shape (n_samples, ...)
        All targets.

    Raises
    ------
    NotFusibleError
        If they differ, or if the criterion raises, draws random numbers or changes its attributes.
    """
    criterion = net.criterion_.train()
    attributes, buffers = Attributes(criterion, called="the criterion"), _buffers(criterion)
    python_states, torch_state = global_streams(), torch.get_rng_state()
    _Comparison(plan, net, outputs, y.double() if y.is_floating_point() else y).check()
    attributes.check("in a training")
    if any(not torch.equal(value, buffers[name]) for name, value in _buffers(criterion).items()):
        raise NotFusibleError("a buffer of the criterion changes when it is called")
    if global_streams() != python_states or not torch.equal(torch.get_rng_state(), torch_state):
        raise NotFusibleError("the criterion draws random numbers")


class _Comparison:
    """Compares the losses of a net with those of a batch of models; see `check_loss`."""

    def __init__(self, plan: Plan, net: Any, outputs: torch.Tensor, y: torch.Tensor) -> None:
        self._plan, self._net, self._outputs, self._y = plan, net, outputs, y
        self._name = f"the criterion {type(net.criterion_).__name__}"
        self._draws = torch.Generator().manual_seed(0)
        self._batch_losses = _fused_function(plan, outputs.device)

    def check(self) -> None:
        """Raise `NotFusibleError` if they differ."""
        y = _targets(self._y, self._outputs, self._plan.batch_size, self._draws)
        sizes = sorted({1, 2, len(y) - len(y) // 3, len(y)})
        folds = torch.stack([y.roll(-k, 0) for k in range(len(sizes))])
        outputs = _outputs(self._outputs, y, self._draws)
        self._compare(next(outputs), folds, sizes)
        for drawn in outputs:
            if self._is_defined(drawn, folds, sizes):  # it may not be, as for probabilities above 1
                self._compare(drawn, folds, sizes)
        if self._plan.criterion.is_custom:
            size = max(1, N_NUMBERS // self._outputs[0].numel())
            for start in range(0, len(self._y), size):
                part = self._y[start : start + size]
                out = _sample(self._outputs, 2 * len(part), self._draws)
                self._compare(out, part.unsqueeze(0), [len(part)])

    def _is_defined(self, out: torch.Tensor, folds: torch.Tensor, sizes: list[int]) -> bool:
        try:
            net_losses = self._net_losses(out, folds, sizes)
        except Exception:
            return False
        return all(bool(part.isfinite().all()) for part in net_losses)

    def _compare(self, out: torch.Tensor, folds: torch.Tensor, sizes: list[int]) -> None:
        try:
            net_losses = self._net_losses(out, folds, sizes)
        except Exception as error:
            if not self._plan.criterion.is_custom:
                # This may raise a clearer error about shapes.
                self._fused_losses(out, folds, sizes)
            message = " ".join(str(error).split())[:200]
            raise NotFusibleError(
                f"the net's own loss raises {type(error).__name__}: {message}"
            ) from error
        is_custom = self._plan.criterion.is_custom
        if is_custom and not all(bool(part.isfinite().all()) for part in net_losses):
            raise NotFusibleError(f"the value of {self._name} is not finite for some rows")
        fused_losses = self._fused_losses(out, folds, sizes)
        if not all(map(_close, fused_losses, net_losses)):
            raise NotFusibleError(
                f"{self._name} is no mean over samples: its value for a minibatch, or the "
                "derivative, is not the mean of those for single samples"
                if is_custom
                else f"{self._name} has another value in a batch of models"
            )

    def _net_losses(
        self, out: torch.Tensor, folds: torch.Tensor, sizes: list[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the net's losses of minibatches without padding, and their gradients."""
        out = out.reshape(len(sizes), 2, -1, *out.shape[1:])
        losses, gradients = out.new_zeros(out.shape[:2]), torch.zeros_like(out)
        for i, n in enumerate(sizes):
            for j in range(2):
                inputs = out[i, j, :n].clone().requires_grad_()
                loss = self._net.get_loss(inputs, folds[i, :n], X=None, training=False)
                (gradients[i, j, :n],) = torch.autograd.grad(loss, inputs)
                losses[i, j] = loss.detach()
        return losses, gradients

    def _fused_losses(
        self, out: torch.Tensor, folds: torch.Tensor, sizes: list[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the same for a batch of two models, computed as in a step of the engine."""
        n = folds.shape[1]
        mask = torch.stack([(torch.arange(n) < size).double() for size in sizes]).to(out.device)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", f".*{_SLOW}")
                gradients, losses = self._batch_losses(
                    out.reshape(len(sizes), 2, n, *out.shape[1:]), folds, mask
                )
        except NotFusibleError:
            raise
        except Exception as error:
            raise NotFusibleError(_cause(self._name, error)) from error
        return losses, gradients


def _buffers(criterion: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in criterion.named_buffers()}


def _targets(
    y: torch.Tensor, outputs: torch.Tensor, batch_size: int, draws: torch.Generator
) -> torch.Tensor:
    """Return targets of a minibatch: each label, and rows from everywhere, in random order."""
    room = max(4, N_NUMBERS // max(outputs[0].numel(), 1))
    rows = torch.linspace(0, len(y) - 1, min(len(y), N_ROWS, room)).long()
    flat = y.flatten().cpu()
    if y.is_floating_point():
        first = torch.stack([flat.argmin(), flat.argmax()])
    else:
        _, place = torch.unique(flat, return_inverse=True)
        first = place.new_full((int(place.max()) + 1,), len(flat))
        first = first.scatter_reduce(0, place, torch.arange(len(flat)), "amin")
    labels = torch.linspace(0, len(first) - 1, min(len(first), N_LABELS, room)).long()
    rows = torch.cat([first[labels] // y[0].numel(), rows])
    n = max(len(rows), min(batch_size, room))
    rows = rows.repeat(-(-n // len(rows)))[:n]
    return y[rows[torch.randperm(n, generator=draws)].to(y.device)]


def _sample(outputs: torch.Tensor, n: int, draws: torch.Generator) -> torch.Tensor:
    """Return ``n`` of the outputs, drawn with replacement."""
    return outputs[torch.randint(len(outputs), (n,), generator=draws).to(outputs.device)]


def _outputs(
    outputs: torch.Tensor, y: torch.Tensor, draws: torch.Generator
) -> Iterator[torch.Tensor]:
    """Yield outputs for 8 minibatches: the module's, then random ones of several distributions."""
    n = 8 * len(y)
    sampled = _sample(outputs, n, draws)

    def normal() -> torch.Tensor:
        return torch.randn(sampled.shape, generator=draws, dtype=sampled.dtype).to(sampled.device)

    row_shape = (n, *[1] * (sampled.ndim - 1))
    size = 10 ** (3 * torch.rand(row_shape, generator=draws, dtype=sampled.dtype) - 1.5).to(
        sampled.device
    )
    yield sampled
    yield sampled + size * normal()
    yield (size * normal()).softmax(-1) if sampled.ndim > 1 else (size * normal()).sigmoid()
    yield (size * normal()).sigmoid()
    yield 1000 * normal()
    if y.is_floating_point() and y[0].numel() == sampled[0].numel():
        yield y.repeat(8, *[1] * (y.ndim - 1)).reshape(sampled.shape) + size * normal()


def _fused_function(plan: Plan, device: torch.device) -> Callable[..., Any]:
    """Return the function of the losses of all models, as a step of the engine computes them."""
    criterion = plan.criterion.to(device, torch.float64)
    smoothing = torch.tensor(criterion.label_smoothing, device=device, dtype=torch.float64)

    def loss(out: torch.Tensor, y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        y = y.reshape(out.shape) if plan.shapes_target else y
        return criterion(out, y, smoothing, mask)

    models = vmap(grad_and_value(loss), in_dims=(0, None, None))
    function: Callable[..., Any] = vmap(models, in_dims=(0, 0, 0))
    return function


def _close(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    a, b = (part.reshape(*part.shape[:2], -1) for part in (actual, expected))
    largest = b.nan_to_num().abs().amax(2, keepdim=True)
    close = (a - b).abs() <= TOLERANCE * largest + TOLERANCE_ABSOLUTE
    return bool((close | (a.isnan() & b.isnan()) | (a == b)).all())


_SLOW = "performance drop"
"""Part of the warning of torch if it calls a function for one row after the other."""


def _cause(name: str, error: Exception) -> str:
    message = " ".join(str(error).split())
    if _SLOW in message:
        return f"torch has no rule of vmap for a function that {name} calls"
    if "random operation" in message:
        return f"{name} draws random numbers"
    if "data-dependent" in message:
        return (
            f"{name} cannot be called for many rows at once: it is data-dependent (an `if` over "
            "values of a tensor, `.item()`, or a mask as an index)"
        )
    return (
        f"{name} cannot be called for many rows at once ({type(error).__name__}: {message[:200]})"
    )
