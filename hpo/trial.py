"""What a trial is, what it reports and how it ended: plain data, picklable.

Steps (epochs) count from 1. Scores follow scikit-learn: greater is better.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = [
    "CHANGED",
    "SECONDS",
    "SELECT",
    "TRAINED_BY",
    "Cause",
    "Report",
    "Trial",
    "TrialRecord",
    "TrialState",
    "derive_seed",
]

CHANGED = "param_"
"""First part of the name of a metric that tells what a parameter, changed on the way, is now."""

SECONDS = "seconds"
"""Name of the cost that every trial has."""

TRAINED_BY = "trained_by"
"""What tells, wherever a trial is written down, how it was trained."""


SELECT = ("best", "last")
"""Which of its reports may stand for a trial: the one with the greatest score, or the last one."""


class TrialState(StrEnum):
    """Where a trial stands: running, or how it ended."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """Cut off, which says nothing about its parameters: they are tried again."""


class Cause(StrEnum):
    """Why a trial ended before its last step."""

    PRUNER = "pruner"
    """The pruner stopped it, or a scheduler of Ray's in its place."""
    DIVERGED = "diverged"
    """Its training loss is not finite."""
    OUT_OF_MEMORY = "out_of_memory"
    """Its parameters ask for more memory than there is."""
    NO_SCORE = "no_score"
    """It made all its steps, and the score of the last one is not finite."""
    ERROR = "error"
    """The user's code raised."""
    WORKER_DIED = "worker_died"
    """The process that trained it died, more often than is tried again."""
    STOPPED = "stopped"
    """The user ended the run: Ctrl-C, a signal, an error elsewhere."""
    BUDGET = "budget"
    """The study's budget of time or epochs was spent."""
    DRIVER_DIED = "driver_died"
    """The process that ran the study died."""
    REVOKED = "revoked"
    """What it reported is void: its batch did not train it as its own net does."""
    RETRIED = "retried"
    """It had failed, and the user has had it tried again."""


def derive_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on all ``parts`` and on nothing else.

    The same parts give the same seed on every machine and in every process, and
    streams of different parts are independent (SHA-256 of their text form).
    """
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of parameters, to be trained on every fold.

    Parameters
    ----------
    number : int
        Position in the study, from 0.
    params : mapping of str to object
        Parameter names of the estimator to values as the storage keeps them: numbers,
        strings, booleans or None. `SearchSpace.resolve` turns them into what the
        estimator takes (a dotted path into the class it names).
    seed : int
        Owned by this trial; every fold derives its random stream from it.
    """

    number: int
    params: Mapping[str, Any]
    seed: int


@dataclass(frozen=True, slots=True)
class Report:
    """The score of a trial after one step (an epoch, unless the net says otherwise).

    Parameters
    ----------
    number : int
        Number of the trial.
    step : int
        Steps done, from 1.
    value : float
        Mean of ``fold_values``; nan if any fold has no finite score.
    fold_values : tuple of float, length n_folds
        Validation score of each fold.
    metrics : mapping of str to tuple of float, each of length n_folds
        Everything else that was measured on each fold: a further scorer under its name,
        a training score under ``train_score`` or ``train_<scorer>``, and what a net records
        of its epochs (``train_loss``, whatever its callbacks write into its history).
    seconds : float
        Wall time of the step over all folds, scoring included.
    fit_seconds, score_seconds : tuple of float, length n_folds
        Wall time of each fold since the trial began, spent on training and on scoring.
    recorded : tuple of str
        Those of ``metrics`` that the estimator recorded itself: no scores.
    notes : tuple of str
        What the user should know of how the trial was trained; empty as a rule.
    """

    number: int
    step: int
    value: float
    fold_values: tuple[float, ...] = ()
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    fit_seconds: tuple[float, ...] = ()
    score_seconds: tuple[float, ...] = ()
    recorded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """Everything known of one trial.

    Parameters
    ----------
    trial : Trial
    state : TrialState
    reports : tuple of Report
        In the order of their steps.
    reason : str
        Why the trial ended before its last step, in words; empty for a complete one.
    error : str or None
        Traceback of a failed trial.
    max_steps : int or None
        Steps that the trial would make if nothing stopped it; None if unknown.
    started, ended : float or None
        Seconds since the epoch (`time.time`).
    select : {"best", "last"}
        Which report stands for the trial; see `best_report`.
    trained_by : str
        How it was trained: ``serial``, ``process``, ``ray``, ``fused (eager)``, ``fused
        (compiled)``, the last two with ``, bfloat16`` where it was; empty if nobody has told.
    trained_by_reason : str
        Why a batch was not what trained it, where one was asked for; empty otherwise.
    cause : Cause or None
        Why the trial ended before its last step, as a kind; None for a complete one.
    """

    trial: Trial
    state: TrialState = TrialState.RUNNING
    reports: tuple[Report, ...] = ()
    reason: str = ""
    error: str | None = None
    max_steps: int | None = None
    started: float | None = None
    ended: float | None = None
    select: str = "best"
    trained_by: str = field(default="", compare=False)  # how, and not what: scores are the same
    trained_by_reason: str = field(default="", compare=False)
    cause: Cause | None = None

    @property
    def number(self) -> int:
        """Number of the trial."""
        return self.trial.number

    @property
    def last_step(self) -> int:
        """The last step reported; 0 before the first report."""
        return self.reports[-1].step if self.reports else 0

    @property
    def best_report(self) -> Report | None:
        """The report that stands for the trial; None if its score is not finite.

        With ``select="best"`` it is the one with the greatest score, the earliest of equals;
        with ``"last"`` the last one, whatever came before.
        """
        among = self.reports if self.select == "best" else self.reports[-1:]
        finite = [report for report in among if math.isfinite(report.value)]
        return max(finite, key=lambda report: (report.value, -report.step), default=None)

    @property
    def value(self) -> float:
        """The trial's score: that of its `best_report`."""
        best = self.best_report
        return math.nan if best is None else best.value

    @property
    def refit_steps(self) -> int:
        """Steps (epochs) that a refit makes, at most: up to the best one, or all of the trial's.

        With ``select="last"`` a training that stopped early by itself may stop elsewhere on all
        the data, as in a grid search.
        """
        if self.select == "last":
            return self.max_steps or self.last_step
        return self.best_report.step if self.best_report else 0

    @property
    def best_params(self) -> dict[str, Any]:
        """Parameters at the `best_report`: the trial's, with what was changed by then."""
        metrics = self.best_report.metrics if self.best_report else {}
        params = dict(self.trial.params)
        for name, value in self.trial.params.items():
            now = metrics.get(f"{CHANGED}{name}")
            if now:
                params[name] = type(value)(now[0])  # metrics are floats
        return params

    def cost(self, name: str) -> float:
        """Return what the trial cost up to its `best_report`; nan where that was not measured.

        Parameters
        ----------
        name : str
            ``seconds`` (wall time of its steps), or a metric, of which it is the mean over
            the folds at that step.
        """
        best = self.best_report
        if best is None:
            return math.nan
        if name == SECONDS:
            return sum(report.seconds for report in self.reports if report.step <= best.step)
        values = best.metrics.get(name, ())
        return sum(values) / len(values) if values else math.nan

    @property
    def interrupted(self) -> bool:
        """Whether the trial was cut off, so that its parameters deserve another try."""
        return self.state is TrialState.INTERRUPTED

    @property
    def out_of_budget(self) -> bool:
        """Whether the trial was cut off because the budget of its study was spent."""
        return self.cause is Cause.BUDGET

    @property
    def without_score(self) -> bool:
        """Whether the trial failed for a score that is not finite, and not because it raised."""
        failed = self.state is TrialState.FAILED and self.error is None
        return failed and bool(self.reports) and not math.isfinite(self.reports[-1].value)

    @property
    def made_all_steps(self) -> bool:
        """Whether the trial has reported its last step."""
        return self.max_steps is not None and self.last_step >= self.max_steps

    @property
    def out_of_memory(self) -> bool:
        """Whether the trial did not fit into memory, which its parameters are the cause of."""
        return self.cause is Cause.OUT_OF_MEMORY

    def value_at(self, step: int) -> float | None:
        """Return the score reported at ``step``, or None if there is none."""
        if 0 < step <= len(self.reports) and self.reports[step - 1].step == step:
            return self.reports[step - 1].value
        return next((r.value for r in self.reports if r.step == step), None)
