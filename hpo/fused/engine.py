"""The loop that trains a batch of models on all folds at once.

Every tensor of the models has two leading axes, ``n_folds`` and ``n_slots``. The models of a fold
share the order of its samples and the noise of their dropout layers, which is less work and makes
the difference between two models less random. In a mixed batch they have optimizers and batch
sizes of their own, and smaller models are the leading entries of the tensors.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import torch

from hpo.fused._blocks import leading, place, taken
from hpo.fused._criteria import mean_losses
from hpo.fused._draws import Batch, draw_epoch
from hpo.fused._dropout import layer_of
from hpo.fused._functional import FUNCTIONS
from hpo.fused._mixture import MixedSteps, mixed_steps, update_of
from hpo.fused._plan import EXTRAS, ModelState, Plan, Progress, Schedule
from hpo.fused._program import Graph, Program
from hpo.fused._schedules import Schedules
from hpo.fused._slotwise import SlotwiseStep
from hpo.fused._step import N_FIXED, Stacked, broadcast_like, make_forward, make_step
from hpo.fused._updates import MIXED, UPDATES
from hpo.fused.errors import NotFusibleError

__all__ = ["FusedModels"]

CHUNK_BYTES, CHUNK_BYTES_GPU = 2**25, 2**30
"""Largest size of the widest layer's outputs in evaluation."""

MIN_CHUNK = 32


class FusedModels:
    """A batch of models in training.

    Parameters
    ----------
    plan : Plan
    X, y : tensors of shape (n_samples, ...)
    rows : sequence of int64 tensor, one per fold
        Training samples of each fold.
    n_slots : int
        Number of models that are trained at a time.
    seed : int
        Seed of the orders of minibatches and of the noise of dropout.
    device : str
    dtype : torch.dtype, default=torch.float32

    Raises
    ------
    NotFusibleError
        If batch normalization would get a minibatch of one sample, or a fold has no minibatch.
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
        if lone and plan.batchable.norms and not plan.drop_last:
            raise NotFusibleError("a minibatch has one sample, and batch normalization needs two")
        if plan.drop_last and any(len(part) < plan.batch_size for part in rows):
            raise NotFusibleError(
                f"a training part has fewer rows than a minibatch ({plan.batch_size}), and "
                "drop_last leaves none"
            )
        self.plan = plan
        self.n_folds, self.n_slots = len(rows), n_slots
        self._seed, self._device, self._dtype = seed, torch.device(device), dtype
        self._X, self._y = self._on_device(X), self._on_device(y)
        self._rows = [part.cpu() for part in rows]
        self._update = MIXED if plan.mixed else UPDATES[plan.optimizer]
        module = plan.batchable.module.to(self._device, dtype)
        self._shapes = plan.batchable.noise_shapes(self._X[:2])
        self._stacked = self._empty(module)
        self._inside = {
            name: torch.zeros(1, n_slots, *w.shape[2:], dtype=torch.bool, device=w.device)
            for name, w in self._stacked.weights.items()
            if plan.pads
        }
        self._members: list[ModelState | None] = [None] * n_slots
        self._schedules = Schedules(self.n_folds, n_slots)
        self._updates = torch.zeros(self.n_folds, n_slots, dtype=torch.float64)
        self._step = make_step(plan, self._device, dtype)
        self._slotwise = SlotwiseStep(plan, self._device, dtype)
        self._forward = make_forward(plan)
        self._widest: int | None = None
        self.is_compiled = False

    def _empty(self, module: torch.nn.Module) -> Stacked:
        leading = (self.n_folds, self.n_slots)
        batchable = self.plan.batchable
        replaced = {
            f"{name}.{buffer}"
            for name, layer in batchable.dropouts.items()
            for buffer, _ in layer.named_buffers()
        }
        replaced |= {f"{name}.mask" for name in batchable.norms}

        def stacked(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.new_zeros(*leading, *tensor.shape).detach()

        parameters = dict(module.named_parameters())
        weights = {name: stacked(w) for name, w in parameters.items() if w.requires_grad}
        if not weights:
            raise NotFusibleError("all weights of the module are frozen")
        frozen = {name: stacked(w) for name, w in parameters.items() if name not in weights}
        buffers = {name: stacked(b) for name, b in module.named_buffers() if name not in replaced}
        return Stacked(
            weights,
            frozen | buffers,
            {
                name: {slot: torch.zeros_like(w) for slot in self._slot_names}
                for name, w in weights.items()
            },
        )

    @property
    def _slot_names(self) -> tuple[str, ...]:
        """Names of the state tensors of each weight."""
        return (*self._update.slots, *(["gradient"] if self.plan.accumulates else []))

    def compile(self) -> None:
        """Compile the step at its next use; from then on the number of slots is fixed.

        Compiling takes seconds, which would not pay off for evaluation, called once per epoch. On
        a GPU the program becomes one graph, as launching its kernels would take longer than
        running them.
        """
        if not self.is_compiled:
            program = Program(self._step)
            on_gpu = self._device.type == "cuda"
            self._step = Graph(program, N_FIXED) if on_gpu else program
            self.is_compiled = True

    @property
    def _by_slot(self) -> bool:
        """Whether models are updated one by one: on a GPU, calls cost more than passes."""
        return not self.is_compiled and self._device.type == "cpu"

    @property
    def n_batches(self) -> int:
        """Number of minibatches of an epoch."""
        sizes = [len(part) for part in self._rows]
        rounded = math.floor if self.plan.drop_last else math.ceil
        return max(rounded(size / self.plan.batch_size) for size in sizes)

    def bytes_per_slot(self, X_valid: torch.Tensor) -> int:
        """Return about how much memory another model takes, in training and evaluation.

        Counted are weights with their gradients, their optimizer state and a copy; three times the
        outputs of the layers for a minibatch; and the outputs for the validation parts.
        """
        tensors = self.plan.batchable.module.state_dict().values()
        state_size = sum(t.numel() for t in tensors) * (3 + len(self._slot_names))
        sizes = self.plan.batchable.output_sizes(self._X[:2])
        samples = self.plan.batch_size * 3 * sum(sizes)
        samples += min(X_valid.shape[1], MIN_CHUNK) * 3 * max(sizes)
        samples += X_valid.shape[1] * sizes[-1]
        return int(self.n_folds * (state_size + samples) * self._dtype.itemsize)

    def synchronize(self) -> None:
        """Wait until the device has finished all queued work."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    # -- models in slots -----------------------------------------------------------------------

    def put(self, slot: int, member: ModelState) -> None:
        """Begin the training of ``member``; the slot must be free."""
        self.put_all({slot: member})

    def put_all(self, members: Mapping[int, ModelState]) -> None:
        """Begin the training of members, by slot; all weights are moved to the device together."""
        if not members:
            return
        slots = list(members)
        states = [member.states for member in members.values()]
        for tensors in (self._stacked.weights, self._stacked.buffers):
            for name, stacked in tensors.items():
                place(stacked, slots, [torch.stack([state[name] for state in f]) for f in states])
        for state_of in self._stacked.slots.values():
            for part, stacked in state_of.items():
                initial = self._initial_values(part, members.values())
                stacked[:, slots] = broadcast_like(initial, stacked).to(stacked)
        self._updates[:, slots] = 0
        for slot, member in members.items():
            self._members[slot] = member
            self._schedules.put(slot, member)
            for name, inside in self._inside.items():
                taken(inside, slot, member.states[0][name].shape)
            if member.progress is not None:
                self._go_on(slot, member.progress)

    def _go_on(self, slot: int, progress: Progress) -> None:
        self._updates[:, slot] = progress.updates
        names = self._own_names(slot)
        for name, state_of in self._stacked.slots.items():
            for part, stacked in state_of.items():
                if part in names:
                    place(stacked, [slot], [progress.slots[name][names[part]]])

    def _own_names(self, slot: int) -> Mapping[str, str]:
        """Return the names that a model's optimizer has for its state, by those of the batch."""
        if not self.plan.mixed:
            return {part: part for part in self._update.slots}
        member = self._members[slot]
        assert member is not None
        return UPDATES[update_of(self.plan, member)].moments

    def _initial_values(self, part: str, members: Iterable[ModelState]) -> torch.Tensor:
        """Return the initial value of each member's optimizer state, of shape (1, n_members)."""

        def value(member: ModelState) -> float:
            update = UPDATES[update_of(self.plan, member)]
            name = update.starts_at or ""
            starts = not self.plan.mixed or update.moments.get(part)
            return float(member.numbers.get(name, 0.0)) if starts else 0.0

        return torch.tensor([[value(member) for member in members]])

    def remove(self, slots: Sequence[int]) -> None:
        """Free slots; their tensors become zeros, which do not affect the others."""
        for stacked in self._stacked.tensors():
            stacked[:, slots] = 0
        for inside in self._inside.values():
            inside[:, slots] = False
        for slot in slots:
            self._members[slot] = None
            self._schedules.remove(slot)

    def resize(self, slots: Sequence[int], extra: int = 0) -> None:
        """Keep these slots, in this order, and append ``extra`` free ones."""
        index = torch.tensor(slots, dtype=torch.int64, device=self._device)
        for tensors in self._stacked.mappings():
            for name, stacked in tensors.items():
                free = stacked.new_zeros(self.n_folds, extra, *stacked.shape[2:])
                tensors[name] = torch.cat([stacked.index_select(1, index), free], 1)
        for name, inside in self._inside.items():
            free = inside.new_zeros(1, extra, *inside.shape[2:])
            self._inside[name] = torch.cat([inside.index_select(1, index), free], 1)
        self._members = [self._members[slot] for slot in slots] + [None] * extra
        self._schedules.resize(slots, extra)
        none = self._updates.new_zeros(self.n_folds, extra)
        self._updates = torch.cat([self._updates[:, list(slots)], none], 1)
        self.n_slots = len(self._members)

    def states(self, slot: int) -> list[dict[str, torch.Tensor]]:
        """Return copies of the weights and buffers in a slot, one mapping per fold."""
        tensors = {**self._stacked.weights, **self._stacked.buffers}
        return [
            {name: self._own(stacked[i, slot], name, slot) for name, stacked in tensors.items()}
            for i in range(self.n_folds)
        ]

    def _own(self, values: torch.Tensor, name: str, slot: int) -> torch.Tensor:
        """Return a copy of the entries of a weight or buffer that the model in a slot has."""
        member = self._members[slot]
        return (leading(values, member.states[0][name].shape) if member else values).clone()

    def model_state(self, slot: int) -> ModelState:
        """Return the model in a slot as it is now, on the CPU, to go on with it elsewhere."""
        member = self._members[slot]
        assert member is not None
        progress = Progress(
            slots={
                name: {
                    own: self._own(state_of[part][:, slot], name, slot).cpu()
                    for part, own in self._own_names(slot).items()
                }
                for name, state_of in self._stacked.slots.items()
            },
            updates=self._updates[:, slot].clone(),
            schedules=self.schedules(slot),
        )
        states = [{name: t.cpu() for name, t in fold.items()} for fold in self.states(slot)]
        return replace(member, states=states, progress=progress)

    def schedules(self, slot: int) -> list[Schedule]:
        """Return the schedules of a slot's model, one per fold; empty if its rate is constant."""
        return self._schedules.of(slot)

    # -- training -----------------------------------------------------------------------------

    @torch.no_grad()
    def train_epoch(self, number: int, max_batches: int | None = None) -> torch.Tensor:
        """Train all models for one epoch.

        Parameters
        ----------
        number : int
            Number of the engine's epoch, which determines the orders and the noise.
        max_batches : int or None
            Number of minibatches after which to stop, to time a few; None means all.

        Returns
        -------
        tensor of shape (n_folds, n_slots)
            Mean training loss over the samples of the epoch, penalties included.
        """
        self.plan.batchable.module.train()
        numbers = self._numbers()
        epoch = draw_epoch(
            self.plan,
            self._rows,
            self._shapes,
            seed=self._seed,
            number=number,
            dropping=[
                n
                for n in self._shapes
                if any(m and m.rates.get(layer_of(n), 1.0) for m in self._members)
            ],
            like=self._X.new_zeros((), dtype=self._dtype),
        )
        n = epoch.n[:max_batches]
        steps = self._mixed_steps(epoch.n) if self.plan.mixed else None
        per_step = self._per_step(epoch.n, len(n), steps)
        rows = None if steps is None else self._on_device(steps.rows)
        total = torch.zeros(self.n_folds, self.n_slots, dtype=self._dtype, device=self._device)
        for i, batch in enumerate(islice(epoch.batches, len(n))):
            of_step = numbers | {name: value[i] for name, value in per_step.items()}
            if steps is None or not self._by_slot:
                losses = self._train_batch(batch, partial(self._train_step, batch, of_step))
            else:
                alone = partial(self._train_slots, batch, of_step, steps, i)
                losses = self._train_batch(batch, alone)
            total += losses * (batch.n if rows is None else rows[i])
        return total / self._on_device(n.sum(0))

    def _mixed_steps(self, n: torch.Tensor) -> MixedSteps:
        """Begin the schedules of an epoch, and count its updates, in a mixed batch."""
        rows, updates = n[:, :, 0].numpy(), self._updates.numpy()
        steps = mixed_steps(self.plan, self._members, rows, self._schedules, updates)
        self._updates = self._updates + steps.n_updates
        return steps

    def _per_step(
        self, n: torch.Tensor, n_trained: int, steps: MixedSteps | None
    ) -> dict[str, torch.Tensor]:
        """Return the numbers of the models in each step; begin the schedules if that isn't done.

        Parameters
        ----------
        n : tensor of shape (n_steps, n_folds, 1)
            Rows of each step.
        n_trained : int
            Number of steps that are made.
        steps : MixedSteps or None

        Returns
        -------
        dict of str to tensor of shape (n_steps, n_folds, n_slots)
        """
        if steps is None:
            rates = self._schedules.begin_epoch((n > 0).sum(0).flatten().tolist())
            return {"lr": self._on_device(rates), **self._count(n[:n_trained])}
        if self._by_slot:
            return {"share": self._on_device(steps.share)}
        numbers = steps.coefficients(self.plan, self._members)
        return {name: self._on_device(value) for name, value in numbers.items()}

    def _train_step(self, batch: Batch, numbers: dict[str, torch.Tensor]) -> torch.Tensor:
        stacked = self._stacked
        return self._step(
            stacked.weights,
            stacked.buffers,
            stacked.slots,
            self._inside,
            self._X,
            self._y,
            numbers,
            batch.mask,
            batch.noise,
            batch.rows,
        )

    def _train_slots(
        self, batch: Batch, numbers: dict[str, torch.Tensor], steps: MixedSteps, i: int
    ) -> torch.Tensor:
        data = self._X, self._y
        members = self._members
        return self._slotwise(
            self._stacked, data, numbers, batch, steps=steps, i=i, members=members
        )

    def _train_batch(self, batch: Batch, step: Callable[[], torch.Tensor]) -> torch.Tensor:
        stacked = self._stacked
        before = None if batch.complete else [tensor.clone() for tensor in stacked.tensors()]
        losses = step()
        if before is not None:  # undo the step in folds that had no samples left
            stepped = batch.n > 0
            for tensor, old in zip(stacked.tensors(), before, strict=True):
                tensor.copy_(torch.where(broadcast_like(stepped, tensor), tensor, old))
            losses = torch.where(stepped, losses, 0.0)
        return losses

    def _count(self, n: torch.Tensor) -> dict[str, torch.Tensor]:
        """Count the updates of some minibatches, and return the numbers that depend on the counts.

        Computed on the host for all of them at once, of shape (n_batches, n_folds, n_slots).
        """
        t = self._updates + (n > 0).cumsum(0)
        self._updates = t[-1]
        t = t.clamp(min=1)
        numbers = {"t": t}
        if "beta1" in self._update.numbers:
            beta1, beta2 = self._column("beta1"), self._column("beta2")
            numbers |= {"correction1": 1 - beta1**t, "correction2": (1 - beta2**t).sqrt()}
        return {name: self._on_device(value) for name, value in numbers.items()}

    def _numbers(self) -> dict[str, torch.Tensor]:
        """Return the numbers of the models that are constant in an epoch, of shape (1, n_slots)."""
        own = set() if self.plan.mixed else set(self._update.numbers)
        names = {*own, *EXTRAS, "max_norm", "max_value"} - {"lr"}
        numbers = {name: self._column(name) for name in sorted(names)}
        for name in sorted({layer_of(call) for call in self._shapes} - {FUNCTIONS}):
            rates = [m.rates[name] if m else 0.0 for m in self._members]
            numbers[f"keep:{name}"] = 1.0 - torch.tensor([rates], dtype=torch.float64)
        return {name: self._on_device(value) for name, value in numbers.items()}

    def _column(self, name: str) -> torch.Tensor:
        default = math.inf if name.startswith("max_") else 0.0
        return torch.tensor(
            [[float(m.numbers.get(name, default)) if m else default for m in self._members]],
            dtype=torch.float64,
        )

    def _on_device(self, values: torch.Tensor) -> torch.Tensor:
        if values.is_floating_point():
            return values.to(self._device, self._dtype)
        return values.to(self._device)

    # -- evaluation ---------------------------------------------------------------------------

    @torch.no_grad()
    def predict(self, X: torch.Tensor) -> torch.Tensor:
        """Return the outputs of all models.

        Parameters
        ----------
        X : tensor of shape (n_folds, n_samples, ...)
            Samples for each fold.

        Returns
        -------
        tensor of shape (n_folds, n_slots, n_samples, ...)
        """
        self.plan.batchable.module.eval()
        X = self._on_device(X)
        chunk = self._chunk()
        parts = [
            self._forward(self._stacked.weights, self._stacked.buffers, X[:, start : start + chunk])
            for start in range(0, X.shape[1], chunk)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2)

    @torch.no_grad()
    def losses(self, outputs: torch.Tensor, y: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of each model in evaluation; see `mean_losses`."""
        smoothing = self._on_device(self._column("label_smoothing")[0])
        y, n = self._on_device(y), n.to(self._device)
        criterion = self.plan.criterion.to(self._device, self._dtype)
        if self.plan.shapes_target:
            y = y.reshape(*y.shape[:2], *outputs.shape[3:])
        size = self.plan.valid_batch_size
        return mean_losses(criterion, outputs, y, n, smoothing, size)

    def _chunk(self) -> int:
        """Return how many samples are evaluated at a time: about what fits into a cache."""
        if self._widest is None:
            self._widest = max(self.plan.batchable.output_sizes(self._X[:2]))
        sample_bytes = self.n_folds * max(self.n_slots, 1) * self._widest * self._dtype.itemsize
        room = CHUNK_BYTES_GPU if self._device.type == "cuda" else CHUNK_BYTES
        return max(MIN_CHUNK, room // sample_bytes)
