"""An executor that trains trials in batches, and those that cannot be fused in processes."""

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import Any

from hpo._discovery import find
from hpo._stop_signal import is_signal
from hpo._time_limits import TimeIsUp
from hpo.executors._memory import clear_memory, clear_memory_after, oom_reason
from hpo.executors.base import BaseExecutor, Ended, Event, Reported, Revoked
from hpo.executors.fused.batch import ALL, FIRST, OTHERS, TrialBatch, UnlikeError
from hpo.executors.fused.batches import Batches
from hpo.executors.fused.benchmark import Choice, ExecutionPlan, check_choice, choose
from hpo.executors.fused.checkpoints import BatchCheckpoints
from hpo.executors.fused.extract import ExtractedTrial, ModelExtractor
from hpo.executors.fused.pool import WorkerPool
from hpo.executors.fused.proof import prove_callbacks
from hpo.executors.fused.told import TrainingNotes, reason_unbatched
from hpo.fused import NotFusibleError
from hpo.training import BaseObjective
from hpo.training.checkpointing import ResumeError
from hpo.training.cross_validation import FoldPast
from hpo.training.objective import Objective
from hpo.training.threads import devices, limit_threads
from hpo.trial import Trial

__all__ = ["FusedExecutor"]

N_SLOTS_CPU, N_SLOTS_GPU = 8, 256

FIRST_FOLDS = 2
"""Times as many trials as otherwise are in a batch that trains their first folds alone: the batch
is smaller, but the sampler learns less from each."""

N_TO_COME = 100
"""Number of trials that are expected if a study does not know it."""

N_LIKE_WHOLE = 4
"""Trials that are taken to make all their steps before it is known how many do."""

MAX_STRUCTURES = 4
"""Structures that may each have a full batch in training at a time."""

LOST = "it could not go on where it was put aside: {}"
_RESUMED = "they go on where a worker process has put them aside"
_VOID = "the batch did not train it as its own net does"
_FASTER = "that is faster (with the executor fused they are trained in a batch all the same)"
_TOO_SLOW = "a batch of them takes longer than a trial may ({limit:g} s)"
_TOO_FEW = (
    "too few trials of their structure are to come for timing it to pay (with the executor fused "
    "they are trained in a batch all the same)"
)


class FusedExecutor(BaseExecutor):
    """Trains many trials in one loop over batched weights.

    The trials of a batch differ in numbers (learning rates, penalties, dropout rates ...), and in
    optimizers, batch sizes and widths as far as a proof allows. Before a batch is trained, it is
    certified in float64 against the user's own module and `torch.optim`; so is each trial with a
    new optimizer, batch size or width. Trials that cannot be fused are trained by worker
    processes (`ProcessExecutor`) within the same study, and `notes` say why.

    The trials of a batch share the order of the minibatches and the noise of dropout, which depend
    on the fold and on the epochs that the batch has made. Weights start as in any other executor.

    Parameters
    ----------
    objective : BaseObjective
    n_slots : int or None
        Number of trials of a batch that are trained at a time; None means 8 on a CPU, where
        more overflow its cache, and 256 on a GPU. At most what fits into half of the free memory.
    n_jobs : int or None
        Worker processes for trials that cannot be fused; see `ProcessExecutor`.
    n_threads : int, default=1
        Number of threads of torch.
    device : str or None
        Torch device; by default the first GPU, else the CPU.
    seed : int, default=0
        Seed of the minibatches' order and of dropout.
    compile : {"auto", True, False}, default="auto"
        Whether the training step of a structure is compiled by `torch.compile`, which takes about
        10 seconds; "auto" does so if a timed step and the expected trials suggest that it pays.
    precision : {"float32", "bfloat16", "auto"}, default="float32"
        Precision of matrix products in training; weights, losses and scores stay float32. "auto"
        uses bfloat16 if a timed step shows that it pays. The winner is always refitted in float32.
    sentinel : bool, default=True
        Whether one epoch of the 1st, 50th, 500th ... trial of each structure is trained again, on
        one fold, by its own net, and compared. If it differs, all trials of the structure are
        trained again by worker processes.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """

    trains_here = True

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
        check_choice(compile, precision)
        if sentinel not in {True, False}:
            raise ValueError(f"sentinel must be true or false. Got {sentinel!r} instead.")
        self._sentinel = bool(sentinel)
        self._seed, self._compile, self._precision = seed, compile, precision
        self._device = devices(device)[0]
        on_gpu = self._device.startswith("cuda")
        self._n_slots = n_slots or (N_SLOTS_GPU if on_gpu else N_SLOTS_CPU)
        self._n_first = n_slots or FIRST_FOLDS * self._n_slots
        """Slots of a batch of first folds."""
        self._n_threads = n_threads
        self._limits = ExitStack()
        self._seconds: defaultdict[int, float] = defaultdict(float)
        """How long each trial has been in training in a batch."""
        self._shares: list[float] = []
        """Share of its steps that each trial has made which was ended early, or 1."""
        self._n_trials = 0
        process: Any = find("hpo.executors", "process", BaseExecutor)
        executor: BaseExecutor = process(
            objective, n_jobs=n_jobs, n_threads=n_threads, device=device
        )
        self._pool = WorkerPool(executor)
        self._notes = TrainingNotes(executor)
        self._batches = Batches(self._notes.extra.append)
        self._events: list[Event] = []  # of trials that could not begin
        self._extractor = self._make_extractor()
        self._parts: dict[str, ModelExtractor] = {}

    def _make_extractor(self) -> ModelExtractor | None:
        if not isinstance(self.objective, Objective):
            kind = type(self.objective).__name__
            self._notes.reason_for_all = (
                f"the objective is a {kind}, which has no net to make a batch of"
            )
            return None
        try:
            return ModelExtractor(self.objective, self._device)
        except Exception as error:
            self._notes.reason_for_all = reason_unbatched(
                error, "the data cannot be prepared for a batch"
            )
            return None

    @property
    def capacity(self) -> int:
        """The slots of a batch per structure in training; if none is, the worker processes."""
        if not self._extractor or (self._pool.n_running and not self._batches.live):
            return self._pool.capacity
        if not self.objective.races:
            return self._n_slots * min(max(len(self._batches.live), 1), MAX_STRUCTURES)
        first = [batch for batch in self._batches.live if batch.kind == FIRST]
        others = sum(len(batch.live) for batch in self._batches.live if batch.kind != FIRST)
        return others + self._n_first * min(max(len(first), 1), MAX_STRUCTURES)

    @property
    def notes(self) -> list[str]:
        """Why some trials are trained by worker processes, and how the others are trained."""
        return self._notes.notes(self._n_trials)

    def trained_by(self, number: int) -> tuple[str, str]:
        """Return how a trial is trained, and why not in a batch."""
        return self._notes.trained_by(number)

    def worker(self, number: int) -> str:
        """Return the worker process of a trial, or that a batch has it."""
        how, _ = self.trained_by(number)
        if how.startswith("fused"):
            return self.named("batch", self._device)
        return self._pool.worker(number) if how else ""

    def __enter__(self) -> "FusedExecutor":
        self._limits.enter_context(limit_threads(self._n_threads))
        self._pool.open()
        return self

    def start(self, trials: Sequence[Trial]) -> None:
        """Add each trial to the batch of its structure, or give it to a worker process."""
        for trial in trials:
            self._n_trials += 1
            self._begin(trial)

    def _begin(self, trial: Trial, past: Sequence[FoldPast] = ()) -> None:
        """Begin a trial, or its other folds if ``past`` is what its first one had at each step."""
        try:
            with self.limits.step([trial.number]):
                self._place(trial, past)
        except TimeIsUp:
            self._drop({trial.number})
            if not self.limits.run_is_over:
                self._give_to_worker(trial, _TOO_SLOW.format(limit=self.limits.trial_timeout))
        except ResumeError as error:
            self._events.append(Revoked(trial.number, LOST.format(error)))
        except BaseException as error:
            if is_signal(error):
                raise
            # The error may be the trial's own: trained alone, the trial raises it itself.
            why = reason_unbatched(error, "the net cannot be prepared for a batch")
            self._give_to_worker(trial, why)
            clear_memory_after(error)

    def _give_to_worker(self, trial: Trial, why: str) -> None:
        self._notes.add_unbatched([trial.number], why)
        self._pool.start(trial)

    def _place(self, trial: Trial, past: Sequence[FoldPast]) -> None:
        if self._extractor is None:
            self._pool.start(trial)
            return
        kind = self._kind_of(trial, past)
        if past:  # a worker process would train its first fold again
            self._pool.skip_reported({trial.number: (past[-1].step, 0)})
        extractor = self._extractor_of(kind)
        extracted = replace(extractor.extract_model(trial), past=past)
        model = extracted if past else self._resumed(extracted)
        batch = self._batches.find(extracted)
        if batch is None:
            batch = TrialBatch(
                extractor,
                extracted,
                device=self._device,
                n_slots=self._n_first if kind == FIRST else self._n_slots,
                seed=self._seed,
                sentinel=self._sentinel,
                objective=self._extractor.objective,
                grouping=self._batches.grouping,
            )
            self._batches.add(batch)
        elif extracted.callbacks != batch.first.callbacks:
            prove_callbacks(extractor, extracted, self._device)
        batch.add(model)

    def _kind_of(self, trial: Trial, past: Sequence[FoldPast]) -> str:
        """Return which folds of a trial are to be trained next; see `TrialBatch.kind`."""
        if not self.objective.races or self._extractor is None:
            return ALL
        if past:
            return OTHERS
        return (self._checkpoints.kind(trial) if self._checkpoints else "") or FIRST

    def _extractor_of(self, kind: str) -> ModelExtractor:
        assert self._extractor is not None
        folds = {FIRST: self._extractor.folds[:1], OTHERS: self._extractor.folds[1:]}.get(kind)
        if folds is None:
            return self._extractor
        if kind not in self._parts:
            self._parts[kind] = self._extractor.of_folds(folds)
        return self._parts[kind]

    def _resumed(self, extracted: ExtractedTrial) -> ExtractedTrial:
        """Return a trial as it was put aside; the same trial if it begins."""
        if extracted.trial.resumed_from is None or self._checkpoints is None:
            return extracted
        resumed = self._checkpoints.resume(extracted)
        if resumed is None:
            raise NotFusibleError(_RESUMED)
        return resumed

    def poll(self, timeout: float = 0.1) -> list[Event]:
        """Train the selected batches for one epoch; return the events of all trials."""
        self.errors = {}
        events, self._events = self._events, []
        for batch in self._batches.selected():
            try:
                batch_events = self._advance(batch)
                reported = (e.number for e in batch_events if isinstance(e, Reported))
                self._notes.add_batched(reported, batch.way)
                events += batch_events
                self._shares += [1.0 for e in batch_events if isinstance(e, Ended)]
                screened, batch.screened = batch.screened, []
                self._shares += [1.0 for _ in screened]
                moved, batch.moved = batch.moved, []
                for trial, past in [*screened, *moved]:
                    self._begin(trial, past)
            except UnlikeError as error:
                events += self._revoke(batch, error)
            except BaseException as error:
                if is_signal(error):
                    raise
                self._fail_batch(batch, error)
        if self._pool.is_busy:
            self._pool.limit(self.limits)
            events += self._pool.poll(0.0 if events else timeout)
            self.errors = self._pool.errors
        return events

    def _advance(self, batch: TrialBatch) -> list[Event]:
        """Train a batch for one epoch, within the time that its trials have left."""
        trials, steps = [extracted.trial for extracted in batch.extracted_trials], batch.last_steps
        try:
            if not batch.decided:
                with self.limits.step(batch.live):
                    self._decide(batch)
            if self._checkpoints:
                self._checkpoints.save_if_due(batch)
            return self._train_epoch(batch)
        except TimeIsUp:
            self._break_off(batch, trials, steps)
            return []

    def _train_epoch(self, batch: TrialBatch) -> list[Event]:
        numbers, began = batch.live, time.monotonic()
        used = max((self._seconds[number] for number in numbers), default=0.0)
        try:
            with self.limits.step(numbers, used):
                return batch.advance()
        finally:
            for number in numbers:
                self._seconds[number] += time.monotonic() - began

    def _break_off(
        self, batch: TrialBatch, trials: Sequence[Trial], steps: Mapping[int, tuple[int, int]]
    ) -> None:
        """Give up a batch that was interrupted somewhere within an epoch.

        One of its trials may keep all of them. So they go to worker processes, where each has the
        time of a trial for itself; if the run is over, they go nowhere.

        Parameters
        ----------
        batch : TrialBatch
        trials : sequence of Trial
            Its trials before the epoch.
        steps : mapping of int to (int, int)
            What each of them has reported; see `TrialBatch.last_steps`.
        """
        self._batches.remove(batch)
        if self.limits.run_is_over:
            return
        why = _TOO_SLOW.format(limit=self.limits.trial_timeout)
        self._batches.refuse(batch, why)
        self._pool.skip_reported(steps)
        for trial in trials:
            self._give_to_worker(trial, why)

    def stop(self, numbers: Iterable[int]) -> None:
        """End these trials and free their slots."""
        ended = set(numbers)
        for batch in self._batches:
            self._shares += batch.shares(ended)
        self._drop(ended)
        self._pool.stop(ended)

    def _drop(self, numbers: set[int]) -> None:
        for batch in self._batches:
            batch.drop(numbers)

    def put_aside(self, timeout: float = 5.0) -> list[Event]:
        """Put the trials in batches aside, and those in worker processes."""
        if self._checkpoints:
            for batch in self._batches.live:
                self._checkpoints.save(batch)
        return self._pool.put_aside(timeout)

    @cached_property
    def _checkpoints(self) -> BatchCheckpoints | None:
        checkpointing = self.objective.checkpointing
        return BatchCheckpoints(checkpointing) if checkpointing else None

    # -- how a batch is trained ---------------------------------------------------------------

    def _decide(self, batch: TrialBatch) -> None:
        """Decide how a batch is trained, before its first epoch."""
        batch.decided = True
        if not batch.has_begun and self._is_small(batch):
            self._refuse(batch, _TOO_FEW)
            return
        try:
            batch.certify_once()
        except NotFusibleError as error:
            self._refuse_structure(batch, str(error))
            return
        self._limit_slots(batch, batch.slots_that_fit())
        if self._may_fill(batch):
            batch.decided = False
            return
        choice = self._choose(batch)
        self._notes.add_choice(batch.first.trial.number, choice)
        if choice.plan.models is not None:
            batch.use(choice.plan.models)
        else:
            self._refuse(batch, _FASTER)

    def _may_fill(self, batch: TrialBatch) -> bool:
        """Return whether more trials may come, with which a program would be another one."""
        others = len(self._batches.live) > 1
        return others and not batch.is_filled and self._compile == "auto" and self.n_trials_left > 0

    def _is_small(self, batch: TrialBatch) -> bool:
        """Return whether too few trials are expected to be worth timing the plans."""
        return False

    def _refuse_structure(self, batch: TrialBatch, why: str) -> None:
        """Let worker processes train what is like the first trial; others get another batch."""
        self._batches.refuse_structure(batch.first, why)
        others = [e for e in batch.extracted_trials if e.key != batch.first.key]
        batch.drop({extracted.trial.number for extracted in others})
        batch.moved += [(extracted.trial, extracted.past) for extracted in others]
        self._refuse(batch, why, later=False)

    def _refuse(self, batch: TrialBatch, why: str, *, later: bool = True) -> None:
        """Let worker processes train the trials of a batch, and by default those that come."""
        if later:
            self._batches.refuse(batch, why)
        else:
            self._batches.remove(batch)
        self._notes.add_unbatched(batch.live, why)
        self._pool.skip_reported(batch.last_steps)
        trials = [extracted.trial for extracted in batch.extracted_trials]
        batch.drop(set(batch.live))
        for trial in trials:
            self._pool.start(trial)

    def _fail_batch(self, batch: TrialBatch, error: BaseException) -> None:
        """Let worker processes train the trials of a structure whose batch failed, now and later.

        Trials that have reported start again, but do not report the steps that they repeat.
        """
        if oom_reason(error):
            why = f"a batch of them runs {oom_reason(error)} (try fewer at a time: n_slots)"
        else:
            what = "their batch failed" if batch.last_steps else "the module cannot be batched"
            why = reason_unbatched(error, what)
        self._refuse(batch, why)
        clear_memory_after(error)

    def _revoke(self, batch: TrialBatch, error: UnlikeError) -> list[Event]:
        """Revoke all reports of a batch, and let worker processes train its trials.

        The driver enqueues the parameters of trials that have reported again, including finished
        ones.
        """
        reported = batch.reported
        self._drop(set(reported))  # from the batch of their other folds too
        self._pool.stop(set(reported))
        self._refuse(batch, str(error))
        if reported:
            self._notes.extra.append(
                f"{len(reported)} trials (the first: trial {reported[0]}) had been trained in a "
                "batch before that was seen: what they reported is void, and their parameters are "
                "tried again"
            )
        return [Revoked(number, f"{_VOID} ({error})") for number in reported]

    def _other_plans(self, batch: TrialBatch) -> list[ExecutionPlan]:
        """Return plans to train these trials without a batch."""
        return []

    def _choose(self, batch: TrialBatch) -> Choice:
        """Time a full batch; if that runs out of memory, try half as many slots."""
        try:
            return choose(
                batch,
                work=batch.first.n_steps * self._n_expected(batch) * self._share_trained,
                compile=self._compile,
                precision=self._precision,
                others=[] if batch.has_begun else self._other_plans(batch),
            )
        except Exception as error:
            if not oom_reason(error) or batch.n_slots == 1:
                raise
        clear_memory()
        self._limit_slots(batch, batch.n_slots // 2)
        return self._choose(batch)

    def _limit_slots(self, batch: TrialBatch, fitting: int) -> None:
        """Reduce the slots of a batch to those that fit into memory."""
        if fitting < batch.n_slots:
            self._notes.extra.append(
                f"{fitting} and not {batch.n_slots} trials like trial {batch.first.trial.number} "
                "are trained at a time: more would not fit into memory"
            )
            batch.n_slots = fitting

    def _n_expected(self, batch: TrialBatch) -> float:
        """Return about how many trials a batch will train: its share of the expected ones."""
        n_trials_left = N_TO_COME if math.isinf(self.n_trials_left) else self.n_trials_left
        return len(batch.live) * (1 + n_trials_left / max(self._batches.n_placed, 1))

    @property
    def _share_trained(self) -> float:
        """About which share of its steps a trial makes: pruners end many early."""
        return (N_LIKE_WHOLE + sum(self._shares)) / (N_LIKE_WHOLE + len(self._shares))

    def close(self) -> None:
        """End all running trials and restore the number of threads."""
        self._batches.clear()
        self._pool.close()
        self._limits.close()
