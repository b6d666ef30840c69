"""Trials given to the batches of their structures, and what cannot be fused to processes."""

import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

from hpo._discovery import find
from hpo._stop_signal import is_ctrl_c
from hpo.executors._memory import clear_memory, oom_reason
from hpo.executors.base import BaseExecutor, Ended, Event, Failed, Reported, Revoked, reason_of
from hpo.executors.fused.batch import TrialBatch, UnlikeError
from hpo.executors.fused.benchmark import Choice, ExecutionPlan, choose
from hpo.executors.fused.extract import ModelExtractor
from hpo.executors.fused.proof import prove_callbacks
from hpo.executors.fused.told import Told
from hpo.fused import NotFusibleError
from hpo.training import BaseObjective
from hpo.training.objective import Objective
from hpo.training.threads import devices, limit_threads
from hpo.trial import Trial

__all__ = ["FusedExecutor"]

N_SLOTS_CPU, N_SLOTS_GPU = 8, 256

N_TO_COME = 100
"""Trials that are expected where a study has no number of them."""

MAX_STRUCTURES = 4
"""Structures of which a whole batch may be in flight at a time."""

MANY_STRUCTURES = 16
"""Structures from which on nearly every trial may not bring a new one."""

_VOID = "the batch did not train it as its own net does"
_FASTER = "that is faster (with the executor fused they are trained in a batch all the same)"
_TOO_FEW = (
    "too few trials of their structure are to come for timing it to pay (with the executor fused "
    "they are trained in a batch all the same)"
)

COMPILE = {"auto", True, False}
PRECISIONS = {"auto", "float32", "bfloat16"}


class FusedExecutor(BaseExecutor):
    """Trains the trials of one structure in one loop over batched weights.

    Trials whose modules, optimizers, batch sizes ... are alike but for numbers (learning rates,
    penalties, dropout rates ...) form a batch; each structure is certified before it is trained,
    in float64 against the user's own module and `torch.optim`. What cannot be fused is trained by
    worker processes (`ProcessExecutor`) within the same study, and `notes` say why.

    The trials of a batch share the order of the minibatches and the noise of dropout, which depend
    on the fold and on the epochs that the batch has made. Weights start as in any other executor.

    Parameters
    ----------
    objective : BaseObjective
    n_slots : int or None
        Trials of one structure at a time; None is 8 on a CPU, where more overflow its cache, and
        256 on a GPU. Fewer are taken where they would not fit into half of the free memory.
    n_jobs : int or None
        Worker processes for trials that cannot be fused; see `ProcessExecutor`.
    n_threads : int, default=1
        Threads of torch.
    device : str or None
        Torch device; by default the first GPU, else the CPU.
    seed : int, default=0
        Of the minibatches' order and of dropout.
    compile : {"auto", True, False}, default="auto"
        Whether a structure's step is made one program by `torch.compile`, which takes about 10
        seconds; "auto" does so where a timed step and the trials to come say that it pays.
    precision : {"float32", "bfloat16", "auto"}, default="float32"
        Of matrix products in training; weights, losses and scores stay float32. "auto" takes
        bfloat16 where a timed step shows that it pays. The winner is always refitted in float32.
    sentinel : bool, default=True
        Whether one epoch of the 1st, 50th, 500th ... trial of each structure is trained again, on
        one fold, by its own net, and compared. Where it differs, all trials of the structure are
        trained again by worker processes.

    Raises
    ------
    ValueError
        If an argument is out of its range.
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
        compile: bool | str = "auto",
        precision: str = "float32",
        sentinel: bool = True,
    ) -> None:
        super().__init__(objective)
        if n_slots is not None and n_slots < 1:
            raise ValueError(f"n_slots must be at least 1. Got {n_slots} instead.")
        if compile not in COMPILE:
            raise ValueError(f"compile must be 'auto', true or false. Got {compile!r} instead.")
        if precision not in PRECISIONS:
            raise ValueError(
                f"precision must be among {', '.join(sorted(PRECISIONS))}. Got {precision!r} "
                "instead."
            )
        if sentinel not in {True, False}:
            raise ValueError(f"sentinel must be true or false. Got {sentinel!r} instead.")
        self._sentinel = bool(sentinel)
        self._seed, self._compile, self._precision = seed, compile, precision
        self._device = devices(device)[0]
        on_gpu = self._device.startswith("cuda")
        self._n_slots = n_slots or (N_SLOTS_GPU if on_gpu else N_SLOTS_CPU)
        self._n_threads = n_threads
        self._limits = ExitStack()
        self._batches: dict[str, TrialBatch] = {}
        self._refused: dict[str, str] = {}
        self._elsewhere: set[int] = set()
        self._again: dict[int, int] = {}
        self._waiting: list[Trial] = []
        self._n_placed = 0
        self._n_trials = 0
        process: Any = find("hpo.executors", "process", BaseExecutor)
        self._pool: BaseExecutor = process(
            objective, n_jobs=n_jobs, n_threads=n_threads, device=device
        )
        self._told = Told(self._pool)
        self._extractor = self._make_extractor()

    def _make_extractor(self) -> ModelExtractor | None:
        if not isinstance(self.objective, Objective):
            kind = type(self.objective).__name__
            self._told.why_none = f"the objective is a {kind}, which has no net to make a batch of"
            return None
        try:
            return ModelExtractor(self.objective, self._device)
        except Exception as error:
            self._told.why_none = _reason(error, "the data cannot be prepared for a batch")
            return None

    @property
    def capacity(self) -> int:
        """Trials of a batch for each structure in training, or worker processes if none is."""
        if not self._extractor or (self._elsewhere and not self._live):
            return self._pool.capacity
        return self._n_slots * min(max(len(self._live), 1), MAX_STRUCTURES)

    @property
    def _live(self) -> list[TrialBatch]:
        return [batch for batch in self._batches.values() if batch.live]

    @property
    def notes(self) -> list[str]:
        """Why some trials are trained by worker processes, and how the others are trained."""
        return self._told.notes(self._n_trials)

    def trained_by(self, number: int) -> tuple[str, str]:
        """Return how a trial is trained, and why not in a batch."""
        return self._told.trained_by(number)

    def __enter__(self) -> "FusedExecutor":
        self._limits.enter_context(limit_threads(self._n_threads))
        self._pool.__enter__()
        return self

    def start(self, trials: Sequence[Trial]) -> None:
        """Give each trial to the batch of its structure, or to a worker process."""
        for trial in trials:
            self._n_trials += 1
            try:
                self._place(trial)
            except BaseException as error:
                if is_ctrl_c(error):
                    raise
                # It may be the trial's own fault: trained alone, it says so in its own words.
                why = _reason(error, "the net cannot be prepared for a batch")
                self._told.alone([trial.number], why)
                self._send_to_pool(trial)
                _clear_after(error)

    def _place(self, trial: Trial) -> None:
        if self._extractor is None:
            self._send_to_pool(trial)
            return
        taken = self._extractor.extract_model(trial)
        if taken.key in self._refused:
            raise NotFusibleError(self._refused[taken.key])
        self._n_placed += 1
        if taken.key not in self._batches:
            self._check_structures()
            self._batches[taken.key] = TrialBatch(
                self._extractor,
                taken,
                device=self._device,
                n_slots=self._n_slots,
                seed=self._seed,
                sentinel=self._sentinel,
            )
        elif taken.callbacks != self._batches[taken.key].first.callbacks:
            prove_callbacks(self._extractor, taken, self._device)
        self._batches[taken.key].add(taken)

    def _check_structures(self) -> None:
        """Refuse a further structure where each trial has one of its own, and nothing is gained."""
        n = len(self._batches)
        if n >= MANY_STRUCTURES and n > self._n_placed / 2:
            raise NotFusibleError(
                "nearly every trial has a structure of its own, and only trials of one structure "
                "make a batch (choose widths, depths and batch sizes from a few values)"
            )

    def _send_to_pool(self, trial: Trial) -> None:
        if len(self._elsewhere) >= self._pool.capacity:
            self._waiting.append(trial)
            return
        self._elsewhere.add(trial.number)
        self._pool.start([trial])

    def poll(self, timeout: float = 0.1) -> list[Event]:
        """Train an epoch of the batches whose turn it is; return the reports of their trials."""
        self.errors = {}
        events: list[Event] = []
        self.errors = {}
        for batch in self._select_batches():
            try:
                if not batch.decided:
                    self._decide(batch)
                told = batch.advance()
                self._told.in_batch((e.number for e in told if isinstance(e, Reported)), batch.way)
                events += told
            except UnlikeError as error:
                events += self._revoke(batch, error)
            except BaseException as error:
                if is_ctrl_c(error):
                    raise
                self._fail_batch(batch, error)
        if self._elsewhere or self._waiting:
            events += self._poll_pool(0.0 if events else timeout)
        return events

    def _select_batches(self) -> list[TrialBatch]:
        """Return the batches with few idle places; where all have many, the fullest one."""
        live = self._live
        full = [batch for batch in live if batch.occupancy > 0.5]
        return full or sorted(live, key=lambda batch: -batch.occupancy)[:1]

    def _poll_pool(self, timeout: float) -> list[Event]:
        while self._waiting and len(self._elsewhere) < self._pool.capacity:
            self._send_to_pool(self._waiting.pop(0))
        events = [event for event in self._pool.poll(timeout) if not self._is_replayed(event)]
        self.errors = self._pool.errors
        self._elsewhere -= {e.number for e in events if isinstance(e, Ended | Failed)}
        return events

    def _is_replayed(self, event: Event) -> bool:
        """Return whether a trial that is trained again reports a step that it reported before."""
        last = self._again.get(event.number, 0)
        return isinstance(event, Reported) and event.report.step <= last

    def stop(self, numbers: Iterable[int]) -> None:
        """End these trials and free their places."""
        ended = set(numbers)
        for batch in self._batches.values():
            batch.drop(ended)
        self._waiting = [trial for trial in self._waiting if trial.number not in ended]
        self._pool.stop(self._elsewhere & ended)
        self._elsewhere -= ended

    # -- how a batch is trained ---------------------------------------------------------------

    def _decide(self, batch: TrialBatch) -> None:
        """Settle, before its first epoch, how a batch is trained."""
        batch.decided = True
        try:
            if self._is_small(batch):
                raise NotFusibleError(_TOO_FEW)
            batch.certify()
        except NotFusibleError as error:
            self._refuse(batch, str(error))
            return
        self._split(batch, batch.slots_that_fit())
        choice = self._choose(batch)
        self._told.chosen(batch.first.trial.number, choice)
        if choice.plan.models is not None:
            batch.use(choice.plan.models)
        else:
            self._refuse(batch, _FASTER)

    def _is_small(self, batch: TrialBatch) -> bool:
        """Return whether a batch is not worth the time that a choice would take."""
        return False

    def _refuse(self, batch: TrialBatch, why: str) -> None:
        """Have the trials of a structure trained by worker processes, now and later."""
        self._refused[batch.first.key] = why
        self._told.alone(batch.live, why)
        taken = batch.taken
        batch.drop(set(batch.live))
        for one in taken:
            self._send_to_pool(one.trial)

    def _fail_batch(self, batch: TrialBatch, error: BaseException) -> None:
        """Have worker processes train, once, what a batch failed to: now and later.

        Trials that have reported go on from there: of the steps that they repeat nothing is heard.
        """
        self._again |= batch.last_steps
        if oom_reason(error):
            why = f"a batch of them runs {oom_reason(error)} (try fewer at a time: n_slots)"
        elif batch.last_steps:
            why = _reason(error, "their batch failed")
        else:
            why = _reason(error, "the module cannot be batched")
        self._refuse(batch, why)
        _clear_after(error)

    def _revoke(self, batch: TrialBatch, error: UnlikeError) -> list[Event]:
        """Take back all that a batch reported: its trials are trained by worker processes.

        Those that have reported, the finished ones too, are put up again by who hears of it.
        """
        begun = batch.reported
        batch.drop(set(begun))
        self._refuse(batch, str(error))
        if begun:
            self._told.more.append(
                f"{len(begun)} trials (the first: trial {begun[0]}) had been trained in a batch "
                "before that was seen: what they reported is void, and their parameters are tried "
                "again"
            )
        return [Revoked(number, f"{_VOID} ({error})") for number in begun]

    def _other_plans(self, batch: TrialBatch) -> list[ExecutionPlan]:
        """Return ways to train these trials that are no batch."""
        return []

    def _choose(self, batch: TrialBatch) -> Choice:
        """Time a full batch; if the device has no room for it after all, one of half as many."""
        try:
            return choose(
                batch,
                work=batch.first.n_steps * self._n_expected(batch),
                compile=self._compile,
                precision=self._precision,
                others=self._other_plans(batch),
            )
        except Exception as error:
            if not oom_reason(error) or batch.n_slots == 1:
                raise
        clear_memory()
        self._split(batch, batch.n_slots // 2)
        return self._choose(batch)

    def _split(self, batch: TrialBatch, fitting: int) -> None:
        """Have no more places than fit into memory."""
        if fitting < batch.n_slots:
            self._told.more.append(
                f"{fitting} and not {batch.n_slots} trials like trial {batch.first.trial.number} "
                "are trained at a time: more would not fit into memory"
            )
            batch.n_slots = fitting

    def _n_expected(self, batch: TrialBatch) -> float:
        """Return about how many trials a batch will train: its share of those to come."""
        n_trials_left = N_TO_COME if math.isinf(self.n_trials_left) else self.n_trials_left
        return len(batch.live) * (1 + n_trials_left / max(self._n_placed, 1))

    def close(self) -> None:
        """End everything in flight and give the threads back."""
        self._batches = {}
        self._waiting = []
        self._elsewhere = set()
        self._pool.close()
        self._limits.close()


def _reason(error: BaseException, what: str) -> str:
    """Return the reason of a refusal as it is; of any other error ``what`` went wrong and why."""
    if isinstance(error, NotFusibleError):
        return str(error)
    return (
        f"{what}: that raised {reason_of(error)}, which is a mistake of hpo's, to be reported, "
        "unless they fail of it alone too"
    )


def _clear_after(error: BaseException) -> None:
    """Where memory was short, give back what the failure holds."""
    if oom_reason(error):
        clear_memory()
