"""Many trials at a time, and all their folds, in one batched training loop."""

import math
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from hpo._discovery import find
from hpo.executors._base import BaseExecutor, Ended, Event, Failed, Reported, reason_of
from hpo.executors._memory import clear_memory, shortage
from hpo.fused import FusedModels, NotFusibleError, certify
from hpo.training import BaseObjective
from hpo.training._cross_validation import report_of
from hpo.training._judged import judge
from hpo.training.fusing import FusibleTrial, Fusing
from hpo.training.objective import Objective
from hpo.trial import Trial

__all__ = ["FusedExecutor"]

N_SLOTS_CPU, N_SLOTS_GPU = 8, 256


class FusedExecutor(BaseExecutor):
    """Trains the trials of one structure in one loop over batched weights.

    Trials whose modules, optimizers, batch sizes ... are alike but for numbers (learning rates,
    penalties, dropout rates ...) form a group; each group is certified before it is trained, in
    float64 against the user's own module and `torch.optim`. What cannot be fused is trained by
    worker processes (`ProcessExecutor`) within the same study, and `notes` say why.

    The trials of a group share the order of the minibatches and the noise of dropout, which depend
    on the fold and on the epochs that the group has made. Weights start as in any other executor.

    Parameters
    ----------
    objective : BaseObjective
    n_slots : int or None
        Trials at a time; None is 8 on a CPU, where more overflow its cache, and 256 on a GPU.
    n_jobs : int or None
        Worker processes for trials that cannot be fused; see `ProcessExecutor`.
    n_threads : int, default=1
        Threads of torch.
    device : str or None
        Torch device; by default the first GPU, else the CPU.
    seed : int, default=0
        Of the minibatches' order and of dropout.

    Raises
    ------
    ValueError
        If ``n_slots`` is below 1.
    """

    def __init__(
        self,
        objective: BaseObjective,
        *,
        n_slots: int | None = None,
        n_jobs: int | None = None,
        n_threads: int = 1,
        device: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(objective)
        self._seed = seed
        if n_slots is not None and n_slots < 1:
            raise ValueError(f"n_slots must be at least 1. Got {n_slots} instead.")
        from hpo.training._threads import devices

        self._device = devices(device)[0]
        on_gpu = self._device.startswith("cuda")
        self._n_slots = n_slots or (N_SLOTS_GPU if on_gpu else N_SLOTS_CPU)
        self._n_threads = n_threads
        self._limits = ExitStack()
        self._why: dict[str, str] = {}
        self._groups: dict[str, _Group] = {}
        self._refused: dict[str, str] = {}
        self._elsewhere: set[int] = set()
        self._waiting: list[Trial] = []
        self._events: list[Event] = []
        process: Any = find("hpo.executors", "process", BaseExecutor)
        self._pool: BaseExecutor = process(
            objective, n_jobs=n_jobs, n_threads=n_threads, device=device
        )
        self._fusing = self._try_fusing()

    def _try_fusing(self) -> Fusing | None:
        if not isinstance(self.objective, Objective):
            return None
        try:
            return Fusing(self.objective, self._device)
        except NotFusibleError as error:
            self._note("no trial", error)
            return None

    @property
    def capacity(self) -> int:
        """Trials of one batch, or worker processes where nothing can be fused."""
        return self._n_slots if self._fusing else self._pool.capacity

    @property
    def notes(self) -> list[str]:
        """Why some trials are trained by worker processes."""
        return [f"{who} is trained in a batch: {why}" for why, who in self._why.items()]

    def __enter__(self) -> "FusedExecutor":
        from hpo.training._threads import limit_threads

        self._limits.enter_context(limit_threads(self._n_threads))
        self._pool.__enter__()
        return self

    def start(self, trials: Sequence[Trial]) -> None:
        """Give each trial to the batch of its structure, or to a worker process."""
        for trial in trials:
            try:
                self._place(trial)
            except NotFusibleError as error:
                self._note(f"not every trial (first of all trial {trial.number})", error)
                self._send_elsewhere(trial)
            except Exception as error:
                self._fail(trial.number, error)

    def _place(self, trial: Trial) -> None:
        if self._fusing is None:
            self._send_elsewhere(trial)
            return
        taken = self._fusing.take_apart(trial)
        if taken.key in self._refused:
            raise NotFusibleError(self._refused[taken.key])
        group = self._groups.get(taken.key)
        if group is None:
            try:
                group = _Group(self._fusing, taken, self._device, self._seed)
            except NotFusibleError as error:
                self._refused[taken.key] = str(error)
                raise
            self._groups[taken.key] = group
        group.add(taken)

    def _send_elsewhere(self, trial: Trial) -> None:
        if len(self._elsewhere) >= self._pool.capacity:
            self._waiting.append(trial)
            return
        self._elsewhere.add(trial.number)
        self._pool.start([trial])

    def poll(self, timeout: float = 0.1) -> list[Event]:
        """Train each group one epoch; return the reports of all its trials."""
        events, self._events = self._events, []
        for key, group in list(self._groups.items()):
            try:
                events += group.advance()
            except Exception as error:
                events += self._lose(group, error)
            if not group.live:
                del self._groups[key]
        if self._elsewhere or self._waiting:
            events += self._poll_pool(0.0 if events else timeout)
        return events

    def _poll_pool(self, timeout: float) -> list[Event]:
        while self._waiting and len(self._elsewhere) < self._pool.capacity:
            self._send_elsewhere(self._waiting.pop(0))
        events = self._pool.poll(timeout)
        self._elsewhere -= {e.number for e in events if isinstance(e, Ended | Failed)}
        return events

    def stop(self, numbers: Iterable[int]) -> None:
        """End these trials and free their places."""
        ended = set(numbers)
        for group in self._groups.values():
            group.drop(ended)
        self._waiting = [trial for trial in self._waiting if trial.number not in ended]
        self._pool.stop(self._elsewhere & ended)
        self._elsewhere -= ended

    def _note(self, who: str, error: NotFusibleError) -> None:
        self._why.setdefault(str(error), who)

    def _fail(self, number: int, error: Exception) -> None:
        short = shortage(error)
        text = "".join(traceback.format_exception(error))
        self._events.append(Failed(number, reason_of(error), text))
        # An error holds on to all that its trial held: where memory is short, it is let go.
        self.error = None if short else error
        if short:
            clear_memory()

    def _lose(self, group: "_Group", error: Exception) -> list[Event]:
        """Give up a batch that failed as a whole: its trials are told the same reason."""
        for number in group.live:
            self._fail(number, error)
        group.drop(set(group.live))
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """End everything in flight and give the threads back."""
        self._groups = {}
        self._waiting = []
        self._elsewhere = set()
        self._pool.close()
        self._limits.close()


@dataclass
class _Scored:
    """What is known of one fold of a trial; see `ScoredFold`."""

    scores: dict[str, float] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)
    fit_seconds: float = 0.0
    score_seconds: float = 0.0


@dataclass
class _Seat:
    """One trial in a batch."""

    taken: FusibleTrial
    step: int = 0
    folds: list[_Scored] = field(default_factory=list)


class _Group:
    """Trials of one structure, trained in lock-step.

    Parameters
    ----------
    fusing : Fusing
    first : FusibleTrial
        Any trial of the structure.
    device : str
    seed : int

    Raises
    ------
    NotFusibleError
        If a batch would not train as each trial alone.
    """

    def __init__(self, fusing: Fusing, first: FusibleTrial, device: str, seed: int) -> None:
        self._fusing = fusing
        self._seed = seed
        self._device = device
        self._plan = first.plan()
        arrays = fusing.arrays
        net = first.nets[0]
        rows = arrays.train[0][: 4 * self._plan.batch_size]
        certify(
            first.plan(),
            [first.member],
            module=net.module_,
            criterion=net.criterion_,
            X=arrays.X[rows],
            y=arrays.y[rows],
            device=device,
        )
        self._models: FusedModels | None = None
        self._seats: list[_Seat | None] = []
        self._epoch = 0

    @property
    def live(self) -> list[int]:
        """Numbers of the trials in training."""
        return [seat.taken.trial.number for seat in self._seats if seat]

    def add(self, taken: FusibleTrial) -> None:
        """Take a trial in, from the next epoch on."""
        if None in self._seats and self._models is not None:
            slot = self._seats.index(None)
        else:
            self._resize([i for i, seat in enumerate(self._seats) if seat], extra=1)
            slot = len(self._seats) - 1
        assert self._models is not None
        self._models.put(slot, taken.member)
        self._seats[slot] = _Seat(taken, folds=[_Scored() for _ in taken.nets])

    def drop(self, numbers: set[int]) -> None:
        """Free the places of these trials."""
        for slot, seat in enumerate(self._seats):
            if seat and seat.taken.trial.number in numbers:
                self._seats[slot] = None
                if self._models is not None:
                    self._models.remove(slot)

    def _resize(self, kept: list[int], extra: int = 0) -> None:
        arrays = self._fusing.arrays
        if self._models is None:
            self._models = FusedModels(
                self._plan,
                arrays.X,
                arrays.y,
                arrays.train,
                n_slots=extra,
                seed=self._seed,
                device=self._device,
            )
        else:
            self._models.resize(kept, extra)
        self._seats = [self._seats[slot] for slot in kept] + [None] * extra

    def advance(self) -> list[Event]:
        """Train one epoch; return the reports, and the ends of trials that have made theirs."""
        events: list[Event] = []
        over = {s.taken.trial.number for s in self._seats if s and s.step >= s.taken.n_steps}
        events += [Ended(number) for number in over]
        self.drop(over)
        kept = [slot for slot, seat in enumerate(self._seats) if seat]
        if not kept:
            return events
        if len(kept) < len(self._seats):
            self._resize(kept)
        assert self._models is not None
        began = time.perf_counter()
        self._epoch += 1
        losses = self._models.train_epoch(self._epoch)
        trained = time.perf_counter()
        scores = self._judge()
        scored = time.perf_counter()
        n = len(self._seats) * len(scores)
        for slot, seat in enumerate(self._seats):
            assert seat is not None
            seat.step += 1
            for i, fold in enumerate(seat.folds):
                self._tell(fold, scores[i][slot], float(losses[i, slot]))
                fold.fit_seconds += (trained - began) / n
                fold.score_seconds += (scored - trained) / n
            report = report_of(
                seat.taken.trial.number,
                seat.step,
                seat.folds,
                self._fusing.objective.scoring,
                (scored - began) / len(self._seats),
            )
            events.append(Reported(report))
        return events

    def _judge(self) -> list[list[dict[str, float]]]:
        arrays = self._fusing.arrays
        assert self._models is not None
        outputs = self._models.predict(arrays.X_valid)
        nets = [seat.taken.nets[0] for seat in self._seats if seat]
        return judge(self._fusing.objective.scoring, nets, outputs, arrays.y_valid)

    def _tell(self, fold: _Scored, scores: dict[str, float], loss: float) -> None:
        losses = {"train_loss": loss}
        fold.recorded = {"train_loss"}
        if math.isfinite(loss):
            fold.scores = {**scores, **losses, **scores}
        else:  # predictions of a diverged net may still be numbers: they mean nothing
            fold.scores = {self._fusing.objective.scoring.metric: math.nan, **losses}
