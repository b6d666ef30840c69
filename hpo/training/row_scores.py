"""The rows of a validation part: what was predicted for each, and each one's share of the score."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import numpy as np

from hpo.out_of_fold import ValidatedRows
from hpo.out_of_fold_files import StudyRows
from hpo.training.indexing import as_numpy
from hpo.training.row_formulas import Delayed, Predicted, RowFormula
from hpo.trial import Report

__all__ = [
    "FoldRows",
    "RowRecorder",
    "is_mean",
    "predictions_of",
    "rows_of",
    "study_rows",
    "watched",
]

METHODS = ("predict_proba", "decision_function", "predict")
"""Methods of an estimator, the most telling first."""

TOLERANCE = 1e-5
"""Relative difference between a score and the mean of its rows that rounding may make."""


@dataclass(frozen=True, slots=True, eq=False)
class FoldRows:
    """The validated rows of one fold.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,) or None
        Each row's score; None if the fold's score is not their mean.
    predictions : ndarray of shape (n_rows, ...) or None
    kind : str
        The method that made the predictions; empty without them.
    """

    scores: np.ndarray | None = None
    predictions: np.ndarray | None = None
    kind: str = ""


@contextmanager
def watched(estimator: Any, n_rows: int) -> Iterator[Predicted]:
    """Note what ``estimator`` predicts for ``n_rows`` rows in the block.

    A scorer asks for predictions anyway; asking again would take as long as scoring does. The
    estimator must be scored by scikit-learn's scorers in the block, which predict the validation
    part and nothing else.

    Parameters
    ----------
    estimator : estimator
        Its methods are replaced in its own ``__dict__`` as long as the block lasts.
    n_rows : int
    """
    predicted: Predicted = {}
    own: dict[str, Any] = getattr(estimator, "__dict__", {})
    replaced = []
    for name in METHODS:
        method = getattr(estimator, name, None)
        if method is None or name in own:  # it replaces its own method already
            continue
        own[name] = _noting(method, name, n_rows, predicted)
        replaced.append(name)
    try:
        yield predicted
    finally:
        for name in replaced:
            own.pop(name, None)


def _noting(method: Any, name: str, n_rows: int, predicted: Predicted) -> Callable[..., Any]:
    @wraps(method)  # scorers look at its name
    def call(*args: Any, **kwargs: Any) -> Any:
        values = method(*args, **kwargs)
        if isinstance(values, np.ndarray) and len(values) == n_rows:
            predicted[name] = values
        return values

    return call


def predictions_of(estimator: Any, X: Any, n_rows: int, *, every: bool = False) -> Predicted:
    """Return what an estimator predicts, for scorers of the user, which may predict anything.

    By its most telling method, or by ``every`` one.
    """
    names = [name for name in METHODS if hasattr(estimator, name)]
    predicted: Predicted = {}
    for name in names if every else names[:1]:
        try:
            values = getattr(estimator, name)(X)
        except Exception:  # the user's scorer may do without it
            continue
        if isinstance(values, np.ndarray) and len(values) == n_rows:
            predicted[name] = values
    return predicted


def rows_of(
    estimator: Any,
    predicted: Predicted,
    y: Any,
    *,
    score: float,
    formula: RowFormula | None,
    classes: np.ndarray | None,
) -> FoldRows:
    """Return the rows of a fold.

    Parameters
    ----------
    estimator : estimator
        The fold's estimator, fitted.
    predicted : mapping
        What it predicted; see `watched`.
    y : array of shape (n_rows, ...)
    score : float
        The fold's score, which the mean of the rows' scores must equal.
    formula : callable or None
        See `row_formula`.
    classes : ndarray or None
        All classes of the data, into whose order columns are brought.
    """
    kind = next((name for name in METHODS if name in predicted), "")
    if not kind:
        return FoldRows()
    scores = None if formula is None else formula(predicted, y)
    if isinstance(formula, Delayed) and score == formula.before:
        scores = np.full(len(y), formula.before)
    if scores is not None and not is_mean(scores, score):
        scores = None
    predictions = predicted[kind]
    if kind != "predict" and classes is not None and predictions.ndim == 2:
        predictions = _in_order(predictions, getattr(estimator, "classes_", None), classes)
    return FoldRows(scores, predictions, kind)


def is_mean(scores: np.ndarray, score: float) -> bool:
    """Return whether ``score`` is the mean of ``scores``, but for rounding."""
    mean = scores.mean(dtype=np.float64)
    return bool(abs(mean - score) <= TOLERANCE * max(1.0, abs(score)))


def _in_order(predictions: np.ndarray, own: Any, classes: np.ndarray) -> np.ndarray:
    """Return columns in the order of all classes; those that a fold lacks are 0."""
    if predictions.shape[1] >= len(classes) or own is None or len(own) != predictions.shape[1]:
        return predictions
    places = np.searchsorted(classes, own)
    ordered = np.zeros((len(predictions), len(classes)), predictions.dtype)
    ordered[:, places] = predictions
    return ordered


_MOST_TARGETS = 50_000_000
"""Bytes of targets beyond which they are not kept."""


def study_rows(objective: Any) -> StudyRows:
    """Return the validated rows of an `Objective`, in the order of its folds."""
    valid = [rows for _, rows in objective.splits]
    rows = np.concatenate(valid)
    y = None if objective.y is None else np.asarray(as_numpy(objective.y))
    known = y is not None and y.ndim > 0 and y.nbytes <= _MOST_TARGETS
    groups = objective.groups
    return StudyRows(
        rows=rows,
        folds=np.repeat(np.arange(len(valid)), [len(each) for each in valid]),
        y=y[rows] if known and y is not None else None,
        classes=objective.classes,
        groups=None if groups is None else np.unique(groups, return_inverse=True)[1][rows],
    )


class RowRecorder:
    """Makes of the rows of all folds what a trial's reports carry.

    Parameters
    ----------
    n_rows : int
        Validated rows of all folds.

    """

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows
        self._scores: list[np.ndarray | None] = []
        self._unsent = 0
        self._best = -math.inf
        self._best_rows: ValidatedRows | None = None
        self._earlier: tuple[float, ValidatedRows] | None = None

    @property
    def state(self) -> tuple[Any, ...]:
        """The scores of all steps, the best score so far and its rows.

        A training that goes on in another process needs them in order to send them again.
        """
        return self._scores, self._best, self._best_rows

    def load_state(self, state: tuple[Any, ...]) -> None:
        """Go on from a `state`: the next report has the rows of its steps, too."""
        scores, self._best, self._best_rows = state
        self._scores, self._unsent = list(scores), len(scores)
        self._earlier = (self._best, self._best_rows) if self._best_rows else None

    def rows(self, report: Report, folds: Sequence[FoldRows], *, last: bool) -> ValidatedRows:
        """Return the rows of a report.

        Parameters
        ----------
        report : Report
        folds : sequence of FoldRows
        last : bool
            Whether it is the trial's last step, whose predictions are sent in any case.
        """
        self._scores.append(_joined([fold.scores for fold in folds], self._n_rows))
        self._unsent += 1
        unsent = self._scores[len(self._scores) - self._unsent :]
        self._unsent = 0
        known = [scores for scores in unsent if scores is not None]
        stacked = np.stack(known) if len(known) == len(unsent) else None
        earlier, self._earlier = self._earlier, None
        improved, self._best = report.value > self._best, max(self._best, report.value)
        kinds = {fold.kind for fold in folds}
        predictions = None
        if (improved or last) and len(kinds) == 1:
            predictions = _joined([fold.predictions for fold in folds], self._n_rows)
        kind = kinds.pop() if predictions is not None else ""
        rows = ValidatedRows(report.step, stacked, predictions, kind, earlier)
        if improved and predictions is not None:
            self._best_rows = replace(rows, scores=None, earlier=None)
        return rows


def _joined(parts: Sequence[np.ndarray | None], n_rows: int) -> np.ndarray | None:
    """Return the rows of all folds; None if a fold lacks them, or they are of different kinds."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or len({part.shape[1:] for part in known}) != 1:
        return None
    rows = np.concatenate(known)
    return rows if len(rows) == n_rows else None
