"""Check that the data fit the estimator and the folds, once, before anything is trained."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import clone, is_classifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.utils import get_tags
from sklearn.utils.multiclass import type_of_target
from skorch import NeuralNet

from hpo.exceptions import DataError
from hpo.training.adapters import last_step
from hpo.training.indexing import as_numpy, n_samples, take

__all__ = [
    "all_classes",
    "check_data",
    "check_estimator_kind",
    "check_eval_every",
    "check_folds",
    "check_kernel",
    "check_nan",
]


def check_estimator_kind(estimator: Any) -> None:
    """Raise `DataError` unless ``estimator`` is a scikit-learn estimator that can be fitted."""
    if isinstance(estimator, torch.nn.Module) or (
        isinstance(estimator, type) and issubclass(estimator, torch.nn.Module)
    ):
        name = estimator.__name__ if isinstance(estimator, type) else type(estimator).__name__
        raise DataError(
            f"The estimator is a torch module. Wrap it: skorch.NeuralNetClassifier({name}, ...)."
        )
    missing = [m for m in ("fit", "get_params", "set_params") if not hasattr(estimator, m)]
    if missing or isinstance(estimator, type):
        what = f"{estimator!r} is a class" if isinstance(estimator, type) else f"{estimator!r}"
        lacks = f" has no {', '.join(missing)}" if missing else ", not an instance"
        raise DataError(
            f"{what}{lacks}. The estimator must be an instance of a scikit-learn estimator, "
            "such as skorch.NeuralNetClassifier(...) or a Pipeline that ends in one."
        )


def check_eval_every(estimator: Any, eval_every: int | None) -> None:
    """Raise `DataError` if ``eval_every`` is given for an estimator that is not a net."""
    final = last_step(estimator)
    if eval_every is not None and not isinstance(final, NeuralNet):
        raise DataError(
            "eval_every counts optimizer steps of a skorch net. Got "
            f"{type(final).__name__}: leave it out."
        )


def check_data(X: Any, y: Any) -> None:
    """Raise `DataError` unless X and y have the same number of rows, and at least one."""
    parts = X if isinstance(X, Mapping) else {"X": X}
    if not parts:
        raise DataError("X is an empty dict: give at least one array.")
    lengths = {f"X['{k}']" if isinstance(X, Mapping) else k: n_samples(v) for k, v in parts.items()}
    if y is not None:
        lengths["y"] = n_samples(y)
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise DataError(
            f"Found input variables with inconsistent numbers of samples: {counts} rows. "
            "Each row of X needs one entry in y."
        )
    if next(iter(lengths.values())) == 0:
        raise DataError("Found array with 0 sample(s): X is empty.")


def check_folds(
    estimator: Any, y: Any, splits: Sequence[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray | None:
    """Return a classifier's classes; raise `DataError` if a fold cannot be trained."""
    for i, (train, valid) in enumerate(splits):
        if not len(train) or not len(valid):
            raise DataError(f"Fold {i} has {len(train)} training and {len(valid)} validation rows.")
    if y is None or not is_classifier(estimator):
        return None
    labels = np.asarray(y.cpu() if isinstance(y, torch.Tensor) else y)
    if labels.ndim != 1 or labels.dtype.kind == "f":
        return None
    classes = np.unique(labels)
    for i, (train, _) in enumerate(splits):
        present = np.unique(labels[train])
        if len(present) == 1:
            what = "y has only one class" if len(classes) == 1 else f"fold {i} trains on one class"
            raise DataError(
                f"Classification needs at least 2 classes, but {what}: {present[0]!r}. "
                "Use a stratified splitter, fewer folds or more data."
            )
    return classes


def all_classes(estimator: Any, y: Any) -> Any:
    """Return the ``classes`` of a classifier's ``partial_fit``; None for other estimators.

    For several outputs these are an array for each output, or the column numbers of an indicator
    matrix, as scikit-learn's estimators of that kind expect.
    """
    if y is None or not is_classifier(estimator):
        return None
    labels = np.asarray(as_numpy(y))
    if isinstance(last_step(estimator), MultiOutputClassifier) and labels.ndim == 2:
        return [np.unique(column) for column in labels.T]
    several = labels.ndim == 2 and type_of_target(labels).startswith("multilabel")
    return np.arange(labels.shape[1]) if several else np.unique(labels)


def check_kernel(estimator: Any, X: Any) -> None:
    """Raise `DataError` if ``estimator`` takes a kernel as X, and X is not square."""
    if not get_tags(estimator).input_tags.pairwise:
        return
    name = type(last_step(estimator)).__name__
    if not hasattr(X, "shape"):
        raise DataError(
            f"{name} takes a kernel or distances between all samples, which must be an array or a "
            f"sparse matrix. Got a {type(X).__name__}."
        )
    if len(X.shape) != 2 or X.shape[0] != X.shape[1]:
        raise DataError(
            f"{name} takes a kernel or distances between all samples, so X must be square. Got "
            f"{' x '.join(map(str, X.shape))}."
        )


def check_nan(estimator: Any, X: Any) -> None:
    """Raise `DataError` if X contains NaN and a net without a Pipeline returns NaN for such rows.

    A Pipeline may impute, and a net may handle NaN. Therefore the output of the untrained net is
    checked, and only for the rows in question.
    """
    if not isinstance(estimator, NeuralNet) or last_step(estimator) is not estimator:
        return
    rows = _rows_with_nan(X)
    if rows is None or not rows.any():
        return
    where = np.flatnonzero(rows)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            output = clone(estimator).set_params(verbose=0).initialize().forward(take(X, where[:8]))
    except Exception:  # the training will raise the same, with its own traceback
        return
    first = output[0] if isinstance(output, tuple) else output
    if not torch.isfinite(first).all():
        raise DataError(
            f"Input X contains NaN in {len(where)} of {len(rows)} rows (the first: {where[0]}), "
            "and the net answers them with NaN. Impute inside the folds: "
            "Pipeline([('impute', SimpleImputer()), ('net', net)])."
        )


def _rows_with_nan(X: Any) -> np.ndarray | None:
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu().numpy()
    if not isinstance(X, np.ndarray) or X.dtype.kind != "f":
        return None
    return np.asarray(np.isnan(X).reshape(len(X), -1).any(axis=1))
