"""Train one trial: all folds advance in lock-step, with one report per step."""

import contextlib
import math
import pickle
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol

from hpo._stop_signal import is_signal
from hpo.training.base import StepError
from hpo.training.files import TrialFiles
from hpo.training.fold import Fold
from hpo.training.pickling import dumps
from hpo.training.row_scores import RowRecorder
from hpo.training.scoring import Scoring, mean
from hpo.trial import Report

__all__ = ["CrossValidation", "ScoredFold", "report_of"]


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

    def send(self, value: None) -> Report:
        """Run the next step of every fold and return its report."""
        if self._closed or self._done >= self._n_steps or self._all_finished():
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
        return dumps((self._done, [fold.state() for fold in self._folds], rows))

    def load_state(self, state: bytes, changes: Mapping[str, Any]) -> None:
        """Continue from a ``state`` of this trial or of one with the same model.

        Parameters
        ----------
        state : bytes
            Returned by `state`.
        changes : mapping of str to object
            Parameters of the estimator to change for the rest of the training.
        """
        self._done, folds, rows = pickle.loads(state)
        if not folds:  # the training had not begun
            return
        if self._recorder and rows:
            self._recorder.load_state(rows)
        self._set_up()
        for fold, fold_state in zip(self._folds, folds, strict=True):
            fold.load_state(fold_state, changes)

    def _step(self) -> Report:
        start = time.perf_counter()
        self._set_up()
        self._done += 1
        for i, fold in enumerate(self._folds):
            try:
                fold.step(last=self._done == self._n_steps)
            except BaseException as error:
                _add_note(error, f"in fold {i}")
                raise
        seconds = time.perf_counter() - start
        steppers = [fold.stepper for fold in self._folds]
        finished = self._done >= self._n_steps or self._all_finished()
        if finished and any(stepper.whole for stepper in steppers):
            self._done = self._n_steps  # the first step was the whole training
        report = report_of(self._number, self._done, self._folds, self._scoring, seconds)
        notes = dict.fromkeys(stepper.note for stepper in steppers if finished and stepper.note)
        if self._recorder is not None:
            rows = self._recorder.rows(report, [fold.rows for fold in self._folds], last=finished)
            report = replace(report, rows=rows)
        return replace(report, notes=tuple(notes))

    def _set_up(self) -> None:
        for i, make in enumerate(self._fold_makers[len(self._folds) :], start=len(self._folds)):
            try:
                self._folds.append(make())
            except BaseException as error:
                _add_note(error, f"while fold {i} was set up")
                raise

    def _all_finished(self) -> bool:
        return bool(self._folds) and all(fold.finished for fold in self._folds)

    def _end(self, *, complete: bool = False) -> None:
        was_closed, self._closed = self._closed, True
        folds, self._folds = self._folds, []
        for fold in folds:
            # Errors of callbacks while an abandoned training is closed are ignored.
            try:
                fold.close()
            except BaseException as error:
                if is_signal(error):
                    raise
        if self.files is not None and not was_closed:
            self.files.end(complete=complete)


def _add_note(error: BaseException, place: str) -> None:
    with contextlib.suppress(Exception):  # `add_note` of a user's exception class may fail
        error.add_note(place)


class ScoredFold(Protocol):
    """The attributes of a fold that go into a report; see `Fold`."""

    scores: dict[str, float]
    recorded: set[str]
    fit_seconds: float
    score_seconds: float


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
