"""What predictions, and formulas of rows, are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Delayed", "Predicted", "RowFormula"]

Predicted = dict[str, np.ndarray]
"""Predictions by the name of the method that made them."""

RowFormula = Callable[[Predicted, Any], np.ndarray | None]
"""Returns each row's share of the score, (n_rows,), from predictions and y; None if it cannot."""


@dataclass(frozen=True, slots=True)
class Delayed:
    """The formula of a scorer that has a constant value until a training has come so far.

    Parameters
    ----------
    formula : callable
        That of the scorer that is called then.
    before : float
        The constant.
    """

    formula: RowFormula
    before: float

    def __call__(self, predicted: Predicted, y: Any) -> np.ndarray | None:
        """Return each row's share of the score, once it counts."""
        return self.formula(predicted, y)
