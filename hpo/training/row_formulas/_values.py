"""Rows' shares of scores of probabilities and decision values."""

from typing import Any

import numpy as np
from scipy.stats import rankdata

from hpo.training.row_formulas._base import Predicted, RowFormula

__all__ = [
    "average_precision",
    "neg_brier_score",
    "neg_log_loss",
    "one_against_rest",
    "roc_auc",
    "top_2_accuracy",
]


def neg_log_loss(predicted: Predicted, y: Any) -> np.ndarray | None:
    """Return the logarithm of the probability of each row's class."""
    proba, columns = _probabilities(predicted, y)
    if proba is None:
        return None
    eps = np.finfo(proba.dtype).eps
    of_target = proba[np.arange(len(columns)), columns] / proba.sum(axis=1)
    return np.asarray(np.log(np.clip(of_target, eps, 1 - eps)))


def neg_brier_score(predicted: Predicted, y: Any) -> np.ndarray | None:
    """Return the negative squared errors of the probability of the second of two classes."""
    proba, columns = _probabilities(predicted, y)
    if proba is None or proba.shape[1] != 2:
        return None
    return np.asarray(-((proba[:, 1] - columns) ** 2))


def top_2_accuracy(predicted: Predicted, y: Any) -> np.ndarray | None:
    """Return whether a row's class is among the two with the greatest values."""
    asked = predicted.get("decision_function", predicted.get("predict_proba"))
    values, columns = _of_classes(asked, y)
    if values is None or values.shape[1] < 3:
        return None
    order = np.argsort(values, axis=1, kind="mergesort")[
        :, ::-1
    ]  # ties as scikit-learn breaks them
    return np.asarray((order[:, :2] == columns[:, None]).any(axis=1))


def roc_auc(predicted: Predicted, y: Any) -> np.ndarray | None:
    """Return the shares of the area under the ROC curve of two classes."""
    values, columns = _values_of_second(predicted, y)
    return None if values is None else _area(values, columns == 1)


def one_against_rest(*, weighted: bool) -> RowFormula:
    """Return the formula of the mean area under the ROC curves of each class against the rest."""

    def formula(predicted: Predicted, y: Any) -> np.ndarray | None:
        proba, columns = _probabilities(predicted, y)
        if proba is None:
            return None
        if proba.shape[1] == 2:  # each against the other is the same area twice
            return roc_auc(predicted, y)
        is_so = columns[:, None] == np.arange(proba.shape[1])
        rows = np.array([_area(proba[:, i], is_so[:, i]) for i in range(proba.shape[1])])
        if not weighted:
            return np.asarray(rows.mean(axis=0))
        weights = is_so.mean(axis=0)
        return np.asarray(weights @ rows + (is_so - weights) @ rows.mean(axis=1))

    return formula


def average_precision(predicted: Predicted, y: Any) -> np.ndarray | None:
    """Return the shares of the average precision of two classes.

    It is the mean over the positive rows of the precision at their values; its derivative by the
    weight of a row is written out.
    """
    values, columns = _values_of_second(predicted, y)
    if values is None:
        return None
    positive = columns == 1
    _, place, n_at = np.unique(-values, return_inverse=True, return_counts=True)  # greatest first
    n_above = np.cumsum(n_at)
    positives_at = np.bincount(place, weights=positive)
    precision = np.cumsum(positives_at) / n_above
    average = precision[place][positive].mean()
    # Of each value: what a row there changes at all smaller ones, and at its own.
    by_positive = np.cumsum((positives_at / n_above)[::-1])[::-1]
    by_any = np.cumsum((positives_at * precision / n_above)[::-1])[::-1]
    change = positive * (precision[place] - average + by_positive[place]) - by_any[place]
    return np.asarray(average + change * (len(values) / positive.sum()))


def _area(values: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return the shares of an area from placements: of a positive, how many negatives are below."""
    n, n_positive = len(values), int(positive.sum())
    ranks = rankdata(values)
    placements = np.empty(n)
    placements[positive] = (ranks[positive] - rankdata(values[positive])) / (n - n_positive)
    below = ranks[~positive] - rankdata(values[~positive])
    placements[~positive] = 1 - below / n_positive
    area = placements[positive].mean()
    share = np.where(positive, n_positive, n - n_positive) / n
    return np.asarray(area + (placements - area) / share)


def _probabilities(predicted: Predicted, y: Any) -> tuple[np.ndarray | None, np.ndarray]:
    """Return probabilities, (n_rows, n_classes), and the column of each row's class.

    None if there are none, or not one column for each class of y.
    """
    return _of_classes(predicted.get("predict_proba"), y)


def _of_classes(values: np.ndarray | None, y: Any) -> tuple[np.ndarray | None, np.ndarray]:
    if values is None or values.ndim != 2 or np.ndim(y) != 1:
        return None, np.empty(0, dtype=int)
    labels, columns = np.unique(y, return_inverse=True)
    return (values if len(labels) == values.shape[1] else None), columns


def _values_of_second(predicted: Predicted, y: Any) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the values of the second of two classes, and the column of each row's class."""
    values = predicted.get("decision_function")
    if values is None:
        proba = predicted.get("predict_proba")
        values = proba[:, 1] if proba is not None and proba.ndim == 2 else None
    if values is None or values.ndim != 1 or np.ndim(y) != 1:
        return None, np.empty(0, dtype=int)
    labels, columns = np.unique(y, return_inverse=True)
    return (values if len(labels) == 2 else None), columns
