"""Trials, their reports and their outcomes, as plain picklable data.

Steps (epochs) count from 1. Scores follow scikit-learn: greater is better.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from hpo.out_of_fold import ValidatedRows

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
"""Prefix of a metric with the current value of a parameter that changed while the trial ran."""

SECONDS = "seconds"
"""Name of the cost that every trial has."""

TRAINED_BY = "trained_by"
"""Key of how a trial was trained, wherever a trial is recorded."""


SELECT = ("best", "last")
"""Which report may represent a trial: the one with the greatest score, or the last one."""


class TrialState(StrEnum):
    """State of a trial: running, or how it ended."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """Stopped for a reason unrelated to its parameters, which are tried again."""


class Cause(StrEnum):
    """Why a trial ended before its last step."""

    PRUNER = "pruner"
    """The pruner, or Ray's scheduler instead of it, stopped the trial."""
    DIVERGED = "diverged"
    """Its training loss is not finite."""
    OUT_OF_MEMORY = "out_of_memory"
    """Its parameters need more memory than available."""
    NO_SCORE = "no_score"
    """It made all its steps, and the score of the last one is not finite."""
    ERROR = "error"
    """The user's code raised."""
    TIMEOUT = "timeout"
    """It was in training for longer than a trial may be (``trial_timeout``)."""
    WORKER_DIED = "worker_died"
    """The process that trained it died more often than is retried."""
    STOPPED = "stopped"
    """The user ended the run: Ctrl-C, a signal, an error elsewhere."""
    BUDGET = "budget"
    """The study's budget of time or epochs was spent."""
    WITHDRAWN = "withdrawn"
    """It never began: another process had started the last trial of the budget."""
    DRIVER_DIED = "driver_died"
    """The process that ran the study died."""
    REVOKED = "revoked"
    """Its reports are void: its batch did not train it like its own net would."""
    RETRIED = "retried"
    """It had failed, and the user has retried it."""


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
        Owned by this trial; every fold derives its random stream from it. A trial that runs an
        interrupted one again has the seed of that.
    resumed_from : int or None
        Number of the interrupted trial whose training it goes on with; None if it begins anew.
    resumed_step : int
        The `Report.position` after which it goes on; the reports up to there are those of the other
        trial.
    """

    number: int
    params: Mapping[str, Any]
    seed: int
    resumed_from: int | None = None
    resumed_step: int = 0


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
    time : float
        When it arrived, in seconds since the epoch; 0 if unknown.
    rows : ValidatedRows or None
        What the trial did on each validated row. The driver takes it out and keeps it apart.
    screening : bool
        Whether the first fold is trained alone (``folds="race"``): ``value`` is its score, and the
        entries of the other folds are nan.
    n_screened : int
        Number of screening reports before this one, unless it is one of them.
    last : bool
        Whether the training of these folds is over.
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
    time: float = field(default=0.0, compare=False)
    rows: ValidatedRows | None = field(default=None, compare=False, repr=False)
    screening: bool = False
    n_screened: int = 0
    last: bool = field(default=False, compare=False, repr=False)

    @property
    def position(self) -> int:
        """Number of the trial's reports up to this one, itself included, if no step was skipped."""
        return self.n_screened + self.step


def _steps(screened: Report, full: Report | None) -> float:
    """Return how many steps of all folds two last reports, of one fold and of all, amount to."""
    n_folds = len(screened.fold_values)
    return (screened.step + (n_folds - 1) * (full.step if full else 0)) / n_folds


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """Everything known of one trial.

    Parameters
    ----------
    trial : Trial
    state : TrialState
    reports : tuple of Report
        In the order of their steps; each has the scores of all folds.
    reason : str
        Why the trial ended before its last step, as a text; empty for a complete one.
    error : str or None
        Traceback of a failed trial.
    max_steps : int or None
        Steps that the trial would make if nothing stopped it; None if unknown.
    started, ended : float or None
        Seconds since the epoch (`time.time`).
    select : {"best", "last"}
        Which report represents the trial; see `best_report`.
    trained_by : str
        How it was trained: ``serial``, ``process``, ``ray``, ``fused (eager)``, ``fused
        (compiled)``, the last two with ``, bfloat16`` if applicable; empty if unknown.
    trained_by_reason : str
        Why it was not batched although batches were requested; empty otherwise.
    worker : str
        What trained it, as the executor names it: ``process 2``, ``process 1, GPU 0``, ``batch``,
        ``Ray actor 4711 on node3``; empty if unknown.
    cause : Cause or None
        Why the trial ended before its last step; None for a complete one.
    screening : tuple of Report
        Reports of the first fold, trained alone before the others (``folds="race"``). They say
        whether the other folds are worth training, and never stand for the trial.
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
    worker: str = field(default="", compare=False)
    cause: Cause | None = None
    screening: tuple[Report, ...] = ()

    @property
    def number(self) -> int:
        """Number of the trial."""
        return self.trial.number

    def with_report(self, report: Report) -> "TrialRecord":
        """Return the record with one more report."""
        if report.screening:
            return replace(self, screening=(*self.screening, report))
        return replace(self, reports=(*self.reports, report))

    @property
    def all_reports(self) -> tuple[Report, ...]:
        """The screening reports, then those of all folds."""
        return (*self.screening, *self.reports)

    @property
    def last_step(self) -> int:
        """The last step reported; 0 before the first report."""
        return self.reports[-1].step if self.reports else 0

    @property
    def last_reported(self) -> Report | None:
        """The last report of all folds; if there is none, the last one of the first fold."""
        return self.all_reports[-1] if self.all_reports else None

    @property
    def last_position(self) -> int:
        """`Report.position` of the last report; 0 before the first one."""
        return self.last_reported.position if self.last_reported else 0

    @property
    def first_fold(self) -> "TrialRecord":
        """The trial as its first fold alone: its reports are those of the screening."""
        return replace(self, reports=self.screening, screening=())

    @property
    def furthest(self) -> "TrialRecord":
        """The trial, or its `first_fold` if nothing else was trained."""
        return self.first_fold if self.screening and not self.reports else self

    @property
    def seconds(self) -> float:
        """Wall time of all steps."""
        return sum(report.seconds for report in self.reports or self.screening)

    @property
    def n_steps(self) -> float:
        """Steps up to now; one of a single fold counts as 1 / n_folds."""
        if not self.screening:
            return self.last_step
        return _steps(self.screening[-1], self.reports[-1] if self.reports else None)

    @property
    def n_made(self) -> float:
        """Number of steps that were made in this trial, and not in one that it goes on with."""
        resumed = self.trial.resumed_step
        if not (resumed and self.screening):
            return max(0, self.n_steps - resumed)
        before = [report for report in self.all_reports if report.position <= resumed]
        full = [report for report in before if not report.screening]
        screened = [report for report in before if report.screening]
        return self.n_steps - _steps(screened[-1], full[-1] if full else None)

    @property
    def best_report(self) -> Report | None:
        """The report that represents the trial; None if its score is not finite.

        With ``select="best"`` it is the one with the greatest score, the earliest in a tie;
        with ``"last"`` it is the last one.
        """
        best = None
        for report in self.reports if self.select == "best" else self.reports[-1:]:
            if math.isfinite(report.value) and (best is None or report.value > best.value):
                best = report
        return best

    @property
    def value(self) -> float:
        """The score of the trial's `best_report`."""
        best = self.best_report
        return math.nan if best is None else best.value

    @property
    def refit_steps(self) -> int:
        """Maximal steps (epochs) of a refit: up to the best one, or all of the trial's.

        With ``select="last"``, a training that stopped early may stop at another step when it is
        refitted on all data, as in a grid search.
        """
        if self.select == "last":
            return self.max_steps or self.last_step
        return self.best_report.step if self.best_report else 0

    @property
    def best_params(self) -> dict[str, Any]:
        """Parameters at the `best_report`: the trial's, with the changes made until then."""
        metrics = self.best_report.metrics if self.best_report else {}
        params = dict(self.trial.params)
        for name, value in self.trial.params.items():
            changed = metrics.get(f"{CHANGED}{name}")
            if changed:
                params[name] = type(value)(changed[0])  # metrics are floats
        return params

    def cost(self, name: str) -> float:
        """Return the trial's cost up to its `best_report`; nan if it was not measured.

        Parameters
        ----------
        name : str
            ``seconds`` (wall time of its steps), or the name of a metric, whose mean over the
            folds at that step is the cost.
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
        """Whether the trial was interrupted, so that its parameters are tried again."""
        return self.state is TrialState.INTERRUPTED

    @property
    def out_of_budget(self) -> bool:
        """Whether the trial was interrupted because the budget of its study was spent."""
        return self.cause is Cause.BUDGET

    @property
    def without_score(self) -> bool:
        """Whether the trial failed because of a non-finite score, and not with an exception."""
        failed = self.state is TrialState.FAILED and self.error is None
        last = self.last_reported
        return failed and last is not None and not math.isfinite(last.value)

    @property
    def made_all_steps(self) -> bool:
        """Whether the trial has reported its last step."""
        return self.max_steps is not None and self.last_step >= self.max_steps

    @property
    def out_of_memory(self) -> bool:
        """Whether the trial did not fit into memory because of its parameters."""
        return self.cause is Cause.OUT_OF_MEMORY

    def value_at(self, step: int) -> float | None:
        """Return the score reported at ``step``, or None if there is none."""
        if 0 < step <= len(self.reports) and self.reports[step - 1].step == step:
            return self.reports[step - 1].value
        return next((r.value for r in self.reports if r.step == step), None)
