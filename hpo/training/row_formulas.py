"""Scores as means over rows: each row's share, for the scorers for which that is known.

Accuracy or a squared error is a mean over rows. A score that is a smooth function of such means
(an F1 score, an AUC, R2) has a linear approximation, whose rows have exactly the score as their
mean, and vary with the drawn rows as the score does (Efron 1982: The Jackknife, the Bootstrap and
Other Resampling Plans, chapter 6: the infinitesimal jackknife). The mean is checked against the
scorer wherever a formula is used.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.base import is_classifier, is_regressor

from hpo.training.scorer_parts import is_the_scorer
from hpo.training.scoring import Scoring

__all__ = ["Predicted", "RowFormula", "row_formula"]

Predicted = dict[str, np.ndarray]
"""Predictions by the name of the method that made them."""

RowFormula = Callable[[Predicted, Any], np.ndarray | None]
"""Returns each row's share of the score, (n_rows,), from predictions and y; None if it cannot."""


def row_formula(scoring: Scoring, estimator: Any) -> RowFormula | None:
    """Return the formula of the rows of the trial's score; None if none is known.

    Parameters
    ----------
    scoring : Scoring
    estimator : estimator
        Its own ``score`` counts where there is no scorer.
    """
    if not scoring.looks_at_predictions_only:
        return None
    scorer = scoring.scorers().get(scoring.metric)
    if scorer is None:  # the estimator's own, which is one of these as a rule; that is checked
        if is_classifier(estimator):
            return _accuracy
        return _r2 if is_regressor(estimator) else None
    return next((f for name, f in _FORMULAS.items() if is_the_scorer(scorer, name)), None)


# -- of predicted labels -------------------------------------------------------------------------


def _accuracy(predicted: Predicted, y: Any) -> np.ndarray | None:
    labels = predicted.get("predict")
    if labels is None or labels.shape != np.shape(y):
        return None
    right: np.ndarray = np.asarray(labels == y)
    return right if right.ndim == 1 else np.asarray(right.all(axis=1))


def _balanced_accuracy(predicted: Predicted, y: Any) -> np.ndarray | None:
    right = _accuracy(predicted, y)
    if right is None or np.ndim(y) != 1:
        return None
    _, of_row, n_rows = np.unique(y, return_inverse=True, return_counts=True)
    shares: np.ndarray = right * (len(y) / (len(n_rows) * n_rows[of_row]))
    return shares


def _ratio(true_weight: float, predicted_weight: float) -> RowFormula:
    """Return the formula of the positive class's F1 score, precision or recall."""

    def formula(predicted: Predicted, y: Any) -> np.ndarray | None:
        labels = predicted.get("predict")
        if labels is None or labels.shape != np.shape(y) or np.ndim(y) != 1:
            return None
        return _share_of(labels == 1, np.asarray(y) == 1, true_weight, predicted_weight)

    return formula


def _share_of(
    said: np.ndarray, is_so: np.ndarray, true_weight: float, predicted_weight: float
) -> np.ndarray:
    """Return the rows of ``hits / (true_weight * positives + predicted_weight * predicted)``."""
    hits = (said & is_so).astype(float)
    below = true_weight * is_so + predicted_weight * said
    total = below.sum()
    if not total:
        return np.zeros(len(said))
    ratio = hits.sum() / total
    rows: np.ndarray = ratio + (hits - ratio * below) * (len(said) / total)
    return rows


def _f1_macro(predicted: Predicted, y: Any) -> np.ndarray | None:
    labels = predicted.get("predict")
    if labels is None or labels.shape != np.shape(y) or np.ndim(y) != 1:
        return None
    classes = np.union1d(labels, y)
    rows = [_share_of(labels == each, np.asarray(y) == each, 0.5, 0.5) for each in classes]
    mean: np.ndarray = np.mean(rows, axis=0)
    return mean


# -- of probabilities and decision values --------------------------------------------------------


def _neg_log_loss(predicted: Predicted, y: Any) -> np.ndarray | None:
    proba = predicted.get("predict_proba")
    if proba is None or proba.ndim != 2 or np.ndim(y) != 1:
        return None
    labels, columns = np.unique(y, return_inverse=True)
    if len(labels) != proba.shape[1]:
        return None
    eps = np.finfo(proba.dtype).eps
    of_target = proba[np.arange(len(y)), columns] / proba.sum(axis=1)
    return np.asarray(np.log(np.clip(of_target, eps, 1 - eps)))


def _neg_brier_score(predicted: Predicted, y: Any) -> np.ndarray | None:
    proba = predicted.get("predict_proba")
    labels, columns = np.unique(y, return_inverse=True)
    if proba is None or proba.ndim != 2 or np.ndim(y) != 1 or proba.shape[1] != 2 != len(labels):
        return None
    return np.asarray(-((proba[:, 1] - columns) ** 2))


def _roc_auc(predicted: Predicted, y: Any) -> np.ndarray | None:
    """Return the shares from placements: of a positive row, how many negatives are below it."""
    values = predicted.get("decision_function")
    if values is None:
        proba = predicted.get("predict_proba")
        values = proba[:, 1] if proba is not None and proba.ndim == 2 else None
    labels, columns = np.unique(y, return_inverse=True)
    if values is None or values.ndim != 1 or np.ndim(y) != 1 or len(labels) != 2:
        return None
    positive = columns == 1
    n, n_positive = len(y), int(positive.sum())
    ranks = rankdata(values)
    placements = np.empty(n)
    placements[positive] = (ranks[positive] - rankdata(values[positive])) / (n - n_positive)
    below = ranks[~positive] - rankdata(values[~positive])
    placements[~positive] = 1 - below / n_positive
    area = placements[positive].mean()
    share = np.where(positive, n_positive, n - n_positive) / n
    rows: np.ndarray = area + (placements - area) / share
    return rows


# -- of regressions ------------------------------------------------------------------------------


def _neg_mean_squared_error(predicted: Predicted, y: Any) -> np.ndarray | None:
    errors = _errors(predicted, y)
    return None if errors is None else -_per_row(errors**2)


def _neg_mean_absolute_error(predicted: Predicted, y: Any) -> np.ndarray | None:
    errors = _errors(predicted, y)
    return None if errors is None else -_per_row(np.abs(errors))


def _neg_root_mean_squared_error(predicted: Predicted, y: Any) -> np.ndarray | None:
    errors = _errors(predicted, y)
    if errors is None or errors.ndim != 1:
        return None
    squares = errors**2
    root = np.sqrt(squares.mean())
    return np.asarray(-(root + (squares - root**2) / (2 * root)) if root else -squares)


def _r2(predicted: Predicted, y: Any) -> np.ndarray | None:
    errors = _errors(predicted, y)
    if errors is None or errors.ndim != 1:
        return None
    spread = (np.asarray(y, dtype=float) - np.mean(y)) ** 2
    if not spread.sum():
        return None
    rest = errors**2
    ratio = rest.sum() / spread.sum()
    rows: np.ndarray = 1 - ratio - (rest - ratio * spread) / spread.mean()
    return rows


def _errors(predicted: Predicted, y: Any) -> np.ndarray | None:
    values = predicted.get("predict")
    if values is None or values.shape != np.shape(y):
        return None
    errors: np.ndarray = np.asarray(values, dtype=float) - np.asarray(y, dtype=float)
    return errors


def _per_row(values: np.ndarray) -> np.ndarray:
    mean: np.ndarray = values.reshape(len(values), -1).mean(axis=1)
    return mean


_FORMULAS: Mapping[str, RowFormula] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _ratio(0.5, 0.5),
    "precision": _ratio(0.0, 1.0),
    "recall": _ratio(1.0, 0.0),
    "f1_macro": _f1_macro,
    "neg_log_loss": _neg_log_loss,
    "neg_brier_score": _neg_brier_score,
    "roc_auc": _roc_auc,
    "neg_mean_squared_error": _neg_mean_squared_error,
    "neg_mean_absolute_error": _neg_mean_absolute_error,
    "neg_root_mean_squared_error": _neg_root_mean_squared_error,
    "r2": _r2,
}
