"""Scores of many models from their outputs, as scikit-learn's scorers would give them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor

from hpo.executors.fused.data import in_shape_of_target
from hpo.training.scorer_parts import is_the_scorer
from hpo.training.scoring import Scoring

__all__ = ["batch_scores"]


class _JudgedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier whose predictions are known: whatever X, it returns them.

    With a threshold it is skorch's binary classifier.
    """

    def __init__(self, proba: Any = None, classes: Any = None, threshold: Any = None) -> None:
        self.proba = proba
        self.classes = classes
        self.threshold = threshold

    @property
    def classes_(self) -> Any:
        return self.classes

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: Any) -> Any:
        if self.threshold is not None:
            return _above(self.threshold, self.proba)
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


def batch_scores(
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
    shown = in_shape_of_target(nets[0], _shown(nets[0], outputs), np.ndim(y[0]))
    return [
        _judge_fold(scoring, nets, shown[i][:, : len(labels)], labels) for i, labels in enumerate(y)
    ]


def _judge_fold(
    scoring: Scoring, nets: Sequence[Any], shown: torch.Tensor, labels: Any
) -> list[dict[str, float]]:
    # scikit-learn says what is wrong with outputs that are no numbers.
    sound = shown.isfinite().flatten(1).all(1)
    quick = None
    if sound.all():
        quick = _quick(scoring, nets, shown, labels)
    elif sound.any():
        some = [net for net, is_sound in zip(nets, sound.tolist(), strict=True) if is_sound]
        quick = _quick(scoring, some, shown[sound], labels)
    known = iter(quick or ())
    return [
        next(known)
        if quick is not None and is_sound
        else scoring(_judged(net, shown[j].cpu().numpy()), labels, labels)
        for j, (net, is_sound) in enumerate(zip(nets, sound.tolist(), strict=True))
    ]


def _shown(net: Any, outputs: torch.Tensor) -> torch.Tensor:
    """Return what ``predict_proba`` or ``predict`` of a net returns."""
    nonlinearity = net._get_predict_nonlinearity()
    flat = outputs.flatten(0, 2)
    values: torch.Tensor = nonlinearity(flat)  # which may add columns
    values = values.reshape(*outputs.shape[:3], *values.shape[1:])
    return values.float() if values.dtype == torch.bfloat16 else values


def _judged(net: Any, values: np.ndarray) -> Any:
    if isinstance(net, NeuralNetBinaryClassifier):
        return _JudgedClassifier(values, net.classes_, net.threshold)
    if isinstance(net, NeuralNetClassifier):
        return _JudgedClassifier(values, net.classes_)
    return _JudgedRegressor(values)


def _above(threshold: Any, proba: np.ndarray) -> Any:
    """Return labels as skorch's binary classifier does: NumPy compares, by the types of both."""
    return (proba[:, 1] > threshold).astype("uint8")


def _labels(nets: Sequence[Any], shown: torch.Tensor) -> torch.Tensor:
    """Return the labels that classifiers predict, each by its own threshold."""
    if not isinstance(nets[0], NeuralNetBinaryClassifier):
        return shown.argmax(-1)
    proba = shown.cpu().numpy()
    above = [_above(net.threshold, values) for net, values in zip(nets, proba, strict=True)]
    return torch.as_tensor(np.stack(above), device=shown.device)


# -- the usual scorers on all models at once: (n_models, n_samples, ...) to (n_models,) --


def _accuracy(labels: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return _mean_over_samples(labels == y)


def _balanced_accuracy(labels: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    right = labels == y
    return torch.stack([_mean_over_samples(right[:, y == k]) for k in torch.unique(y)]).mean(0)


def _neg_log_loss(proba: torch.Tensor, y: torch.Tensor) -> torch.Tensor | None:
    labels, columns = torch.unique(y, return_inverse=True)
    if len(labels) != proba.shape[-1]:
        return None
    eps = torch.finfo(proba.dtype).eps
    own = proba.gather(-1, columns.expand(proba.shape[:2]).unsqueeze(-1))
    return _mean_over_samples(own.clamp(eps, 1 - eps).log())


def _roc_auc(proba: torch.Tensor, y: torch.Tensor) -> torch.Tensor | None:
    """Return the share of pairs in the right order, by ranks (Hanley and McNeil 1982)."""
    labels = torch.unique(y)
    if proba.shape[-1] != 2 or len(labels) != 2:
        return None
    positive = (y == labels[1]).cpu().numpy()
    n, n_positive = len(positive), int(positive.sum())
    ranks = rankdata(proba[..., 1].cpu().numpy(), axis=-1)[:, positive].sum(-1)
    pairs = n_positive * (n - n_positive)
    return torch.as_tensor((ranks - n_positive * (n_positive + 1) / 2) / pairs)


def _neg_mean_squared_error(predicted: torch.Tensor, y: torch.Tensor) -> torch.Tensor | None:
    return _mean_over_samples(-(predicted - y).square()) if _fits(predicted, y) else None


def _neg_mean_absolute_error(predicted: torch.Tensor, y: torch.Tensor) -> torch.Tensor | None:
    return _mean_over_samples(-(predicted - y).abs()) if _fits(predicted, y) else None


def _r2(predicted: torch.Tensor, y: torch.Tensor) -> torch.Tensor | None:
    spread = (y - y.mean(0)).square().sum(0, dtype=torch.float64)
    if not _fits(predicted, y) or len(y) < 2 or not (spread > 0).all():
        return None
    rest = (predicted - y).square().sum(1, dtype=torch.float64)
    return (1 - rest / spread).reshape(len(predicted), -1).mean(-1)


def _fits(predicted: torch.Tensor, y: torch.Tensor) -> bool:
    return predicted.shape[1:] == y.shape


def _mean_over_samples(values: torch.Tensor) -> torch.Tensor:
    return values.reshape(len(values), -1).mean(-1, dtype=torch.float64)


_Quick = Callable[[torch.Tensor, torch.Tensor], torch.Tensor | None]

_CLASSIFYING: Mapping[str, _Quick] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "neg_log_loss": _neg_log_loss,
    "roc_auc": _roc_auc,
}
_OF_LABELS = {_accuracy, _balanced_accuracy}
_REGRESSING: Mapping[str, _Quick] = {
    "neg_mean_squared_error": _neg_mean_squared_error,
    "neg_mean_absolute_error": _neg_mean_absolute_error,
    "r2": _r2,
}


def _quick(
    scoring: Scoring, nets: Sequence[Any], shown: torch.Tensor, labels: Any
) -> list[dict[str, float]] | None:
    """Return the scores by a formula over all models, or None where one is not known."""
    y = torch.as_tensor(np.asarray(labels), device=shown.device)
    if isinstance(nets[0], NeuralNetRegressor) and not y.is_floating_point():
        y = y.double()
    columns = {}
    for name, scorer in scoring.scorers().items():
        function = _function(scorer, nets[0])
        given = _labels(nets, shown) if function in _OF_LABELS else shown
        column = function(given, y) if function else None
        if column is None:
            return None
        columns[name] = column.tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _function(scorer: Any, net: Any) -> _Quick | None:
    known = _REGRESSING if isinstance(net, NeuralNetRegressor) else _CLASSIFYING
    if scorer is None:
        own = {ClassifierMixin.score: _accuracy, RegressorMixin.score: _r2}
        return own.get(type(net).score)
    return next((quick for name, quick in known.items() if is_the_scorer(scorer, name)), None)
