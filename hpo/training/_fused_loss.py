"""Proof that a batch of models has the loss of the user's own net, whatever its criterion is."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import joblib
import torch
from torch import nn
from torch.func import grad_and_value, vmap

from hpo.fused import Criterion, NotFusibleError, Plan
from hpo.training._attributes import Attributes, global_streams

__all__ = ["check_loss", "criterion_structure"]

TOLERANCE, TOLERANCE_ABSOLUTE = 1e-8, 1e-9
"""Difference of losses and derivatives in float64, relative to the largest, and absolute."""

N_LABELS, N_ROWS, N_NUMBERS = 512, 32, 2**18
"""Labels, rows beside them, and outputs of a minibatch that a loss is compared on at the most."""


def criterion_structure(criterion: nn.Module, known: Criterion) -> str:
    """Return a hash of all of a criterion but a label smoothing that models may differ in."""
    told = []
    for name, layer in criterion.named_modules():
        kept = {k: v for k, v in vars(layer).items() if not (k.startswith("_") and not v)}
        kept = {k: v for k, v in kept.items() if k != "_modules"}
        if not known.is_own:
            kept.pop("label_smoothing", None)
        told.append((name, type(layer), _as_arrays(kept)))
    try:
        return str(joblib.hash(cloudpickle.dumps(told)))
    except TypeError as error:
        raise NotFusibleError(f"the criterion keeps what cannot be pickled ({error})") from error


def _as_arrays(value: Any) -> Any:
    """Return nested mappings with arrays in the place of tensors, whose pickles name addresses."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), value.detach().cpu().numpy()
    if isinstance(value, dict):
        return {key: _as_arrays(one) for key, one in value.items()}
    return value


def check_loss(plan: Plan, net: Any, outputs: torch.Tensor, y: torch.Tensor) -> None:
    """Check the loss of minibatches, and its derivative, against those of the net itself.

    Full and filled-up minibatches of 1 row and of many, with every label, are compared in float64
    for the module's outputs and for drawn ones, where the net's own loss has a value for these. A
    criterion that is no mean over the rows shows here.

    Parameters
    ----------
    plan : Plan
    net : skorch net
        Initialized, in float64.
    outputs : float64 tensor of shape (n_outputs, ...)
        Some of the net's.
    y : tensor of shape (n_samples, ...)
        All targets.

    Raises
    ------
    NotFusibleError
        If they differ, if the criterion raises, or if it draws random numbers or keeps something.
    """
    criterion, device = net.criterion_, outputs.device
    kept, buffers = Attributes(criterion, called="the criterion"), _buffers(criterion)
    streams = global_streams(), torch.get_rng_state()
    draws = torch.Generator().manual_seed(0)
    y = _rows(y, outputs, plan.batch_size, draws)
    sizes = sorted({1, 2, len(y) - len(y) // 3, len(y)})
    folds = torch.stack([y.roll(-k, 0) for k in range(len(sizes))])
    mask = torch.stack([(torch.arange(len(y)) < n).double() for n in sizes]).to(device)
    in_a_batch = _batched(plan, device)
    for i, drawn in enumerate(_outputs(outputs, y, draws)):
        out = drawn.unflatten(0, (len(sizes), 2, len(y)))
        try:
            alone = _alone(net, out, folds, sizes)
        except Exception as error:
            if i == 0:
                raise NotFusibleError(_told("the net's own loss", error)) from error
            continue  # as of probabilities beyond 1
        sound = all(bool(part.isfinite().all()) for part in alone)
        if i == 0 and not sound and plan.criterion.is_own:
            raise NotFusibleError(
                f"the value of the criterion {type(criterion).__name__} is not finite for some rows"
            )
        if i > 0 and not sound:
            continue
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", f".*{_SLOW}")
                gradients, losses = in_a_batch(out, folds, mask)
        except NotFusibleError:
            raise
        except Exception as error:
            raise NotFusibleError(_cause(criterion, error)) from error
        _compare(plan, criterion, (losses, gradients), alone)
    kept.check("in a training")
    if any(not torch.equal(value, buffers[name]) for name, value in _buffers(criterion).items()):
        raise NotFusibleError("a buffer of the criterion changes when it is called")
    if global_streams() != streams[0] or not torch.equal(torch.get_rng_state(), streams[1]):
        raise NotFusibleError("the criterion draws random numbers")


def _buffers(criterion: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in criterion.named_buffers()}


def _rows(
    y: torch.Tensor, outputs: torch.Tensor, batch_size: int, draws: torch.Generator
) -> torch.Tensor:
    """Return targets of a minibatch: each label, and rows from everywhere, in a drawn order."""
    rows = torch.linspace(0, len(y) - 1, min(len(y), N_ROWS)).long()
    if y.ndim == 1:
        _, place = torch.unique(y.cpu(), return_inverse=True)
        first = torch.full((int(place.max()) + 1,), len(y)).scatter_reduce(
            0, place, torch.arange(len(y)), "amin"
        )
        every = torch.linspace(0, len(first) - 1, min(len(first), N_LABELS)).long()
        rows = torch.cat([first[every], rows])
    room = max(len(rows), min(batch_size, N_NUMBERS // max(outputs[0].numel(), 1)))
    rows = rows.repeat(-(-room // len(rows)))[:room]
    chosen = y[rows[torch.randperm(len(rows), generator=draws)].to(y.device)]
    return chosen.double() if chosen.is_floating_point() else chosen


def _outputs(
    outputs: torch.Tensor, y: torch.Tensor, draws: torch.Generator
) -> Iterator[torch.Tensor]:
    """Yield outputs for 8 minibatches: the module's, then drawn ones of several kinds and sizes."""
    n = 8 * len(y)
    own = outputs[torch.randint(len(outputs), (n,), generator=draws).to(outputs.device)]

    def normal() -> torch.Tensor:
        return torch.randn(own.shape, generator=draws, dtype=own.dtype).to(own.device)

    each = (n, *[1] * (own.ndim - 1))
    size = 10 ** (3 * torch.rand(each, generator=draws, dtype=own.dtype) - 1.5).to(own.device)
    yield own
    yield own + size * normal()
    yield (size * normal()).softmax(-1) if own.ndim > 1 else (size * normal()).sigmoid()
    yield (size * normal()).sigmoid()
    if y.is_floating_point() and y[0].numel() == own[0].numel():
        yield y.repeat(8, *[1] * (y.ndim - 1)).reshape(own.shape) + size * normal()


def _alone(
    net: Any, out: torch.Tensor, folds: torch.Tensor, sizes: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the net's own losses of minibatches that are not filled up, and the derivatives."""
    losses, gradients = out.new_zeros(out.shape[:2]), torch.zeros_like(out)
    for i, n in enumerate(sizes):
        for j in range(out.shape[1]):
            given = out[i, j, :n].clone().requires_grad_()
            loss = net.get_loss(given, folds[i, :n], X=None, training=False)
            (gradients[i, j, :n],) = torch.autograd.grad(loss, given)
            losses[i, j] = loss.detach()
    return losses, gradients


def _batched(plan: Plan, device: torch.device) -> Callable[..., Any]:
    """Return the function of the losses of all models, as a step of the engine has them."""
    criterion = plan.criterion.to(device, torch.float64)
    smoothing = torch.tensor(criterion.label_smoothing, device=device, dtype=torch.float64)

    def loss(out: torch.Tensor, y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        y = y.reshape(out.shape) if plan.shapes_target else y
        return criterion(out, y, smoothing, mask)

    models = vmap(grad_and_value(loss), in_dims=(0, None, None))
    made: Callable[..., Any] = vmap(models, in_dims=(0, 0, 0))
    return made


def _compare(
    plan: Plan,
    criterion: nn.Module,
    batch: tuple[torch.Tensor, torch.Tensor],
    alone: tuple[torch.Tensor, torch.Tensor],
) -> None:
    for a, b in zip(batch, alone, strict=True):
        a, b = (part.reshape(*part.shape[:2], -1) for part in (a, b))  # noqa: PLW2901
        largest = b.nan_to_num().abs().amax(2, keepdim=True)
        close = (a - b).abs() <= TOLERANCE * largest + TOLERANCE_ABSOLUTE
        if not (close | (a.isnan() & b.isnan()) | (a == b)).all():
            name = type(criterion).__name__
            raise NotFusibleError(
                f"the criterion {name} is no mean over samples: its value for a minibatch, or the "
                "derivative, is not the mean of those for single samples"
                if plan.criterion.is_own
                else f"the criterion {name} has another value in a batch of models"
            )


_SLOW = "performance drop"
"""What torch warns of where it calls a function for one row after the other."""


def _cause(criterion: nn.Module, error: Exception) -> str:
    told = " ".join(str(error).split())
    name = f"the criterion {type(criterion).__name__}"
    if _SLOW in told:
        return f"torch has no rule of vmap for a function that {name} calls"
    if "random operation" in told:
        return f"{name} draws random numbers"
    if "data-dependent" in told:
        return (
            f"{name} cannot be called for many rows at once: it is data-dependent (an `if` over "
            "values of a tensor, `.item()`, or a mask as an index)"
        )
    return f"{name} cannot be called for many rows at once ({type(error).__name__}: {told[:200]})"


def _told(what: str, error: Exception) -> str:
    told = " ".join(str(error).split())[:200]
    return f"{what} raises {type(error).__name__}: {told}"
