"""Score a fitted estimator on a fold with one or several of scikit-learn's scorers."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.metrics import check_scoring, get_scorer

from hpo.exceptions import DataError
from hpo.training.scorer_parts import is_scorer

__all__ = ["Scoring", "mean"]


class Scoring:
    """One or more scorers, one of which gives the trial's score.

    Parameters
    ----------
    estimator : estimator
        Used to check the scorers, and for its own ``score`` where ``scoring`` is None.
    scoring : str, callable, list, tuple, set, dict or None
        As in scikit-learn's ``GridSearchCV``: greater is better.
    metric : str or None
        Which of several scorers is the trial's score; by default the first.

    Raises
    ------
    DataError
        If a scorer does not exist, or ``metric`` is none of them.
    """

    def __init__(self, estimator: Any, scoring: Any = None, metric: str | None = None) -> None:
        try:
            self._scorer = check_scoring(estimator, scoring=scoring)
        except (TypeError, ValueError) as error:
            raise DataError(f"scoring: {error}") from error
        self._uses_sklearn_only = _is_sklearn_only(scoring)
        self.by_name: dict[str, Any] = _by_name(scoring) or {"score": self._scorer}
        """Scikit-learn's scorers, or the user's functions, by the names of the scores."""
        self.names: tuple[str, ...] = ()
        if scoring is not None and not isinstance(scoring, str) and not callable(scoring):
            self.names = tuple(scoring)
        if metric is not None and self.names and metric not in self.names:
            raise DataError(
                f"'{metric}' is not one of the scorers: {', '.join(map(str, self.names))}."
            )
        self.names_itself = callable(scoring) and not self._uses_sklearn_only
        """Whether the names of the scores are unknown until a function returns them."""
        self.metric = metric if metric is not None else (self.names[0] if self.names else "score")

    @property
    def looks_at_predictions_only(self) -> bool:
        """Whether the scorers only use the predictions of an estimator.

        A function of the user may look at a Pipeline's steps or at the raw X, so it is
        called with the whole Pipeline. Scikit-learn's scorers only need its last step.
        """
        return self._uses_sklearn_only

    def scorers(self) -> dict[str, Any]:
        """Return scikit-learn's scorers by the names of the scores; None for other scorers."""
        return {
            name: scorer if is_scorer(scorer) else None for name, scorer in self.by_name.items()
        }

    def __call__(self, estimator: Any, X: Any, y: Any, **params: Any) -> dict[str, float]:
        """Return the scores by name; a single scorer's is named ``score``.

        Raises
        ------
        TypeError
            If a scorer returns neither a number nor a mapping of numbers.
        """
        result = (
            self._scorer(estimator, X, **params)
            if y is None
            else self._scorer(estimator, X, y, **params)
        )
        if not isinstance(result, Mapping):
            return {"score": _number("scoring", result)}
        return {name: _number(name, value) for name, value in result.items()}

    def main(self, scores: Mapping[str, float]) -> str:
        """Return the name of the trial's score among ``scores``.

        If a callable returns several scores and ``metric`` is not among them, it is the first one.
        """
        return self.metric if self.metric in scores else next(iter(scores), "score")


def _by_name(scoring: Any) -> dict[str, Any]:
    """Return several scorers by their names; empty for a single scorer."""
    if isinstance(scoring, Mapping):
        return {name: get_scorer(scorer) for name, scorer in scoring.items()}
    if isinstance(scoring, list | tuple | set):
        return {name: get_scorer(name) for name in scoring}
    return {}


def _is_sklearn_only(scoring: Any) -> bool:
    if isinstance(scoring, Mapping):
        return all(_is_sklearn_only(value) for value in scoring.values())
    if isinstance(scoring, list | tuple | set):
        return all(_is_sklearn_only(value) for value in scoring)
    return scoring is None or isinstance(scoring, str) or is_scorer(scoring)


def _number(name: str, value: Any) -> float:
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must return a number, got {value!r} ({type(value).__name__}) instead."
        ) from None


def mean(values: tuple[float, ...]) -> float:
    """Return the mean, or nan if any value is not finite."""
    finite = all(map(math.isfinite, values))
    # NumPy's mean, as in `cv_results_`; the last bit of Python's sum may differ.
    return float(np.mean(values)) if finite and values else math.nan
