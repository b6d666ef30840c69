"""How the trials of a structure are trained fastest, told by timing a few of their steps."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from hpo.executors.fused.batch import TrialBatch
from hpo.fused import FusedModels
from hpo.training.objective import Objective
from hpo.trial import Trial

__all__ = ["Choice", "ExecutionPlan", "choose", "sequential_epoch_seconds"]

COMPILE_SECONDS = 10.0
"""What compiling takes, about; seen from 2 (known to torch's cache) to 30 (on busy cores)."""

GAIN, GAIN_BFLOAT16 = 4.0, 2.0
"""By how much a program, and one in bfloat16, is expected to be faster before it is made."""

MARGIN = 1.25
"""How much faster than all that is known a program must promise to be, or none is made."""

_N_TIMED = 4
"""Minibatches that a step is timed over."""


@dataclass(frozen=True)
class ExecutionPlan:
    """A way to train the trials of one structure.

    Parameters
    ----------
    name : str
    seconds : float
        That one epoch of one trial, all its folds, takes.
    models : FusedModels or None
        To train with; None is no batch.
    """

    name: str
    seconds: float
    models: FusedModels | None = None


@dataclass(frozen=True)
class Choice:
    """What was chosen, and what it was compared with.

    Parameters
    ----------
    way : ExecutionPlan
    tried : sequence of ExecutionPlan
        All that was timed.
    failures : sequence of str
        What could not be tried.
    """

    plan: ExecutionPlan
    tried: Sequence[ExecutionPlan]
    failures: Sequence[str] = ()

    def __str__(self) -> str:
        times = sorted((plan.seconds, plan.name) for plan in self.tried)
        told = ", ".join(f"{1e3 * seconds:.3g} ms {name}" for seconds, name in times)
        return f"{self.plan.name} (an epoch of one: {told})"


def choose(
    batch: TrialBatch,
    *,
    work: float,
    compile: bool | str,
    precision: str,
    others: Sequence[ExecutionPlan] = (),
) -> Choice:
    """Return how to train a batch.

    Parameters
    ----------
    batch : TrialBatch
        Not begun.
    work : float
        Epochs of trials to come.
    compile, precision
        See `FusedExecutor`.
    others : sequence of ExecutionPlan
        Ways that are no batch.
    """
    trials = _Trials(batch)
    autocast = precision == "bfloat16"
    tried = list(others)
    if compile is not True:
        tried += trials.of(compiled=False, autocast=autocast)
    # A program with each step of a sequence written out takes minutes to make.
    may = compile == "auto" and not batch.unrolls
    if compile is True or (may and _is_worth_compiling(tried, work)):
        tried += trials.of(compiled=True, autocast=autocast)
    if not any(plan.models for plan in tried):
        tried += trials.of(compiled=False, autocast=False)
    best = _fastest(tried)
    if precision == "auto" and best.models is not None and _has_bfloat16(batch.device):
        is_compiled = best.models.is_compiled
        if not is_compiled or _repays(best.seconds, best.seconds / GAIN_BFLOAT16, work):
            tried += trials.of(compiled=is_compiled, autocast=True)
    return Choice(_fastest(tried), tried, trials.failures)


class _Trials:
    """Tries plans out; what cannot be done on this machine is told and left."""

    def __init__(self, batch: TrialBatch) -> None:
        self._batch = batch
        self.failures: list[str] = []

    def of(self, *, compiled: bool, autocast: bool) -> list[ExecutionPlan]:
        """Return a way with its time, or nothing if it fails."""
        name = ("compiled" if compiled else "fused") + (", bfloat16" if autocast else "")
        try:
            return [_timed(self._batch, name, compiled=compiled, autocast=autocast)]
        except Exception as error:
            if not (compiled or autocast):
                raise
            told = " ".join(str(error).split())[:200]
            self.failures.append(f"not {name}: {type(error).__name__}: {told}")
            return []


def _fastest(plans: Sequence[ExecutionPlan]) -> ExecutionPlan:
    return min(plans, key=lambda plan: plan.seconds)


def _is_worth_compiling(tried: Sequence[ExecutionPlan], work: float) -> bool:
    """Return whether a program is likely to repay the time that making it takes."""
    fastest = _fastest(tried).seconds
    promised = min((plan.seconds for plan in tried if plan.models), default=math.inf) / GAIN
    return promised * MARGIN < fastest and _repays(fastest, promised, work)


def _repays(seconds: float, promised: float, work: float) -> bool:
    return work * (seconds - promised) > COMPILE_SECONDS


def _timed(batch: TrialBatch, name: str, *, compiled: bool, autocast: bool) -> ExecutionPlan:
    models = batch.make_models(batch.n_slots, autocast=autocast)
    # Its callbacks are not asked: the epochs here are none of a training.
    member = replace(batch.first.member, schedules=None)
    models.put_all(dict.fromkeys(range(models.n_slots), member))
    if compiled:
        models.compile()
    seconds = _epoch_seconds(models, batch.X_valid) / models.n_slots
    return ExecutionPlan(
        name, seconds, models if compiled else batch.make_models(0, autocast=autocast)
    )


def _epoch_seconds(models: FusedModels, X_valid: torch.Tensor) -> float:
    """Return the seconds of an epoch and its evaluation, from a few minibatches.

    What an epoch begins with is counted once. The first call, in which much is set up, does not
    count at all.
    """

    def some(n: int) -> float:
        return _seconds(models, lambda: models.train_epoch(2, max_batches=n))

    models.train_epoch(1, max_batches=1)
    one = min(some(1), some(1))
    step = max(min(some(1 + _N_TIMED), some(1 + _N_TIMED)) - one, 0.0) / _N_TIMED
    models.predict(X_valid)
    evaluating = _seconds(models, lambda: models.predict(X_valid))
    return one + step * (models.n_batches - 1) + evaluating


def _seconds(models: FusedModels, function: Callable[[], object]) -> float:
    models.synchronize()
    began = time.perf_counter()
    function()
    models.synchronize()
    return time.perf_counter() - began


def _has_bfloat16(device: str) -> bool:
    """Return whether the processor multiplies bfloat16 by itself: without, it does not pay."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def sequential_epoch_seconds(objective: Objective, trial: Trial, device: str | None) -> float:
    """Return the seconds that an epoch of a trial takes by itself, on all its folds."""
    training = objective.run(trial, device)
    try:
        seconds = float("inf")
        for _ in range(2):  # the first one sets the folds up
            began = time.perf_counter()
            if next(training, None) is None:
                break
            seconds = min(seconds, time.perf_counter() - began)
        return seconds
    finally:
        training.close()
