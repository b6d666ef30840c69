"""The rows of a validation part: what was predicted for each, and each one's share of the score."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin

from hpo.out_of_fold import ValidatedRows
from hpo.out_of_fold_files import StudyRows
from hpo.training.indexing import as_numpy
from hpo.training.scorer_parts import is_the_scorer
from hpo.training.scoring import Scoring
from hpo.trial import Report

__all__ = [
    "FoldRows",
    "Predicted",
    "RowFormula",
    "RowRecorder",
    "predictions_of",
    "row_formula",
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


Predicted = dict[str, np.ndarray]
"""Predictions by the name of the method that made them."""


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


def predictions_of(estimator: Any, X: Any, n_rows: int) -> Predicted:
    """Return what an estimator predicts, for scorers of the user, which may predict anything."""
    name = next((name for name in METHODS if hasattr(estimator, name)), "")
    try:
        values = getattr(estimator, name)(X) if name else None
    except Exception:  # the user's scorer may do without it
        values = None
    return {name: values} if isinstance(values, np.ndarray) and len(values) == n_rows else {}


def rows_of(
    estimator: Any,
    predicted: Predicted,
    y: Any,
    *,
    score: float,
    formula: "RowFormula | None",
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
    y = as_numpy(objective.y)
    known = isinstance(y, np.ndarray) and y.nbytes <= _MOST_TARGETS and y.dtype != object
    groups = objective.groups
    return StudyRows(
        rows=rows,
        folds=np.repeat(np.arange(len(valid)), [len(each) for each in valid]),
        y=y[rows] if known else None,
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

    @property
    def state(self) -> tuple[list[np.ndarray | None], float]:
        """The scores of all steps, and the best score so far.

        A training that goes on in another process needs them in order to send them again.
        """
        return self._scores, self._best

    def load_state(self, state: tuple[list[np.ndarray | None], float]) -> None:
        """Go on from a `state`: the next report has the scores of its steps, too."""
        scores, self._best = state
        self._scores, self._unsent = list(scores), len(scores)

    def rows(self, report: Report, folds: Sequence[FoldRows], *, last: bool) -> ValidatedRows:
        """Return the rows of a report.

        Parameters
        ----------
        report : Report
        folds : sequence of FoldRows
        last : bool
            Whether it is the trial's last step, whose predictions are sent in any case.
        """
        self._scores.append(joined([fold.scores for fold in folds], self._n_rows))
        self._unsent += 1
        unsent = self._scores[len(self._scores) - self._unsent :]
        self._unsent = 0
        known = [scores for scores in unsent if scores is not None]
        stacked = np.stack(known) if len(known) == len(unsent) else None
        improved, self._best = report.value > self._best, max(self._best, report.value)
        if not (improved or last):
            return ValidatedRows(report.step, stacked)
        kinds = {fold.kind for fold in folds}
        predictions = joined([fold.predictions for fold in folds], self._n_rows)
        if len(kinds) > 1 or predictions is None:
            return ValidatedRows(report.step, stacked)
        return ValidatedRows(report.step, stacked, predictions, kinds.pop())


def joined(parts: Sequence[np.ndarray | None], n_rows: int) -> np.ndarray | None:
    """Return the rows of all folds; None if a fold lacks them, or they are of different kinds."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or len({part.shape[1:] for part in known}) != 1:
        return None
    rows = np.concatenate(known)
    return rows if len(rows) == n_rows else None


# -- scores that are means over the rows ---------------------------------------------------------

RowFormula = Callable[[Predicted, Any], np.ndarray | None]
"""Returns each row's score from the predictions and y, of shape (n_rows,); None if it cannot."""


def row_formula(scoring: Scoring, estimator: Any) -> RowFormula | None:
    """Return the formula of each row's score if the trial's score is a mean over rows, else None.

    Parameters
    ----------
    scoring : Scoring
    estimator : estimator
        Its own ``score`` counts where there is no scorer.
    """
    if not scoring.looks_at_predictions_only:
        return None
    scorer = scoring.scorers().get(scoring.metric)
    if scorer is None:
        method = getattr(type(estimator), "score", None)
        if method is ClassifierMixin.score:
            return _FORMULAS["accuracy"]
        return None
    return next((f for name, f in _FORMULAS.items() if is_the_scorer(scorer, name)), None)


def _accuracy(predicted: Predicted, y: Any) -> np.ndarray | None:
    labels = predicted.get("predict")
    if labels is None or labels.shape != np.shape(y):
        return None
    right: np.ndarray = np.asarray(labels == y)
    return right if right.ndim == 1 else np.asarray(right.all(axis=1))


def _neg_log_loss(predicted: Predicted, y: Any) -> np.ndarray | None:
    proba = predicted.get("predict_proba")
    if proba is None or proba.ndim != 2 or np.ndim(y) != 1:
        return None
    labels, columns = np.unique(y, return_inverse=True)
    if len(labels) != proba.shape[1]:
        return None
    eps = np.finfo(proba.dtype).eps
    total = proba.sum(axis=1)
    return np.asarray(np.log(np.clip(proba[np.arange(len(y)), columns] / total, eps, 1 - eps)))


def _neg_mean_squared_error(predicted: Predicted, y: Any) -> np.ndarray | None:
    error = _errors(predicted, y)
    return None if error is None else -_per_row(error * error)


def _neg_mean_absolute_error(predicted: Predicted, y: Any) -> np.ndarray | None:
    error = _errors(predicted, y)
    return None if error is None else -_per_row(np.abs(error))


def _errors(predicted: Predicted, y: Any) -> np.ndarray | None:
    values = predicted.get("predict")
    if values is None or values.shape != np.shape(y):
        return None
    return np.asarray(values, dtype=np.float64) - np.asarray(y, dtype=np.float64)


def _per_row(values: np.ndarray) -> np.ndarray:
    mean: np.ndarray = values.reshape(len(values), -1).mean(axis=1)
    return mean


_FORMULAS: Mapping[str, RowFormula] = {
    "accuracy": _accuracy,
    "neg_log_loss": _neg_log_loss,
    "neg_mean_squared_error": _neg_mean_squared_error,
    "neg_mean_absolute_error": _neg_mean_absolute_error,
}
