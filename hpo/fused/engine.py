"""The loop that trains a batch of models of one structure on all folds at once.

Every tensor of the models has two leading axes, ``n_folds x n_slots``. The models of a fold share
the order of its minibatches and the noise of their dropout layers: less work, and less chance in
the difference between two of them.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.func import functional_call, grad, vmap

from hpo.fused._criteria import Criterion
from hpo.fused._leaves import Fusible
from hpo.fused._updates import UPDATES
from hpo.fused.errors import NotFusibleError

__all__ = ["FusedModels", "Member", "Plan", "draw_noise", "epoch_draws"]

EXTRAS = ("l1_lambda", "l2_lambda", "label_smoothing")
"""Numbers of a model that its loss depends on."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the models of a batch have in common.

    Parameters
    ----------
    fusible : Fusible
    criterion : Criterion
    optimizer : class of torch.optim
        A key of `UPDATES`.
    flags : mapping of str to object
        Arguments of the optimizer that change its rule.
    batch_size : int
    shuffle, drop_last : bool
    clips : bool
        Whether gradients are cut.
    autocast : bool
        Matrix products in bfloat16 over float32 weights.
    """

    fusible: Fusible
    criterion: Criterion
    optimizer: type[torch.optim.Optimizer]
    flags: Mapping[str, object]
    batch_size: int
    shuffle: bool = True
    drop_last: bool = False
    clips: bool = False
    autocast: bool = False


@dataclass(frozen=True, kw_only=True)
class Member:
    """One model, ready to be trained on every fold.

    Parameters
    ----------
    states : sequence of mapping of str to tensor, one a fold
        Its weights and buffers by name.
    numbers : mapping of str to float
        Of the optimizer (`Update.numbers`), of the loss (``l1_lambda``, ``l2_lambda``,
        ``label_smoothing``) and of the clipping (``max_norm``, ``max_value``; infinite is none).
    rates : mapping of str to float
        Of the dropout layers by name.
    factors : callable
        ``factors(epoch)`` is what the learning rate is multiplied by, epochs from 1.
    """

    states: Sequence[Mapping[str, torch.Tensor]]
    numbers: Mapping[str, float]
    rates: Mapping[str, float] = field(default_factory=dict)
    factors: Callable[[int], float] = lambda epoch: 1.0


def epoch_draws(seed: int, *parts: int) -> torch.Generator:
    """Return the random numbers of one part of an epoch: the same parts, the same numbers."""
    mixed = seed
    for part in parts:
        mixed = (mixed * 6364136223846793005 + part + 1442695040888963407) % 2**63
    return torch.Generator().manual_seed(mixed)


def draw_noise(
    n_folds: int,
    batch_size: int,
    shape: Sequence[int],
    generator: torch.Generator,
) -> torch.Tensor:
    """Return uniform noise for a whole batch of each fold, however few samples the batch has.

    It is of float32 whatever the models are, so that each precision has the same draws.
    """
    return torch.rand(n_folds, batch_size, *shape, generator=generator)


class FusedModels:
    """Models in training.

    Parameters
    ----------
    plan : Plan
    X, y : tensors of shape (n_samples, ...)
    rows : sequence of int64 tensor, one a fold
        Training samples of each fold.
    n_slots : int
        Models at a time.
    seed : int
        Of orders and noise.
    device : str
    dtype : torch.dtype, default=torch.float32

    Raises
    ------
    NotFusibleError
        If batch normalization would meet a minibatch of one sample.
    """

    def __init__(
        self,
        plan: Plan,
        X: torch.Tensor,
        y: torch.Tensor,
        rows: Sequence[torch.Tensor],
        *,
        n_slots: int,
        seed: int = 0,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        lone = any(len(part) % plan.batch_size == 1 for part in rows)
        if lone and plan.fusible.norms and not plan.drop_last:
            raise NotFusibleError("a minibatch has one sample, and batch normalization needs two")
        self.plan = plan
        self.n_folds, self.n_slots = len(rows), n_slots
        self._seed, self._device, self._dtype = seed, torch.device(device), dtype
        self._X = X.to(self._device, dtype) if X.is_floating_point() else X.to(self._device)
        self._y = y.to(self._device, dtype) if y.is_floating_point() else y.to(self._device)
        self._rows = [part.to(self._device) for part in rows]
        self._update = UPDATES[plan.optimizer]
        module = plan.fusible.module.to(self._device, dtype)
        self._shapes = plan.fusible.noise_shapes(self._X[:2])
        lead = (self.n_folds, n_slots)
        self._weights = {
            name: torch.zeros(*lead, *w.shape, dtype=w.dtype, device=self._device)
            for name, w in module.named_parameters()
        }
        swapped = {f"{name}.{own}" for name in plan.fusible.dropouts for own in ("keep", "noise")}
        swapped |= {f"{name}.mask" for name in plan.fusible.norms}
        self._buffers = {
            name: torch.zeros(*lead, *b.shape, dtype=b.dtype, device=self._device)
            for name, b in module.named_buffers()
            if name not in swapped
        }
        self._slots_state = {
            name: {slot: torch.zeros_like(w) for slot in self._update.slots}
            for name, w in self._weights.items()
        }
        self._members: list[Member | None] = [None] * n_slots
        self._epochs = [0] * n_slots
        self._updates = torch.zeros(n_slots, dtype=torch.float64)
        self._gradients = self._make_gradients()

    # -- who is trained -----------------------------------------------------------------------

    def put(self, slot: int, member: Member) -> None:
        """Begin the training of ``member``; the slot must be free."""
        for tensors in (self._weights, self._buffers):
            for name, stacked in tensors.items():
                for i, state in enumerate(member.states):
                    stacked[i, slot] = state[name].to(stacked.device, stacked.dtype)
        start = float(member.numbers.get(self._update.starts_at or "", 0.0))
        for state_of in self._slots_state.values():
            for stacked in state_of.values():
                stacked[:, slot] = start
        self._members[slot] = member
        self._epochs[slot] = 0
        self._updates[slot] = 0

    def remove(self, slot: int) -> None:
        """Free a slot; what stood there goes on as zeros, which harm nobody."""
        everything = [self._weights, self._buffers, *self._slots_state.values()]
        for tensors in everything:
            for stacked in tensors.values():
                stacked[:, slot] = 0
        self._members[slot] = None

    def resize(self, kept: Sequence[int], extra: int = 0) -> None:
        """Keep these slots, in this order, and have ``extra`` free ones behind them."""
        index = torch.tensor(kept, dtype=torch.int64, device=self._device)
        for tensors in (self._weights, self._buffers, *self._slots_state.values()):
            for name, stacked in tensors.items():
                free = stacked.new_zeros(self.n_folds, extra, *stacked.shape[2:])
                tensors[name] = torch.cat([stacked.index_select(1, index), free], 1)
        self._members = [self._members[slot] for slot in kept] + [None] * extra
        self._epochs = [self._epochs[slot] for slot in kept] + [0] * extra
        self._updates = torch.cat(
            [self._updates[list(kept)], torch.zeros(extra, dtype=torch.float64)]
        )
        self.n_slots = len(self._members)

    def states(self, slot: int) -> list[dict[str, torch.Tensor]]:
        """Return copies of the weights and buffers in a slot, one mapping a fold."""
        return [
            {name: t[i, slot].clone() for name, t in {**self._weights, **self._buffers}.items()}
            for i in range(self.n_folds)
        ]

    # -- training -----------------------------------------------------------------------------

    def train_epoch(self, number: int) -> torch.Tensor:
        """Train all models one epoch.

        Parameters
        ----------
        number : int
            Of the engine's epoch: it decides the orders and the noise.

        Returns
        -------
        tensor of shape (n_folds, n_slots)
            Mean training loss over the samples of the epoch, penalties included.
        """
        self.plan.fusible.module.train()
        self._epochs = [
            epoch + (m is not None) for epoch, m in zip(self._epochs, self._members, strict=True)
        ]
        numbers = self._numbers()
        total = torch.zeros(self.n_folds, self.n_slots, dtype=self._dtype, device=self._device)
        seen = torch.zeros(self.n_folds, 1, dtype=self._dtype, device=self._device)
        for rows, mask, noise in self._batches(number):
            total_of_batch, n = self._train_batch(rows, mask, noise, numbers)
            total += total_of_batch * n
            seen += n
        return total / seen

    def _batches(
        self, number: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]]:
        """Yield rows and mask ``n_folds x batch_size``, and the noise of each dropout layer."""
        size = self.plan.batch_size
        orders = [self._order(i, number) for i in range(self.n_folds)]
        longest = max(map(len, orders))
        noises = {
            name: epoch_draws(self._seed, number, 1 + k)
            for k, name in enumerate(self._shapes)
            if any(member and member.rates[name] for member in self._members)
        }
        idle = {name: self._y.new_zeros(self.n_folds, dtype=self._dtype) for name in self._shapes}
        for start in range(0, longest, size):
            parts = [order[start : start + size] for order in orders]
            width = max(map(len, parts))
            rows = torch.stack([_padded(part, width) for part in parts])
            mask = torch.stack([torch.arange(width, device=self._device) < len(p) for p in parts])
            noise = idle | {
                name: draw_noise(self.n_folds, size, self._shapes[name], generator)[:, :width].to(
                    self._device, self._dtype
                )
                for name, generator in noises.items()
            }
            yield rows, mask.to(self._dtype), noise

    def _order(self, fold: int, number: int) -> torch.Tensor:
        rows = self._rows[fold]
        if self.plan.shuffle:
            draws = epoch_draws(self._seed, number, 0, fold)
            rows = rows[torch.randperm(len(rows), generator=draws).to(rows.device)]
        if self.plan.drop_last:
            rows = rows[: len(rows) // self.plan.batch_size * self.plan.batch_size]
        return rows

    def _train_batch(
        self,
        rows: torch.Tensor,
        mask: torch.Tensor,
        noise: Mapping[str, torch.Tensor],
        numbers: Mapping[str, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        n = mask.sum(1, keepdim=True)
        full = bool((n > 0).all())
        before = None if full else self._copies()
        self._updates += torch.tensor([m is not None for m in self._members], dtype=torch.float64)
        extras = {name: numbers[name] for name in EXTRAS}
        keeps = {f"{name}.keep": numbers[f"keep:{name}"] for name in self._shapes}
        inputs = {f"{name}.noise": value for name, value in noise.items()}
        inputs |= {f"{name}.mask": mask for name in self.plan.fusible.norms}
        safe = mask if full else mask.clamp_min(1e-30)
        gradients, (losses, stats) = self._gradients(
            self._weights, self._buffers, keeps, inputs, safe, self._X[rows], self._y[rows], extras
        )
        if self.plan.clips:
            gradients = self._clipped(gradients, numbers)
        self._step(gradients, numbers)
        for name, value in stats.items():
            momentum = self.plan.fusible.momenta[name.rpartition(".")[0]]
            self._buffers[name].lerp_(value, momentum)
        if before is not None:
            self._restore(before, n > 0)
            losses = torch.where(n > 0, losses, 0.0)
        return losses, n

    def _make_gradients(self) -> Callable[..., Any]:
        fusible, criterion = self.plan.fusible, self.plan.criterion
        penalised = [name for name, w in fusible.module.named_parameters() if w.ndim > 1]
        autocast = torch.autocast(
            self._device.type, torch.bfloat16, enabled=self.plan.autocast, cache_enabled=False
        )

        def loss(  # noqa: PLR0917 - vmap maps arguments by their place
            weights: Any, buffers: Any, keeps: Any, inputs: Any, mask: Any, X: Any, y: Any, own: Any
        ) -> Any:
            state = {**weights, **buffers, **keeps, **inputs}

            def forward() -> torch.Tensor:
                with autocast:
                    out: torch.Tensor = functional_call(fusible.module, state, (X,))
                return out

            out, stats = fusible.collect(forward)
            losses = criterion(out, y, own["label_smoothing"])
            total = (losses * mask).sum() / mask.sum()
            total = total + own["l1_lambda"] * sum(weights[name].abs().sum() for name in penalised)
            total = total + own["l2_lambda"] * sum(
                weights[name].square().sum() for name in penalised
            )
            return total, (total, stats)

        models = vmap(grad(loss, has_aux=True), in_dims=(0, 0, 0, None, None, None, None, 0))
        return vmap(models, in_dims=(0, 0, None, 0, 0, 0, 0, None))

    def _clipped(
        self, gradients: Mapping[str, torch.Tensor], numbers: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        squares = sum(g.flatten(2).square().sum(2) for g in gradients.values())
        norm = squares.sqrt()  # type: ignore[union-attr]
        factor = (numbers["max_norm"] / (norm + 1e-6)).clamp(max=1.0)
        limit = numbers["max_value"]
        return {
            name: torch.minimum(
                torch.maximum(g * _wide(factor, g), -_wide(limit[None], g)), _wide(limit[None], g)
            )
            for name, g in gradients.items()
        }

    def _step(
        self, gradients: Mapping[str, torch.Tensor], numbers: Mapping[str, torch.Tensor]
    ) -> None:
        hyper = {**numbers, **self._of_the_update()}
        for name, weight in self._weights.items():
            shaped = {
                key: value.view(1, -1, *[1] * (weight.ndim - 2)) for key, value in hyper.items()
            }
            state = self._slots_state[name]
            self._update.step(weight, gradients[name], state, shaped, self.plan.flags)

    def _of_the_update(self) -> dict[str, torch.Tensor]:
        """Return what depends on how many updates a model has had, computed on the host."""
        t = self._updates.clamp(min=1)
        found = {"t": t}
        if "beta1" in self._update.numbers:
            beta1, beta2 = self._column("beta1"), self._column("beta2")
            found |= {"correction1": 1 - beta1**t, "correction2": (1 - beta2**t).sqrt()}
        return {name: self._given(value) for name, value in found.items()}

    def _numbers(self) -> dict[str, torch.Tensor]:
        """Return each number of the models as a vector, at this epoch."""
        names = [*self._update.numbers, *EXTRAS, "max_norm", "max_value"]
        found = {name: self._given(self._column(name)) for name in names}
        factors = [
            m.factors(epoch) if m else 0.0
            for m, epoch in zip(self._members, self._epochs, strict=True)
        ]
        found["lr"] = self._given(self._column("lr") * torch.tensor(factors, dtype=torch.float64))
        for name in self._shapes:
            rates = [m.rates[name] if m else 0.0 for m in self._members]
            found[f"keep:{name}"] = self._given(1.0 - torch.tensor(rates, dtype=torch.float64))
        return found

    def _column(self, name: str) -> torch.Tensor:
        absent = math.inf if name.startswith("max_") else 0.0
        return torch.tensor(
            [float(m.numbers.get(name, absent)) if m else absent for m in self._members],
            dtype=torch.float64,
        )

    def _given(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(self._device, self._dtype)

    def _copies(self) -> list[torch.Tensor]:
        return [tensor.clone() for tensor in self._all_tensors()]

    def _all_tensors(self) -> Iterator[torch.Tensor]:
        for tensors in (self._weights, self._buffers, *self._slots_state.values()):
            yield from tensors.values()

    def _restore(self, before: Sequence[torch.Tensor], stepped: torch.Tensor) -> None:
        """Take a step back in the folds that had no samples left."""
        for tensor, old in zip(self._all_tensors(), before, strict=True):
            tensor.copy_(torch.where(_wide(stepped, tensor), tensor, old))

    # -- evaluation ---------------------------------------------------------------------------

    @torch.no_grad()
    def predict(self, X: torch.Tensor, chunk: int = 4096) -> torch.Tensor:
        """Return the outputs of all models.

        Parameters
        ----------
        X : tensor of shape (n_folds, n_samples, ...)
            Other samples for each fold.
        chunk : int
            Samples at a time.

        Returns
        -------
        tensor of shape (n_folds, n_slots, n_samples, ...)
        """
        module = self.plan.fusible.module.eval()

        def outputs(weights: Any, buffers: Any, X: Any) -> torch.Tensor:
            found: torch.Tensor = functional_call(module, {**weights, **buffers}, (X,))
            return found

        models = vmap(vmap(outputs, in_dims=(0, 0, None)), in_dims=(0, 0, 0))
        X = X.to(self._device, self._dtype) if X.is_floating_point() else X.to(self._device)
        parts = [
            models(self._weights, self._buffers, X[:, start : start + chunk])
            for start in range(0, X.shape[1], chunk)
        ]
        return torch.cat(parts, 2)


def _padded(rows: torch.Tensor, width: int) -> torch.Tensor:
    """Return ``width`` rows, the missing ones filled with the first row of all."""
    fill = rows.new_zeros(width - len(rows))
    return torch.cat([rows, fill]) if len(fill) else rows


def _wide(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return values of shape (n_folds or 1, n_slots or 1) shaped to broadcast over ``like``."""
    return values.reshape(*values.shape, *[1] * (like.ndim - 2))
