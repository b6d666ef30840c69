"""Check that an estimator has the methods that the scorers need."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpo.exceptions import DataError
from hpo.training.adapters import last_step
from hpo.training.fold import configure
from hpo.training.indexing import as_numpy, n_samples, take
from hpo.training.objective import Objective
from hpo.training.rehearsal._rows import first_of
from hpo.training.scorer_parts import asked_methods

__all__ = ["check_scorers"]

_ROWS = 60


def check_scorers(objective: Objective, points: Sequence[Mapping[str, Any]]) -> None:
    """Raise `DataError` if the estimator lacks a method of a scorer under all parameters.

    A clone is fitted on some rows if necessary, as some estimators have the method only then.
    """
    required = _required_methods(objective)
    if not required:
        return
    missing = ""
    for point in points:
        estimator = configure(objective.estimator, objective.resolve(point), None)
        missing = _first_missing(estimator, required)
        if not missing:
            return
        fitted = _fit_on_some_rows(estimator, objective)
        if fitted is None or not _first_missing(fitted, required):
            return
    name = type(last_step(objective.estimator)).__name__
    methods = " or ".join(required[missing])
    raise DataError(
        f"The scorer{'' if missing == 'score' else f' {missing!r}'} asks for {methods}, which "
        f"{name} does not have. Choose a scorer on predictions (accuracy, balanced_accuracy, f1), "
        f"or wrap the estimator: sklearn.calibration.CalibratedClassifierCV({name}())."
    )


def _required_methods(objective: Objective) -> dict[str, tuple[str, ...]]:
    required = {}
    for name, scorer in objective.scoring.scorers().items():
        methods = asked_methods(scorer)
        if methods and "predict" not in methods and "default" not in methods:
            required[name] = methods
    return required


def _first_missing(estimator: Any, required: Mapping[str, Sequence[str]]) -> str:
    for name, methods in required.items():
        if not any(hasattr(estimator, method) for method in methods):
            return name
    return ""


def _fit_on_some_rows(estimator: Any, objective: Objective) -> Any:
    rows = np.linspace(0, n_samples(objective.X) - 1, _ROWS).astype(int)
    labels = as_numpy(objective.y)
    try:
        if objective.classes is not None:
            _, classes = np.unique(labels, return_inverse=True)
            rows = np.concatenate([rows, first_of(classes, 5)])
        rows = np.unique(rows)
        return estimator.fit(take(objective.X, rows), take(objective.y, rows))
    except Exception:
        return None
