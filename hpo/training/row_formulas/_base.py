"""What predictions, and formulas of rows, are."""

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Predicted", "RowFormula"]

Predicted = dict[str, np.ndarray]
"""Predictions by the name of the method that made them."""

RowFormula = Callable[[Predicted, Any], np.ndarray | None]
"""Returns each row's share of the score, (n_rows,), from predictions and y; None if it cannot."""
