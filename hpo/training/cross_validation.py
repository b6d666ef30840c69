"""One trial's training: every fold advanced in lock-step, one report a step."""

import contextlib
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol

import cloudpickle

from hpo._stop_signal import is_ctrl_c
from hpo.training.base import StepError
from hpo.training.files import TrialFiles
from hpo.training.fold import Fold
from hpo.training.scoring import Scoring, mean
from hpo.trial import Report

__all__ = ["CrossValidation", "ScoredFold", "report_of"]


class CrossValidation(Generator[Report, None, None]):
    """A generator of reports that can be put aside and gone on with (`state`, `load_state`).

    Parameters
    ----------
    number : int
        Number of the trial.
    folds : sequence of callable
        Each sets a fold up when it is called, at the first step.
    scoring : Scoring
    n_steps : int
        Steps after which it is exhausted, unless all folds end before.
    files : TrialFiles or None
        What the folds' callbacks write, removed where the trial is given up.
    """

    def __init__(
        self,
        number: int,
        folds: Sequence[Callable[[], Fold]],
        scoring: Scoring,
        n_steps: int,
        files: TrialFiles | None = None,
    ) -> None:
        self.files = files
        self._number = number
        self._makers = folds
        self._scoring = scoring
        self._n_steps = n_steps
        self._folds: list[Fold] = []
        self._done = 0
        self._over = False

    def send(self, value: None) -> Report:
        """Make the next step on every fold and return its report."""
        if self._over or self._done >= self._n_steps or self._all_finished():
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
        """Return what the training has come to: weights, optimizers, random streams, step.

        The data are not in it. It is a pickle (cloudpickle): load no other than your own.
        """
        state: bytes = cloudpickle.dumps((self._done, [fold.state() for fold in self._folds]))
        return state

    def load_state(self, state: bytes, changes: Mapping[str, Any]) -> None:
        """Go on from a ``state``, of this trial or of one with the same model.

        Parameters
        ----------
        state : bytes
            What `state` returned.
        changes : mapping of str to object
            Parameters of the estimator to change in the course of the training.
        """
        self._done, folds = cloudpickle.loads(state)
        if not folds:  # it had not begun
            return
        self._set_up()
        for fold, its_state in zip(self._folds, folds, strict=True):
            fold.load_state(its_state, changes)

    def _step(self) -> Report:
        began = time.perf_counter()
        self._set_up()
        self._done += 1
        for i, fold in enumerate(self._folds):
            try:
                fold.step(last=self._done == self._n_steps)
            except BaseException as error:
                _note(error, f"in fold {i}")
                raise
        seconds = time.perf_counter() - began
        steppers = [fold.stepper for fold in self._folds]
        over = self._done >= self._n_steps or self._all_finished()
        if over and any(stepper.whole for stepper in steppers):
            self._done = self._n_steps  # it was all of them
        report = report_of(self._number, self._done, self._folds, self._scoring, seconds)
        notes = dict.fromkeys(stepper.note for stepper in steppers if over and stepper.note)
        return replace(report, notes=tuple(notes))

    def _set_up(self) -> None:
        for i, make in enumerate(self._makers[len(self._folds) :], start=len(self._folds)):
            try:
                self._folds.append(make())
            except BaseException as error:
                _note(error, f"while fold {i} was set up")
                raise

    def _all_finished(self) -> bool:
        return bool(self._folds) and all(fold.finished for fold in self._folds)

    def _end(self, *, complete: bool = False) -> None:
        over, self._over = self._over, True
        folds, self._folds = self._folds, []
        for fold in folds:
            # A callback that fails while a given-up training is cleared away harms nobody.
            try:
                fold.close()
            except BaseException as error:
                if is_ctrl_c(error):
                    raise
        if self.files is not None and not over:
            self.files.end(complete=complete)


def _note(error: BaseException, place: str) -> None:
    with contextlib.suppress(Exception):  # an error of the user's may be of any make
        error.add_note(place)


class ScoredFold(Protocol):
    """What a report tells of a fold; see `Fold`."""

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
    # A fold that diverged has no scores and so does not know their names.
    most = max(folds, key=lambda fold: len(fold.scores) - len(fold.recorded))
    main = scoring.main(most.scores)
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
