"""Out-of-fold predictions: what a trial predicted for the rows that its folds were validated on.

An executor sends them with its reports (`ValidatedRows`), the driver keeps them, and `OutOfFold` is
what the user gets.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["OutOfFold", "ValidatedRows"]


@dataclass(frozen=True, slots=True, eq=False)
class ValidatedRows:
    """What a trial did on each validated row, sent with a report.

    Rows stand in the order of the folds, and within a fold in that of its validation part.

    Parameters
    ----------
    step : int
        The report's step.
    scores : ndarray of shape (n_steps, n_rows) or None
        Each row's score at the last ``n_steps`` steps up to ``step``: usually at that one alone.
        The mean over the rows of a fold is the fold's score. None if the scorer is no mean over
        rows.
    predictions : ndarray of shape (n_rows, ...) or None
        Probabilities of the classes, decision values, or predictions; None if this step is neither
        the best one so far nor the last one.
    kind : str
        The method that made the predictions.
    earlier : (float, ValidatedRows) or None
        The best score of the steps before, and its rows with the predictions: sent by a training
        that goes on in another process, once.
    """

    step: int
    scores: np.ndarray | None
    predictions: np.ndarray | None = None
    kind: str = ""
    earlier: "tuple[float, ValidatedRows] | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class OutOfFold:
    """Predictions of a trial for rows that the predicting model was not trained on.

    Parameters
    ----------
    number : int
        Number of the trial.
    rows : ndarray of shape (n_rows,)
        Row numbers of the study's X. A row that several folds validate stands there several times.
    folds : ndarray of shape (n_rows,)
        Number of the fold that validated the row.
    kind : str
        The estimator's method: ``predict_proba``, ``decision_function`` or ``predict``.
    step : int
        The step (epoch) of ``predictions``: the trial's best one, or its last one.
    predictions : ndarray of shape (n_rows, ...)
        Columns of classes stand in the order of ``classes``.
    last_predictions : ndarray of shape (n_rows, ...)
        At the trial's last step.
    y : ndarray of shape (n_rows, ...) or None
        The targets of these rows.
    classes : ndarray of shape (n_classes,) or None
        Labels of the classes; None for a regression.
    """

    number: int
    rows: np.ndarray
    folds: np.ndarray
    kind: str
    step: int
    predictions: np.ndarray
    last_predictions: np.ndarray
    y: np.ndarray | None = None
    classes: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray:
        """Predicted labels of a classifier, of shape (n_rows,); otherwise the predictions."""
        return _labels(self.predictions, self.kind, self.classes)


def _labels(predictions: np.ndarray, kind: str, classes: Any) -> np.ndarray:
    """Return the labels that predictions of a kind stand for."""
    if kind == "predict" or classes is None:
        return predictions
    if predictions.ndim == 1:
        column = (predictions > (0 if kind == "decision_function" else 0.5)).astype(int)
    else:
        column = predictions.argmax(axis=1)
    labels: np.ndarray = np.asarray(classes)[column]
    return labels
