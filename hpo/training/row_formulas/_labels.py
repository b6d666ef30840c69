"""Rows' shares of scores of predicted labels."""

from collections.abc import Callable
from typing import Any

import numpy as np

from hpo.training.row_formulas._base import Predicted, RowFormula

__all__ = ["accuracy", "balanced_accuracy", "matthews", "of_positive", "over_classes"]


def accuracy(predicted: Predicted, y: Any) -> np.ndarray | None:
    """Return whether each row, or all of its labels, are right."""
    labels = predicted.get("predict")
    if labels is None or labels.shape != np.shape(y):
        return None
    right: np.ndarray = np.asarray(labels == y)
    return right if right.ndim == 1 else np.asarray(right.all(axis=1))


def balanced_accuracy(predicted: Predicted, y: Any) -> np.ndarray | None:
    """Return the shares of the mean recall over the classes of y."""
    right = accuracy(predicted, y)
    if right is None or np.ndim(y) != 1:
        return None
    _, of_row, n_rows = np.unique(y, return_inverse=True, return_counts=True)
    shares: np.ndarray = right * (len(y) / (len(n_rows) * n_rows[of_row]))
    return shares


Below = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""What the hits are divided by, row by row: from whether a row is said to be of the class, and is.
"""

BELOW: dict[str, Below] = {
    "precision": lambda said, is_so: said.astype(float),
    "recall": lambda said, is_so: is_so.astype(float),
    "f1": lambda said, is_so: (said.astype(float) + is_so) / 2,
    "jaccard": lambda said, is_so: (said | is_so).astype(float),
}


def of_positive(score: str) -> RowFormula:
    """Return the formula of a score of the class 1: precision, recall, f1 or jaccard."""

    def formula(predicted: Predicted, y: Any) -> np.ndarray | None:
        labels = _one_label(predicted, y)
        return None if labels is None else _ratio(labels == 1, np.asarray(y) == 1, BELOW[score])

    return formula


def over_classes(score: str, average: str) -> RowFormula:
    """Return the formula of a score over all classes: ``macro``, ``micro`` or ``weighted``."""

    def formula(predicted: Predicted, y: Any) -> np.ndarray | None:
        labels = _one_label(predicted, y)
        if labels is None:
            return None
        classes = np.union1d(labels, y)
        said, is_so = labels[:, None] == classes, np.asarray(y)[:, None] == classes
        below = BELOW[score]
        if average == "micro":
            return _shares((said & is_so).sum(axis=1), below(said, is_so).sum(axis=1))
        rows = [_ratio(said[:, i], is_so[:, i], below) for i in range(len(classes))]
        if average == "macro":
            return np.asarray(np.mean(rows, axis=0))
        # A weight is a share of the rows: it varies, too.
        weights, scores = is_so.mean(axis=0), np.mean(rows, axis=1)
        return np.asarray(weights @ np.array(rows) + (is_so - weights) @ scores)

    return formula


def matthews(predicted: Predicted, y: Any) -> np.ndarray | None:
    """Return the shares of Matthews' correlation coefficient (Gorodkin 2004, section 2)."""
    labels = _one_label(predicted, y)
    if labels is None:
        return None
    classes = np.union1d(labels, y)
    said, is_so = labels[:, None] == classes, np.asarray(y)[:, None] == classes
    p, t, hits = said.mean(axis=0), is_so.mean(axis=0), np.asarray(labels == y)
    above, of_said, of_so = hits.mean() - p @ t, 1 - p @ p, 1 - t @ t
    if not of_said * of_so:
        return np.zeros(len(labels))
    value = above / np.sqrt(of_said * of_so)
    d_said, d_so = said - p, is_so - t
    d_above = hits - hits.mean() - d_so @ p - d_said @ t
    d_below = -2 * (d_said @ p / of_said + d_so @ t / of_so)
    return np.asarray(value + d_above / np.sqrt(of_said * of_so) - value / 2 * d_below)


def _one_label(predicted: Predicted, y: Any) -> np.ndarray | None:
    """Return the predicted labels, one a row; None if there is not one a row."""
    labels = predicted.get("predict")
    return None if labels is None or labels.shape != np.shape(y) or np.ndim(y) != 1 else labels


def _ratio(said: np.ndarray, is_so: np.ndarray, below: Below) -> np.ndarray:
    return _shares(said & is_so, below(said, is_so))


def _shares(hits: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return the shares of ``sum(hits) / sum(below)``; of 0 if both are."""
    total = below.sum()
    if not total:
        return np.zeros(len(hits))
    ratio = hits.sum() / total
    return np.asarray(ratio + (hits - ratio * below) * (len(hits) / total))
