"""The names and the rows of the ``cv_results_`` of an `HPOSearchCV`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hpo.training.objective import Objective
from hpo.trial import Report

__all__ = ["rows_of", "score_names"]


def score_names(objective: Objective, report: Report | None) -> tuple[str, ...]:
    """Return the names of the scores; those of a scoring function are taken from ``report``."""
    if objective.scoring.names:
        return objective.scoring.names
    if not objective.scoring.names_itself or report is None:
        return ("score",)
    names = tuple(
        name
        for name in report.metrics
        if name not in report.recorded
        and not (objective.return_train_score and name.startswith("train_"))
    )
    # The trial's score is among them, unless the function calls it "score" itself.
    is_included = any(report.metrics[name] == report.fold_values for name in names)
    return names if is_included else ("score", *names)


def rows_of(table: Mapping[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Return the given rows of a ``cv_results_``."""
    return {
        key: [column[i] for i in rows] if isinstance(column, list) else column[rows]
        for key, column in table.items()
    }
