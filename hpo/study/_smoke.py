"""Reduce a study to a smoke test that runs every part of it once, in seconds."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import (
    KFold,
    PredefinedSplit,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    StratifiedKFold,
)

from hpo.data import StudyData
from hpo.training.adapters import steps_of
from hpo.training.indexing import as_numpy, n_samples, take

__all__ = ["N_SAMPLES", "cut_data", "smoke_changes"]

N_SAMPLES = 200
"""Number of samples that are kept of each part of the data."""

_N_FOLDS = 2
_N_STEPS = 5
"""Optimizer steps of an epoch, where the study counts these."""
_MIN_SAMPLES = 4
"""Minimal number of samples of each class, so that two folds have some of each."""

_NUMBERED = (KFold, StratifiedKFold, RepeatedKFold, RepeatedStratifiedKFold, PredefinedSplit)


def smoke_changes(
    estimator: Any,
    data: StudyData | Callable[[], StudyData],
    cv: Any,
    epochs: int | None,
    eval_every: int | None,
) -> dict[str, Any]:
    """Return the fields of a study that make it small, by name.

    Parameters
    ----------
    estimator, data, cv, epochs, eval_every
        Fields of the study.
    """
    cv = _few_folds(cv)
    min_samples = max(_MIN_SAMPLES, getattr(cv, "n_splits", _N_FOLDS))
    load = partial(_load_cut, data, stratify=is_classifier(estimator), fewest=min_samples)
    return {
        "data": load,
        "cv": cv,
        "repeats": 1,
        "nested": 0,
        "epochs": 1 if epochs is not None or _has_epochs(estimator) else None,
        "eval_every": min(eval_every, _N_STEPS) if eval_every else None,
        "n_trials": 1,
        "timeout": None,
        "trial_timeout": None,
        "max_total_epochs": None,
        "executor": None,
        "n_jobs": None,
        "storage": None,
        "tracker": "null",
        "analyses": (),
        "add_trials": (),
    }


def _has_epochs(estimator: Any) -> bool:
    return steps_of(estimator, {}, 2) > 1 and steps_of(estimator, {}, None) > 1


def _few_folds(cv: Any) -> Any:
    """Return two folds for a number of folds, or for explicit rows.

    A splitter with its own rule (by groups, by time) is kept.
    """
    has_own_rule = hasattr(cv, "split") and not isinstance(cv, _NUMBERED)
    return cv if has_own_rule else _N_FOLDS


def _load_cut(
    data: StudyData | Callable[[], StudyData], *, stratify: bool, fewest: int
) -> StudyData:
    loaded = data() if callable(data) else data
    if not isinstance(loaded, StudyData):
        return loaded  # its user raises the error
    return cut_data(loaded, stratify=stratify, fewest=fewest)


def cut_data(data: StudyData, *, stratify: bool, fewest: int = _MIN_SAMPLES) -> StudyData:
    """Return ``data`` with about `N_SAMPLES` samples in each of its parts, in their order.

    Parameters
    ----------
    data : StudyData
    stratify : bool
        Whether ``y`` holds classes whose shares are to be preserved.
    fewest : int
        Minimal number of samples of each class, if there are as many.
    """
    rows = _some_rows(data.y, stratify, fewest)
    changes: dict[str, Any] = {
        name: take(getattr(data, name), rows) for name in ("X", "y", "groups", "sample_weight")
    }
    for part in ("test", "refit"):
        y = getattr(data, f"y_{part}")
        if y is not None:
            rows = _some_rows(y, stratify, fewest)
            changes |= {f"{n}_{part}": take(getattr(data, f"{n}_{part}"), rows) for n in "Xy"}
    unchanged = {name: value for name, value in vars(data).items() if name not in changes}
    return StudyData(**{**unchanged, **changes})


def _some_rows(y: Any, stratify: bool, fewest: int) -> np.ndarray:
    n = n_samples(y)
    if n <= N_SAMPLES:
        return np.arange(n)
    rng = np.random.default_rng(0)
    labels = None if isinstance(y, Mapping | tuple) else np.asarray(as_numpy(y))
    if not stratify or labels is None or labels.ndim != 1:
        return np.sort(rng.choice(n, N_SAMPLES, replace=False))
    order = rng.permutation(n)
    _, classes, counts = np.unique(labels[order], return_inverse=True, return_counts=True)
    shares = np.maximum(np.floor(counts * N_SAMPLES / n), fewest)
    rank = np.empty(n, dtype=int)  # of a sample within its class
    for i, count in enumerate(counts):
        rank[classes == i] = np.arange(count)
    return np.sort(order[rank < shares[classes]])
