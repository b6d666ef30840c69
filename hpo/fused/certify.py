"""Proof, before a batch of models is trained, that it would train as each of them alone.

Two models of two folds are trained for two short epochs, in a batch and one by one from the same
draws, by a reference that is made of the user's own parts. What differs is not fused.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import nn

from hpo.fused._comparison import OUTPUTS, TOLERANCE, TOLERANCE_FLOAT32, compare, made
from hpo.fused._leaves import replay_dropout, write_state
from hpo.fused._plan import ModelState, Plan
from hpo.fused._replay import Replay
from hpo.fused._rounding import shaken
from hpo.fused._updates import UPDATES
from hpo.fused.engine import FusedModels
from hpo.fused.errors import NotFusibleError

__all__ = ["TOLERANCE", "TOLERANCE_FLOAT32", "Reference", "ReferenceTrainer", "certify"]

_EPS = 1e-3
_EPOCHS = (1, 2)


class Reference(Protocol):
    """One model trained by itself from a batch's draws: what a batch is compared with."""

    def train(
        self, numbers: Sequence[int], X: torch.Tensor, y: torch.Tensor, rows: torch.Tensor
    ) -> None:
        """Train an epoch for each number (that of the batch's epoch) on the rows of a fold."""

    def state(self) -> Mapping[str, torch.Tensor]:
        """Return the weights and buffers."""

    def predict(self, X: torch.Tensor) -> torch.Tensor:
        """Return the outputs for samples, in evaluation."""


def certify(
    plan: Plan,
    members: Sequence[ModelState],
    *,
    reference: Callable[[Plan, ModelState, int], Reference],
    X: torch.Tensor,
    y: torch.Tensor,
    device: str = "cpu",
    dtype: torch.dtype = torch.float64,
    end_epoch: Callable[[FusedModels, torch.Tensor], None] | None = None,
) -> None:
    """Check that a batch of models is trained as each of them would be alone.

    Two epochs of two minibatches are compared, the last of them not full: weights, buffers and
    the outputs in evaluation, which the reference may make in pieces.

    Parameters
    ----------
    plan : Plan
    members : sequence of ModelState
        One or two are taken; of one, a second is made with other numbers.
    reference : callable
        ``reference(plan, member, fold)`` makes that model alone, of the user's own parts.
    X, y : tensor of shape (n_samples, ...)
        Some training samples.
    device : str
    dtype : torch.dtype
        Of the models. In float64 a difference of `TOLERANCE` is too much, in float32, where one
        model is compared, one of `TOLERANCE_FLOAT32`; unless the model alone, from weights that
        are rounded otherwise, comes to lie as far from itself, and the outputs are alike.
    end_epoch : callable or None
        ``end_epoch(models, losses)`` is called after each epoch with the models and their losses.

    Raises
    ------
    NotFusibleError
        If `torch.func.vmap` refuses, or a weight, a buffer or an output differs; names it.
    """
    pair = [_steadied(member) for member in _pair(members)]
    small, rows = _few(plan, X)
    shown = X[: len(rows[0])]
    try:
        models = FusedModels(small, X, y, rows, n_slots=2, device=device, dtype=dtype)
        models.put_all(dict(enumerate(pair)))
        for number in _EPOCHS:
            losses = models.train_epoch(number)
            if end_epoch is not None:
                end_epoch(models, losses)
        outputs = models.predict(torch.stack([shown] * len(rows)))
    except NotFusibleError:
        raise
    except Exception as error:
        raise NotFusibleError(_cause(error)) from error
    for i, (member, part) in enumerate(zip(pair, rows, strict=True)):  # a fold of each

        def trained(one: ModelState, i: int = i, part: torch.Tensor = part) -> Reference:
            made = reference(small, one, i)
            made.train(_EPOCHS, X, y, part)
            return made

        def again(
            seed: int, trained: Any = trained, member: ModelState = member
        ) -> Mapping[str, torch.Tensor]:
            states = [shaken(state, seed, dtype) for state in member.states]
            return made(trained(replace(member, states=states)), shown)

        alone = made(trained(member), shown)
        compare({**models.states(i)[i], OUTPUTS: outputs[i, i]}, alone, again)
        if dtype is not torch.float64:
            break


def _few(plan: Plan, X: torch.Tensor) -> tuple[Plan, list[torch.Tensor]]:
    """Return a plan of small minibatches, and the rows of two folds.

    The last minibatch is not full, and that of the second fold is filled up to that of the first.
    """
    size = max(1, min(plan.batch_size, len(X) // 2))
    n = min(len(X), 2 * size - 1) if size > 1 else len(X)
    rows = [torch.arange(n), torch.arange(max(1, n - 1)).flip(0)]
    return replace(plan, batch_size=size, autocast=False), rows


_CAUSES = {
    "random operation": "the module draws random numbers by a random operation of its own (put a "
    "layer such as nn.Dropout in its place)",
    "data-dependent": "the module's control flow is data-dependent (an `if` over values of a "
    "tensor, or `.item()`)",
}
"""What `torch.func.vmap` means by its errors."""


def _cause(error: Exception) -> str:
    told = " ".join(str(error).split())
    for words, cause in _CAUSES.items():
        if words in told:
            return cause
    return f"the module cannot be batched ({type(error).__name__}: {told[:200]})"


class ReferenceTrainer:
    """One model trained by itself in float64: the user's module, `torch.optim`, a batch's draws.

    Parameters
    ----------
    plan : Plan
    member : ModelState
    fold : int
        Which of its states it starts from, and whose draws it gets.
    module, criterion : torch.nn.Module
        The user's own, of the structure that the plan is for.
    seed, n_folds : int
        Of the batch.
    device : str
    """

    def __init__(
        self,
        plan: Plan,
        member: ModelState,
        fold: int,
        *,
        module: nn.Module,
        criterion: nn.Module,
        seed: int = 0,
        n_folds: int = 2,
        device: str = "cpu",
    ) -> None:
        self._plan, self._member, self._fold = plan, member, fold
        self._seed, self._n_folds = seed, n_folds
        self._own = copy.deepcopy(module).to(device, torch.float64)
        self._module, self._dropouts = replay_dropout(
            copy.deepcopy(self._own), member.rates, attention=False
        )
        self._module.to(device, torch.float64)
        own = {name: value.double() for name, value in member.states[fold].items()}
        write_state(self._module, own)
        self._optimizer = _optimizer(plan, member, self._module)
        own_criterion: Any = copy.deepcopy(criterion).double()
        if hasattr(own_criterion, "label_smoothing"):
            own_criterion.label_smoothing = member.numbers.get("label_smoothing", 0.0)
        self._criterion = own_criterion
        lr = float(member.numbers["lr"])
        self._schedule = member.schedules(lr, 1)[0] if member.schedules else None

    def train(
        self, numbers: Sequence[int], X: torch.Tensor, y: torch.Tensor, rows: torch.Tensor
    ) -> None:
        """Train an epoch for each number (that of the batch's epoch) on the rows of a fold."""
        X, y = (data.double() if data.is_floating_point() else data for data in (X, y))
        replay = Replay(self._plan, self._fold, X, seed=self._seed, n_folds=self._n_folds)
        for number in numbers:
            self._train_epoch(number, replay, X, y, rows)

    def _train_epoch(
        self, number: int, replay: Replay, X: torch.Tensor, y: torch.Tensor, rows: torch.Tensor
    ) -> None:
        member, size = self._member, self._plan.batch_size
        self._module.train()
        rows = replay.order(number, rows)
        starts = range(0, len(rows), size)
        rates = (
            self._schedule.begin_epoch(len(starts)) if self._schedule else [member.numbers["lr"]]
        )
        for i, (start, noise) in enumerate(zip(starts, replay.noises(number), strict=False)):
            for group in self._optimizer.param_groups:
                group["lr"] = rates[i % len(rates)]
            batch = rows[start : start + size]
            replay.hand_out(noise, self._dropouts, len(batch), torch.float64)
            self._step(X[batch], y[batch])

    def _step(self, X: torch.Tensor, y: torch.Tensor) -> None:
        self._optimizer.zero_grad()
        output = self._module(X)
        if isinstance(self._criterion, nn.NLLLoss):  # as skorch does
            output = torch.log(output + torch.finfo(output.dtype).eps)
        loss = self._criterion(output, y) + _penalty(self._module, self._member)
        loss.backward()
        _clip(self._module, self._member)
        self._optimizer.step()

    def state(self) -> dict[str, torch.Tensor]:
        """Return the weights and buffers."""
        names = self._member.states[self._fold]
        return {name: v for name, v in self._module.state_dict().items() if name in names}

    @torch.no_grad()
    def predict(self, X: torch.Tensor) -> torch.Tensor:
        """Return the outputs for samples, in evaluation."""
        write_state(self._own, self.state())
        output: torch.Tensor = self._own.eval()(X.double() if X.is_floating_point() else X)
        return output


def _pair(members: Sequence[ModelState]) -> list[ModelState]:
    first = members[0]
    if len(members) > 1:
        return [_two_folds(first), _two_folds(members[1])]
    other = {**first.numbers, "lr": first.numbers["lr"] * 0.7}
    rates = {name: 0.5 * rate for name, rate in first.rates.items()}
    twin = replace(first, states=first.states[::-1], numbers=other, rates=rates)
    return [_two_folds(first), _two_folds(twin)]


def _steadied(member: ModelState) -> ModelState:
    """Return ``member`` with a larger ``eps``.

    A bias before a normalization has no gradient but rounding errors, which differ, and Adam and
    its kin would make them steps of full size.
    """
    if "eps" not in member.numbers:
        return member
    numbers = {**member.numbers, "eps": max(member.numbers["eps"], _EPS)}
    return replace(member, numbers=numbers)


def _two_folds(member: ModelState) -> ModelState:
    return replace(member, states=[*member.states, *member.states][:2])


def _optimizer(plan: Plan, member: ModelState, module: nn.Module) -> torch.optim.Optimizer:
    numbers: dict[str, Any] = {k: member.numbers[k] for k in _numbers_of(plan, member)}
    if "beta1" in numbers:
        numbers["betas"] = numbers.pop("beta1"), numbers.pop("beta2")
    flags: dict[str, Any] = dict(plan.flags)
    flags.pop("decoupled_weight_decay", None)  # the class says it
    return plan.optimizer(module.parameters(), **numbers, **flags)


def _numbers_of(plan: Plan, member: ModelState) -> list[str]:
    update = UPDATES[plan.optimizer]
    extra = [update.starts_at] if update.starts_at in member.numbers else []
    return [*update.numbers, *[name for name in extra if name]]


def _penalty(module: nn.Module, member: ModelState) -> Any:
    weights = [w for w in module.parameters() if w.ndim > 1 and w.requires_grad]
    l1, l2 = member.numbers.get("l1_lambda", 0.0), member.numbers.get("l2_lambda", 0.0)
    return l1 * sum(w.abs().sum() for w in weights) + l2 * sum(w.square().sum() for w in weights)


def _clip(module: nn.Module, member: ModelState) -> None:
    if "max_norm" in member.numbers:
        nn.utils.clip_grad_norm_(module.parameters(), member.numbers["max_norm"])
    if "max_value" in member.numbers:
        nn.utils.clip_grad_value_(module.parameters(), member.numbers["max_value"])
