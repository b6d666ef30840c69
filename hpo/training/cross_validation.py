"""Train one trial: its folds advance in lock-step, with one report per step.

In a race the first fold is trained alone, and then the others: their reports have its scores too.
"""

import contextlib
import math
import pickle
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Protocol

from hpo._stop_signal import is_signal
from hpo.training.base import StepError
from hpo.training.files import TrialFiles
from hpo.training.fold import Fold
from hpo.training.pickling import dumps
from hpo.training.row_scores import FoldRows, RowRecorder
from hpo.training.scoring import Scoring, mean
from hpo.trial import Report

__all__ = ["CrossValidation", "FoldPast", "ScoredFold", "raced_report", "report_of"]


@dataclass(frozen=True, slots=True)
class FoldPast:
    """What a fold had at a step; see `ScoredFold`."""

    step: int
    scores: dict[str, float]
    recorded: set[str]
    fit_seconds: float
    score_seconds: float
    rows: FoldRows = field(default_factory=FoldRows)
    step_seconds: float = 0.0
    """Wall time of the step."""

    @staticmethod
    def of(fold: "ScoredFold", step: int, seconds: float) -> "FoldPast":
        """Return what a fold has now, after a step that took so many seconds."""
        return FoldPast(
            step,
            dict(fold.scores),
            set(fold.recorded),
            fold.fit_seconds,
            fold.score_seconds,
            fold.rows,
            seconds,
        )

    @staticmethod
    def at(past: "Sequence[FoldPast]", step: int) -> "FoldPast":
        """Return what a fold had at ``step``, or at its last step if it ended before."""
        found = past[0]
        for each in past:
            if each.step <= step:
                found = each
        return found


class CrossValidation(Generator[Report, None, None]):
    """A generator of reports that can be paused and resumed (`state`, `load_state`).

    Parameters
    ----------
    number : int
        Number of the trial.
    folds : sequence of callable
        Functions that set up a fold; they are called in the first step.
    scoring : Scoring
    n_steps : int
        Number of steps after which it is exhausted, unless all folds end earlier.
    files : TrialFiles or None
        Files that the folds' callbacks write; they are removed if the trial is abandoned.
    recorder : RowRecorder or None
        Makes the rows of the reports; None leaves them out.
    races : bool, default=False
        Whether the first fold makes all its steps before the others begin.
    """

    def __init__(
        self,
        number: int,
        folds: Sequence[Callable[[], Fold]],
        scoring: Scoring,
        n_steps: int,
        files: TrialFiles | None = None,
        *,
        recorder: RowRecorder | None = None,
        races: bool = False,
    ) -> None:
        self.files = files
        self._recorder = recorder
        self._number = number
        self._fold_makers = folds
        self._scoring = scoring
        self._n_steps = n_steps
        self._folds: list[Fold] = []
        self._done = 0
        self._closed = False
        self._screens = races
        """Whether the folds in training are the first one."""
        self._past: list[FoldPast] = []
        """What the first fold had at each of its steps, in a race."""

    def send(self, value: None) -> Report:
        """Run the next step of every fold and return its report."""
        if self._screens and not self._closed and self._is_over():
            self._begin_others()
        if self._closed or self._is_over():
            self._end(complete=True)
            raise StopIteration
        try:
            return self._step()
        except StopIteration as error:
            self._end()
            raise StepError("a step raised StopIteration") from error
        except BaseException:
            self._end()
            raise

    def throw(
        self,
        typ: Any,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
        /,
    ) -> Report:
        """End the training and raise."""
        self._end()
        return super().throw(typ, val, tb)

    def state(self) -> bytes:
        """Return the state of the training: weights, optimizers, random streams, step.

        The data are not included. It is a pickle (cloudpickle): only load states you trust.
        """
        rows = self._recorder.state if self._recorder else None
        folds = [fold.state() for fold in self._folds]
        return dumps((self._done, folds, rows, self._screens, self._past))

    def load_state(self, state: bytes, changes: Mapping[str, Any]) -> None:
        """Continue from a ``state`` of this trial or of one with the same model.

        Parameters
        ----------
        state : bytes
            Returned by `state`.
        changes : mapping of str to object
            Parameters of the estimator to change for the rest of the training.
        """
        self._done, folds, rows, self._screens, self._past = pickle.loads(state)
        if not folds:  # the training had not begun
            return
        if self._recorder and rows:
            self._recorder.load_state(rows)
        self._set_up()
        for fold, fold_state in zip(self._folds, folds, strict=True):
            fold.load_state(fold_state, changes)

    @property
    def _first(self) -> int:
        """Number of the first of the folds in training."""
        return 1 if self._past and not self._screens else 0

    def _step(self) -> Report:
        start = time.perf_counter()
        self._set_up()
        self._done += 1
        for i, fold in enumerate(self._folds, start=self._first):
            try:
                fold.step(last=self._done == self._n_steps)
            except BaseException as error:
                _add_note(error, f"in fold {i}")
                raise
        seconds = time.perf_counter() - start
        steppers = [fold.stepper for fold in self._folds]
        finished = self._is_over()
        if finished and any(stepper.whole for stepper in steppers):
            self._done = self._n_steps  # the first step was the whole training
        notes = dict.fromkeys(stepper.note for stepper in steppers if finished and stepper.note)
        report = self._report(seconds, finished=finished)
        return replace(report, notes=tuple(notes), last=finished)

    def _report(self, seconds: float, *, finished: bool) -> Report:
        report, folds = raced_report(
            self._number,
            self._done,
            self._folds,
            self._scoring,
            seconds,
            past=self._past,
            screens_of=len(self._fold_makers) if self._screens else 0,
        )
        if self._recorder is not None and not self._screens:
            rows = self._recorder.rows(report, [fold.rows for fold in folds], last=finished)
            report = replace(report, rows=rows)
        return report

    def _begin_others(self) -> None:
        """Put the first fold away, which has made all its steps, and train the others."""
        folds, self._folds = self._folds, []
        _close(folds)
        self._screens, self._done = False, 0

    def _set_up(self) -> None:
        n = 1 if self._screens else len(self._fold_makers)
        makers = self._fold_makers[self._first : n]
        for i, make in enumerate(makers[len(self._folds) :], start=self._first + len(self._folds)):
            try:
                self._folds.append(make())
            except BaseException as error:
                _add_note(error, f"while fold {i} was set up")
                raise

    def _is_over(self) -> bool:
        if self._done >= self._n_steps:
            return True
        # The scores of the first fold after the last step of the others count, as in lock-step.
        others_last = self._screens or not self._past or self._past[-1].step <= self._done
        return others_last and self._all_finished()

    def _all_finished(self) -> bool:
        return bool(self._folds) and all(fold.finished for fold in self._folds)

    def _end(self, *, complete: bool = False) -> None:
        was_closed, self._closed = self._closed, True
        folds, self._folds = self._folds, []
        _close(folds)
        if self.files is not None and not was_closed:
            self.files.end(complete=complete)


def _close(folds: Sequence[Fold]) -> None:
    for fold in folds:
        # Errors of callbacks while an abandoned training is closed are ignored.
        try:
            fold.close()
        except BaseException as error:
            if is_signal(error):
                raise


def _add_note(error: BaseException, place: str) -> None:
    with contextlib.suppress(Exception):  # `add_note` of a user's exception class may fail
        error.add_note(place)


class ScoredFold(Protocol):
    """The attributes of a fold that go into a report; see `Fold`."""

    @property
    def scores(self) -> dict[str, float]:
        """Values by the names of scores and metrics."""

    @property
    def recorded(self) -> set[str]:
        """Names of those that the estimator recorded."""

    @property
    def fit_seconds(self) -> float:
        """Wall time of its training."""

    @property
    def score_seconds(self) -> float:
        """Wall time of its scoring."""

    @property
    def rows(self) -> FoldRows:
        """Its validated rows."""


def report_of(
    number: int, step: int, folds: Sequence[ScoredFold], scoring: Scoring, seconds: float
) -> Report:
    """Return the report of a trial after a step.

    Parameters
    ----------
    number, step : int
    folds : sequence of ScoredFold
    scoring : Scoring
    seconds : float
        Wall time of the step.
    """
    # A fold that diverged has no scores, and therefore no names of scores.
    most_scored = max(folds, key=lambda fold: len(fold.scores) - len(fold.recorded))
    main = scoring.main(most_scored.scores)
    values = tuple(fold.scores.get(main, math.nan) for fold in folds)
    names = dict.fromkeys(name for fold in folds for name in fold.scores)
    if not scoring.names_itself or main == "score":
        del names[main]
    return Report(
        number=number,
        step=step,
        value=mean(values),
        fold_values=values,
        metrics={name: tuple(fold.scores.get(name, math.nan) for fold in folds) for name in names},
        seconds=seconds,
        fit_seconds=tuple(fold.fit_seconds for fold in folds),
        score_seconds=tuple(fold.score_seconds for fold in folds),
        recorded=tuple(n for n in names if any(n in fold.recorded for fold in folds)),
    )


def raced_report(
    number: int,
    step: int,
    folds: Sequence[ScoredFold],
    scoring: Scoring,
    seconds: float,
    *,
    past: list[FoldPast],
    screens_of: int = 0,
) -> tuple[Report, Sequence[ScoredFold]]:
    """Return the report of a trial after a step of the folds in training, and the folds it is of.

    Parameters
    ----------
    number, step, folds, scoring, seconds
        See `report_of`.
    past : list of FoldPast
        What the first fold had at each step, if it is trained before the others; it is longer by
        this step while that fold is in training.
    screens_of : int, default=0
        Number of all folds if the first one alone is in training.
    """
    if screens_of:
        (fold,) = folds
        past.append(FoldPast.of(fold, step, seconds))
        report = report_of(number, step, folds, scoring, seconds)
        return _screening_report(report, screens_of), folds
    if not past:
        return report_of(number, step, folds, scoring, seconds), folds
    first = FoldPast.at(past, step)
    seconds += first.step_seconds if first.step == step else 0.0
    folds = [first, *folds]
    report = report_of(number, step, folds, scoring, seconds)
    return replace(report, n_screened=past[-1].step), folds


def _screening_report(report: Report, n_folds: int) -> Report:
    """Return the report of the first fold alone as one of a trial with ``n_folds`` folds."""

    def padded(values: tuple[float, ...]) -> tuple[float, ...]:
        return (*values, *[math.nan] * (n_folds - len(values)))

    return replace(
        report,
        fold_values=padded(report.fold_values),
        metrics={name: padded(values) for name, values in report.metrics.items()},
        fit_seconds=padded(report.fit_seconds),
        score_seconds=padded(report.score_seconds),
        screening=True,
    )
