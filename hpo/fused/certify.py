"""Proof, before a batch of models is trained, that it trains each of them as if alone.

Two models on two folds are trained for two short epochs, in a batch and one by one with the same
random draws, by a reference made of the user's own parts. If they differ, they are not fused.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import nn

from hpo.fused._comparison import OUTPUTS, TOLERANCE, TOLERANCE_FLOAT32, compare, results_of
from hpo.fused._leaves import replay_dropout, write_state
from hpo.fused._plan import ModelState, Plan
from hpo.fused._replay import Replay
from hpo.fused._rounding import perturbed
from hpo.fused._updates import UPDATES
from hpo.fused.engine import FusedModels
from hpo.fused.errors import NotFusibleError

__all__ = ["TOLERANCE", "TOLERANCE_FLOAT32", "Reference", "ReferenceTrainer", "certify"]

_EPS = 1e-3
_EPOCHS = (1, 2)


class Reference(Protocol):
    """One model trained alone with the draws of a batch, with which the batch is compared."""

    def train(
        self, numbers: Sequence[int], X: torch.Tensor, y: torch.Tensor, rows: torch.Tensor
    ) -> None:
        """Train one epoch for each number (that of the batch's epoch) on the rows of a fold."""

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
    plans: Sequence[Plan] | None = None,
) -> None:
    """Check that a batch of models is trained as each of them would be alone.

    Two epochs of two minibatches are compared, the last of them not full: weights, buffers and
    the outputs in evaluation, which the reference may compute in parts.

    Parameters
    ----------
    plan : Plan
    members : sequence of ModelState
        The first two are used; if there is one, a second is made with other numbers.
    reference : callable
        ``reference(plan, member, fold)`` makes that model alone, from the user's own parts.
    X, y : tensor of shape (n_samples, ...)
        Some training samples.
    device : str
    dtype : torch.dtype
        Type of the models. Differences may be up to `TOLERANCE` in float64, and up to
        `TOLERANCE_FLOAT32` in float32, where one model is compared. Larger ones are accepted if
        the model alone differs as much from itself when it starts from weights perturbed by
        rounding, and the outputs are still alike.
    end_epoch : callable or None
        ``end_epoch(models, losses)`` is called after each epoch with the models and their losses.
    plans : sequence of Plan or None
        Of a mixed batch: the plan of each of two members alone, which is compared with it.

    Raises
    ------
    NotFusibleError
        If `torch.func.vmap` fails, or a weight, a buffer or an output differs, which is named.
    """
    pair = [_with_larger_eps(member) for member in _pair(members)]
    small, alone, rows = _small_plans(plan, plans, X)
    samples = X[: len(rows[0])]
    try:
        models = FusedModels(small, X, y, rows, n_slots=2, device=device, dtype=dtype)
        models.put_all(
            {
                i: replace(member, batch_size=of_one.batch_size)
                for i, (member, of_one) in enumerate(zip(pair, alone, strict=True))
            }
        )
        for number in _EPOCHS:
            losses = models.train_epoch(number)
            if end_epoch is not None:
                end_epoch(models, losses)
        outputs = models.predict(torch.stack([samples] * len(rows)))
    except NotFusibleError:
        raise
    except Exception as error:
        raise NotFusibleError(_cause(error)) from error
    for i, (member, part) in enumerate(zip(pair, rows, strict=True)):  # each on one fold

        def train_alone(member: ModelState, i: int = i, part: torch.Tensor = part) -> Reference:
            model = reference(alone[i], member, i)
            model.train(_EPOCHS, X, y, part)
            return model

        def retrain(
            seed: int, train_alone: Any = train_alone, member: ModelState = member
        ) -> Mapping[str, torch.Tensor]:
            states = [perturbed(state, seed, dtype) for state in member.states]
            return results_of(train_alone(replace(member, states=states)), samples)

        expected = results_of(train_alone(member), samples)
        compare({**models.states(i)[i], OUTPUTS: outputs[i, i]}, expected, retrain)
        if dtype is not torch.float64:
            break


def _small_plans(
    plan: Plan, plans: Sequence[Plan] | None, X: torch.Tensor
) -> tuple[Plan, list[Plan], list[torch.Tensor]]:
    """Return a plan of small minibatches, that of each of two models, and the rows of two folds.

    The last minibatch is not full, and that of the second fold is padded to that of the first.
    """
    ratios = [of_one.batch_size // plan.batch_size for of_one in plans or [plan, plan]]
    size = max(1, min(plan.batch_size, len(X) // 2 // max(ratios)))
    longest = size * max(ratios)
    n = min(len(X), 2 * longest - 1) if longest > 1 else len(X)
    rows = [torch.arange(n), torch.arange(max(1, n - 1)).flip(0)]
    small = replace(plan, batch_size=size, autocast=False)
    if plans is None:
        return small, [small, small], rows
    alone = [
        replace(of_one, batch_size=ratio * size, autocast=False, draws_of=small)
        for of_one, ratio in zip(plans, ratios, strict=True)
    ]
    return small, alone, rows


_CAUSES = {
    "random operation": "the module draws random numbers by a random operation of its own (put a "
    "layer such as nn.Dropout in its place)",
    "data-dependent": "the module's control flow is data-dependent (an `if` over values of a "
    "tensor, or `.item()`)",
}
"""Causes, by words in the error of `torch.func.vmap`."""


def _cause(error: Exception) -> str:
    message = " ".join(str(error).split())
    for words, cause in _CAUSES.items():
        if words in message:
            return cause
    return f"the module cannot be batched ({type(error).__name__}: {message[:200]})"


class ReferenceTrainer:
    """One model trained alone in float64 by `torch.optim`, with the draws of a batch.

    Parameters
    ----------
    plan : Plan
    member : ModelState
    fold : int
        Fold whose initial state and random draws are used.
    module, criterion : torch.nn.Module
        The user's own, with the structure of the plan.
    seed, n_folds : int
        Seed and number of folds of the batch.
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
        self._evaluation_module = copy.deepcopy(module).to(device, torch.float64)
        self._module, self._dropouts = replay_dropout(
            copy.deepcopy(self._evaluation_module), member.rates, attention=False
        )
        self._module.to(device, torch.float64)
        state = {name: value.double() for name, value in member.states[fold].items()}
        write_state(self._module, state)
        self._optimizer = _optimizer(plan, member, self._module)
        criterion_copy: Any = copy.deepcopy(criterion).double()
        if hasattr(criterion_copy, "label_smoothing"):
            criterion_copy.label_smoothing = member.numbers.get("label_smoothing", 0.0)
        self._criterion = criterion_copy
        lr = float(member.numbers["lr"])
        self._schedule = member.schedules(lr, 1)[0] if member.schedules else None

    def train(
        self, numbers: Sequence[int], X: torch.Tensor, y: torch.Tensor, rows: torch.Tensor
    ) -> None:
        """Train one epoch for each number (that of the batch's epoch) on the rows of a fold."""
        X, y = (data.double() if data.is_floating_point() else data for data in (X, y))
        replay = Replay(self._plan, self._fold, X, seed=self._seed, n_folds=self._n_folds)
        try:
            for number in numbers:
                self._train_epoch(number, replay, X, y, rows)
        finally:
            for layer in self._dropouts.values():
                layer.release()

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
            replay.write_noise(noise, self._dropouts, len(batch), torch.float64)
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
        write_state(self._evaluation_module, self.state())
        output: torch.Tensor = self._evaluation_module.eval()(
            X.double() if X.is_floating_point() else X
        )
        return output


def _pair(members: Sequence[ModelState]) -> list[ModelState]:
    first = members[0]
    if len(members) > 1:
        return [_two_folds(first), _two_folds(members[1])]
    numbers = {**first.numbers, "lr": first.numbers["lr"] * 0.7}
    rates = {name: 0.5 * rate for name, rate in first.rates.items()}
    twin = replace(first, states=first.states[::-1], numbers=numbers, rates=rates)
    return [_two_folds(first), _two_folds(twin)]


def _with_larger_eps(member: ModelState) -> ModelState:
    """Return ``member`` with a larger ``eps``.

    The gradient of a bias before a normalization consists of rounding errors, which differ, and
    optimizers like Adam would turn them into steps of full size.
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
    flags.pop("decoupled_weight_decay", None)  # it follows from the class
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
