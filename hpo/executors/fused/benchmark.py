"""Choice of the fastest way to train the trials of a structure, by timing a few steps."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from hpo.executors.fused.batch import TrialBatch
from hpo.fused import FusedModels
from hpo.training.objective import Objective
from hpo.trial import Trial

__all__ = ["Choice", "ExecutionPlan", "check_choice", "choose", "sequential_epoch_seconds"]

COMPILE = {"auto", True, False}
PRECISIONS = {"auto", "float32", "bfloat16"}

COMPILE_SECONDS, COMPILE_SECONDS_MIXED = 10.0, 100.0
"""About what compiling takes; measured from 2 (in torch's cache) to 30 (on busy cores). A program
of a mixed batch is longer, and is compiled again when a trial with new sizes comes."""

GAIN, GAIN_MIXED, GAIN_BFLOAT16 = 4.0, 2.0, 2.0
"""Expected speedup of a compiled program, of that of a mixed batch, and of bfloat16,
before it has been measured."""

MARGIN = 1.25
"""How much faster than the fastest plan so far a program must promise to be to be compiled."""

_N_TIMED = 4
"""Number of minibatches over which a step is timed."""


@dataclass(frozen=True)
class ExecutionPlan:
    """A way to train the trials of one structure.

    Parameters
    ----------
    name : str
    seconds : float
        Time of one epoch of one trial on all its folds.
    models : FusedModels or None
        Models to train with; None if the trials are not trained in a batch.
    """

    name: str
    seconds: float
    models: FusedModels | None = None


@dataclass(frozen=True)
class Choice:
    """What was chosen, and what it was compared with.

    Parameters
    ----------
    plan : ExecutionPlan
    tried : sequence of ExecutionPlan
        All plans that were timed.
    failures : sequence of str
        Descriptions of plans that could not be tried.
    """

    plan: ExecutionPlan
    tried: Sequence[ExecutionPlan]
    failures: Sequence[str] = ()

    def __str__(self) -> str:
        times = sorted((plan.seconds, plan.name) for plan in self.tried)
        listed = ", ".join(f"{1e3 * seconds:.3g} ms {name}" for seconds, name in times)
        return f"{self.plan.name} (an epoch of one: {listed})"


def check_choice(compile: bool | str, precision: str) -> None:
    """Raise ValueError if an argument of `choose` is out of its range."""
    if compile not in COMPILE:
        raise ValueError(f"compile must be 'auto', true or false. Got {compile!r} instead.")
    if precision not in PRECISIONS:
        raise ValueError(
            f"precision must be among {', '.join(sorted(PRECISIONS))}. Got {precision!r} instead."
        )


def choose(
    batch: TrialBatch,
    *,
    work: float,
    compile: bool | str,
    precision: str,
    others: Sequence[ExecutionPlan] = (),
) -> Choice:
    """Choose how to train a batch.

    Parameters
    ----------
    batch : TrialBatch
        A batch that has not begun.
    work : float
        Expected number of epochs, of all trials, that are still to be trained.
    compile, precision
        See `FusedExecutor`.
    others : sequence of ExecutionPlan
        Plans without a batch.
    """
    timer = _Timer(batch)
    autocast = precision == "bfloat16"
    tried = list(others)
    if compile is not True:
        tried += timer.time(compiled=False, autocast=autocast)
    # Compiling a program that is unrolled over a sequence takes minutes.
    may_compile = compile == "auto" and not batch.unrolls
    if compile is True or (may_compile and _is_worth_compiling(tried, work, mixed=batch.is_mixed)):
        tried += timer.time(compiled=True, autocast=autocast)
    if not any(plan.models for plan in tried):
        tried += timer.time(compiled=False, autocast=False)
    best = _fastest(tried)
    if precision == "auto" and best.models is not None and _has_bfloat16(batch.device):
        is_compiled = best.models.is_compiled
        if not is_compiled or _repays(best.seconds, best.seconds / GAIN_BFLOAT16, work):
            tried += timer.time(compiled=is_compiled, autocast=True)
    return Choice(_fastest(tried), tried, timer.failures)


class _Timer:
    """Times plans; those that fail on this machine are noted and skipped."""

    def __init__(self, batch: TrialBatch) -> None:
        self._batch = batch
        self.failures: list[str] = []

    def time(self, *, compiled: bool, autocast: bool) -> list[ExecutionPlan]:
        """Return a plan with its time in a list, which is empty if it fails."""
        name = ("compiled" if compiled else "fused") + (", bfloat16" if autocast else "")
        try:
            return [_timed(self._batch, name, compiled=compiled, autocast=autocast)]
        except Exception as error:
            if not (compiled or autocast):
                raise
            message = " ".join(str(error).split())[:200]
            self.failures.append(f"not {name}: {type(error).__name__}: {message}")
            return []


def _fastest(plans: Sequence[ExecutionPlan]) -> ExecutionPlan:
    return min(plans, key=lambda plan: plan.seconds)


def _is_worth_compiling(
    tried: Sequence[ExecutionPlan], work: float, *, mixed: bool = False
) -> bool:
    """Return whether a program is likely to save more time than compiling it takes."""
    gain = GAIN_MIXED if mixed else GAIN
    cost = COMPILE_SECONDS_MIXED if mixed else COMPILE_SECONDS
    fastest = _fastest(tried).seconds
    promised = min((plan.seconds for plan in tried if plan.models), default=math.inf) / gain
    return promised * MARGIN < fastest and _repays(fastest, promised, work, cost)


def _repays(seconds: float, promised: float, work: float, cost: float = COMPILE_SECONDS) -> bool:
    return work * (seconds - promised) > cost


def _timed(batch: TrialBatch, name: str, *, compiled: bool, autocast: bool) -> ExecutionPlan:
    models = batch.make_models(batch.n_slots, autocast=autocast)
    # Without callbacks, as these epochs are not part of a training.
    models.put_all(dict(enumerate(batch.example_models(models.n_slots))))
    if compiled:
        models.compile()
    seconds = _epoch_seconds(models, batch.X_valid) / models.n_slots
    return ExecutionPlan(
        name, seconds, models if compiled else batch.make_models(0, autocast=autocast)
    )


def _epoch_seconds(models: FusedModels, X_valid: torch.Tensor) -> float:
    """Return the seconds of an epoch and its evaluation, from a few minibatches.

    The overhead at the beginning of an epoch is counted once. The first call, which sets up much,
    is not counted at all.
    """

    def time_batches(n: int) -> float:
        return _seconds(models, lambda: models.train_epoch(2, max_batches=n))

    models.train_epoch(1, max_batches=1)
    first = min(time_batches(1), time_batches(1))
    step = max(min(time_batches(1 + _N_TIMED), time_batches(1 + _N_TIMED)) - first, 0.0) / _N_TIMED
    models.predict(X_valid)
    predict_seconds = _seconds(models, lambda: models.predict(X_valid))
    return first + step * (models.n_batches - 1) + predict_seconds


def _seconds(models: FusedModels, function: Callable[[], object]) -> float:
    models.synchronize()
    began = time.perf_counter()
    function()
    models.synchronize()
    return time.perf_counter() - began


def _has_bfloat16(device: str) -> bool:
    """Return whether the processor supports bfloat16 natively; otherwise it does not pay off."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def sequential_epoch_seconds(objective: Objective, trial: Trial, device: str | None) -> float:
    """Return the seconds that an epoch of a trial takes when trained alone, on all its folds."""
    training = objective.run(trial, device)
    try:
        seconds = float("inf")
        for _ in range(2):  # the first one also sets up the folds
            began = time.perf_counter()
            if next(training, None) is None:
                break
            seconds = min(seconds, time.perf_counter() - began)
        return seconds
    finally:
        training.close()
