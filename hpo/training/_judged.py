"""Scores of many models from their outputs, as scikit-learn's scorers would give them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from skorch import NeuralNetClassifier, NeuralNetRegressor

from hpo.training.scoring import Scoring

__all__ = ["judge"]


class _JudgedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier whose predictions are known: whatever X, it returns them."""

    def __init__(self, proba: Any = None, classes: Any = None) -> None:
        self.proba = proba
        self.classes = classes

    @property
    def classes_(self) -> Any:
        return self.classes

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: Any) -> Any:
        return self.proba.argmax(axis=1)  # skorch's predict, which knows no other labels

    def predict_proba(self, X: Any) -> Any:
        return self.proba


class _JudgedRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted regressor whose predictions are known."""

    def __init__(self, predictions: Any = None) -> None:
        self.predictions = predictions

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: Any) -> Any:
        return self.predictions


def judge(
    scoring: Scoring, nets: Sequence[Any], outputs: torch.Tensor, y: Sequence[Any]
) -> list[list[dict[str, float]]]:
    """Return the scores of all models.

    Parameters
    ----------
    scoring : Scoring
        Of scikit-learn's scorers alone.
    nets : sequence of skorch net
        Of each model one, which says how outputs become predictions.
    outputs : tensor of shape (n_folds, n_models, n_longest, ...)
        Of the modules, for validation parts that are filled up to one length.
    y : sequence of array
        Labels of each fold's validation part.

    Returns
    -------
    list of list of dict of str to float
        By fold, then by model.
    """
    shown = _shown(nets[0], outputs)
    quick = _quick(scoring, nets[0], shown, y)
    if quick is not None:
        return quick
    return [
        [
            scoring(_judged(net, shown[i, j][: len(labels)]), labels, labels)
            for j, net in enumerate(nets)
        ]
        for i, labels in enumerate(y)
    ]


def _shown(net: Any, outputs: torch.Tensor) -> np.ndarray:
    """Return what ``predict_proba`` or ``predict`` of a net returns."""
    nonlinearity = net._get_predict_nonlinearity()
    flat = outputs.flatten(0, 2)
    values = nonlinearity(flat).reshape(*outputs.shape[:3], *flat.shape[1:])
    array: np.ndarray = (
        values.float().cpu().numpy() if values.dtype == torch.bfloat16 else values.cpu().numpy()
    )
    return array


def _judged(net: Any, values: np.ndarray) -> Any:
    if isinstance(net, NeuralNetClassifier):
        return _JudgedClassifier(values, net.classes_)
    return _JudgedRegressor(values)


# -- the usual scorers, on all models at once -------------------------------------------------


def _accuracy(proba: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray((proba.argmax(-1) == y).mean(-1))


def _balanced_accuracy(proba: np.ndarray, y: np.ndarray) -> np.ndarray:
    right = proba.argmax(-1) == y
    return np.asarray(np.mean([right[:, y == label].mean(-1) for label in np.unique(y)], axis=0))


def _neg_mean_squared_error(predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(-np.square(predicted - y).reshape(len(predicted), -1).mean(-1))


def _neg_mean_absolute_error(predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(-np.abs(predicted - y).reshape(len(predicted), -1).mean(-1))


_Quick = Callable[[np.ndarray, np.ndarray], np.ndarray]

_CLASSIFYING: Mapping[str, _Quick] = {
    "accuracy_score": _accuracy,
    "balanced_accuracy_score": _balanced_accuracy,
}
_REGRESSING: Mapping[str, _Quick] = {
    "mean_squared_error": _neg_mean_squared_error,
    "mean_absolute_error": _neg_mean_absolute_error,
}


def _quick(
    scoring: Scoring, net: Any, shown: np.ndarray, y: Sequence[Any]
) -> list[list[dict[str, float]]] | None:
    """Return the scores by a formula over all models, or None where one is not known."""
    functions = {name: _function(scorer, net) for name, scorer in scoring.scorers().items()}
    if not all(functions.values()):
        return None
    result = []
    for i, labels in enumerate(y):
        values = shown[i][:, : len(labels)]
        if not np.isfinite(values).all():
            return None  # scikit-learn says what is wrong with each
        columns = {
            name: function(values, np.asarray(labels))
            for name, function in functions.items()
            if function
        }
        result.append(
            [
                {name: float(column[j]) for name, column in columns.items()}
                for j in range(len(values))
            ]
        )
    return result


def _function(scorer: Any, net: Any) -> _Quick | None:
    if scorer is None:
        return _accuracy if type(net).score is ClassifierMixin.score else None
    name = getattr(getattr(scorer, "_score_func", None), "__name__", "")
    if getattr(scorer, "_kwargs", True):
        return None
    known = _REGRESSING if isinstance(net, NeuralNetRegressor) else _CLASSIFYING
    return known.get(name)
