"""Rows' shares of scores of regressions; those of several outputs are means over them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from hpo.training.row_formulas._base import Predicted, RowFormula

__all__ = ["explained_variance", "mean_error", "r2", "root_mean_error"]

Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Loss of each value, from y and what was predicted."""

LOSSES: dict[str, Loss] = {
    "squared": lambda y, said: (said - y) ** 2,
    "absolute": lambda y, said: np.abs(said - y),
    "percentage": lambda y, said: np.abs(said - y) / np.maximum(np.abs(y), np.finfo(float).eps),
    "squared_log": lambda y, said: (np.log1p(said) - np.log1p(y)) ** 2,
}


def mean_error(loss: str) -> RowFormula:
    """Return the formula of a negative mean loss."""

    def formula(predicted: Predicted, y: Any) -> np.ndarray | None:
        pair = _pair(predicted, y)
        return None if pair is None else -_over_outputs(LOSSES[loss](*pair))

    return formula


def root_mean_error(loss: str) -> RowFormula:
    """Return the formula of the negative root of a mean loss."""

    def formula(predicted: Predicted, y: Any) -> np.ndarray | None:
        pair = _pair(predicted, y)
        if pair is None:
            return None
        losses = LOSSES[loss](*pair)
        mean = losses.mean(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.sqrt(mean) + (losses - mean) / (2 * np.sqrt(mean))
        return -_over_outputs(np.where(mean > 0, shares, 0.0))

    return formula


def r2(predicted: Predicted, y: Any) -> np.ndarray | None:
    """Return the shares of the coefficient of determination."""
    pair = _pair(predicted, y)
    if pair is None:
        return None
    y, said = pair
    return _one_minus((y - said) ** 2, (y - y.mean(axis=0)) ** 2)


def explained_variance(predicted: Predicted, y: Any) -> np.ndarray | None:
    """Return the shares of the explained variance."""
    pair = _pair(predicted, y)
    if pair is None:
        return None
    y, said = pair
    errors = y - said
    return _one_minus((errors - errors.mean(axis=0)) ** 2, (y - y.mean(axis=0)) ** 2)


def _one_minus(rest: np.ndarray, spread: np.ndarray) -> np.ndarray | None:
    """Return the shares of ``1 - sum(rest) / sum(spread)``; None if there is no spread."""
    if not spread.sum(axis=0).all():
        return None
    ratio = rest.sum(axis=0) / spread.sum(axis=0)
    return _over_outputs(1 - ratio - (rest - ratio * spread) / spread.mean(axis=0))


def _pair(predicted: Predicted, y: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Return y and the predictions as numbers, (n_rows, n_outputs); None if they do not match."""
    values = predicted.get("predict")
    if values is None or values.shape != np.shape(y):
        return None
    shape = (len(values), -1)
    return np.asarray(y, dtype=float).reshape(shape), np.asarray(values, float).reshape(shape)


def _over_outputs(shares: np.ndarray) -> np.ndarray:
    mean: np.ndarray = shares.mean(axis=1)
    return mean
