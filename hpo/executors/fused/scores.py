"""Scores of many models from their outputs, as scikit-learn's scorers would compute them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor

from hpo.executors.fused.data import in_shape_of_target
from hpo.training.row_formulas import RowFormula
from hpo.training.row_scores import FoldRows, rows_of
from hpo.training.scorer_parts import is_the_scorer
from hpo.training.scoring import Scoring

__all__ = ["batch_predictions", "batch_rows", "batch_scores", "scores_of_predictions"]


class _JudgedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier that returns given predictions, whatever X is.

    With a threshold it behaves like skorch's binary classifier.
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
        return self.proba.argmax(axis=1)  # as skorch's predict, which returns indices

    def predict_proba(self, X: Any) -> Any:
        return self.proba


class _JudgedRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted regressor that returns given predictions, whatever X is."""

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
        Uses scikit-learn's scorers only.
    nets : sequence of skorch net
        One per model, which defines how outputs become predictions.
    outputs : tensor of shape (n_folds, n_models, n_longest, ...)
        Outputs of the modules for validation parts that are padded to one length.
    y : sequence of array
        Labels of each fold's validation part.

    Returns
    -------
    list of list of dict of str to float
        By fold, then by model.
    """
    return scores_of_predictions(scoring, nets, batch_predictions(nets, outputs, y), y)


def scores_of_predictions(
    scoring: Scoring, nets: Sequence[Any], predictions: Sequence[torch.Tensor], y: Sequence[Any]
) -> list[list[dict[str, float]]]:
    """Return what `batch_scores` does, from what `batch_predictions` has returned."""
    return [
        _score_fold(scoring, nets, of_fold, labels)
        for of_fold, labels in zip(predictions, y, strict=True)
    ]


def batch_predictions(
    nets: Sequence[Any], outputs: torch.Tensor, y: Sequence[Any]
) -> list[torch.Tensor]:
    """Return what each model predicts for each fold's validation part.

    Parameters
    ----------
    nets, outputs, y
        See `batch_scores`.

    Returns
    -------
    list of tensor of shape (n_models, n_rows, ...)
        By fold: probabilities of a classifier, values of a regressor.
    """
    predictions = in_shape_of_target(nets[0], _predictions(nets[0], outputs), np.ndim(y[0]))
    return [predictions[i][:, : len(labels)] for i, labels in enumerate(y)]


def batch_rows(
    nets: Sequence[Any],
    predictions: Sequence[torch.Tensor],
    y: Sequence[Any],
    scores: Sequence[Sequence[Mapping[str, float]]],
    *,
    main: str,
    formula: RowFormula | None,
) -> list[list[FoldRows]]:
    """Return the validated rows of each model; see `hpo.training.row_scores`.

    Parameters
    ----------
    nets, y
        See `batch_scores`.
    predictions
        See `batch_predictions`.
    scores : sequence of sequence of mapping
        By fold, then by model.
    main : str
        Name of the trial's score.
    formula : callable or None

    Returns
    -------
    list of list of FoldRows
        By fold, then by model.
    """
    is_regressor = isinstance(nets[0], NeuralNetRegressor)
    rows = []
    for values, labels, of_models in zip(predictions, y, scores, strict=True):
        arrays = values.cpu().numpy()
        predicted = arrays if is_regressor else _labels(nets, values).cpu().numpy()
        kind = "predict" if is_regressor else "predict_proba"
        rows.append(
            [
                rows_of(
                    net,
                    {"predict": predicted[j], kind: arrays[j]},
                    labels,
                    score=of_models[j].get(main, math.nan),
                    formula=formula,
                    classes=None,
                )
                for j, net in enumerate(nets)
            ]
        )
    return rows


def _score_fold(
    scoring: Scoring, nets: Sequence[Any], predictions: torch.Tensor, labels: Any
) -> list[dict[str, float]]:
    # For outputs that are not finite, scikit-learn's own scorers raise the error.
    finite = predictions.isfinite().flatten(1).all(1)
    quick = None
    if finite.all():
        quick = _quick(scoring, nets, predictions, labels)
    elif finite.any():
        finite_nets = [
            net for net, is_finite in zip(nets, finite.tolist(), strict=True) if is_finite
        ]
        quick = _quick(scoring, finite_nets, predictions[finite], labels)
    scores = iter(quick or ())
    return [
        next(scores)
        if quick is not None and is_finite
        else scoring(_judged_estimator(net, predictions[j].cpu().numpy()), labels, labels)
        for j, (net, is_finite) in enumerate(zip(nets, finite.tolist(), strict=True))
    ]


def _predictions(net: Any, outputs: torch.Tensor) -> torch.Tensor:
    """Return what a net's ``predict_proba`` (or a regressor's ``predict``) would."""
    nonlinearity = net._get_predict_nonlinearity()
    flat = outputs.flatten(0, 2)
    values: torch.Tensor = nonlinearity(flat)  # it may add columns
    values = values.reshape(*outputs.shape[:3], *values.shape[1:])
    return values.float() if values.dtype == torch.bfloat16 else values


def _judged_estimator(net: Any, values: np.ndarray) -> Any:
    if isinstance(net, NeuralNetBinaryClassifier):
        return _JudgedClassifier(values, net.classes_, net.threshold)
    if isinstance(net, NeuralNetClassifier):
        return _JudgedClassifier(values, net.classes_)
    return _JudgedRegressor(values)


def _above(threshold: Any, proba: np.ndarray) -> Any:
    """Return labels as skorch's binary classifier: compared by NumPy, which promotes the types."""
    return (proba[:, 1] > threshold).astype("uint8")


def _labels(nets: Sequence[Any], predictions: torch.Tensor) -> torch.Tensor:
    """Return the labels that classifiers predict, each by its own threshold."""
    if not isinstance(nets[0], NeuralNetBinaryClassifier):
        return predictions.argmax(-1)
    proba = predictions.cpu().numpy()
    above = [_above(net.threshold, values) for net, values in zip(nets, proba, strict=True)]
    return torch.as_tensor(np.stack(above), device=predictions.device)


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
    of_target = proba.gather(-1, columns.expand(proba.shape[:2]).unsqueeze(-1))
    return _mean_over_samples(of_target.clamp(eps, 1 - eps).log())


def _roc_auc(proba: torch.Tensor, y: torch.Tensor) -> torch.Tensor | None:
    """Return the share of pairs in the right order, from ranks (Hanley and McNeil 1982)."""
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
    scoring: Scoring, nets: Sequence[Any], predictions: torch.Tensor, labels: Any
) -> list[dict[str, float]] | None:
    """Return the scores by a formula over all models, or None if a scorer has no formula."""
    y = torch.as_tensor(np.asarray(labels), device=predictions.device)
    if isinstance(nets[0], NeuralNetRegressor) and not y.is_floating_point():
        y = y.double()
    columns = {}
    for name, scorer in scoring.scorers().items():
        function = _function(scorer, nets[0])
        inputs = _labels(nets, predictions) if function in _OF_LABELS else predictions
        column = function(inputs, y) if function else None
        if column is None:
            return None
        columns[name] = column.tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _function(scorer: Any, net: Any) -> _Quick | None:
    functions = _REGRESSING if isinstance(net, NeuralNetRegressor) else _CLASSIFYING
    if scorer is None:
        defaults = {ClassifierMixin.score: _accuracy, RegressorMixin.score: _r2}
        return defaults.get(type(net).score)
    return next((quick for name, quick in functions.items() if is_the_scorer(scorer, name)), None)
