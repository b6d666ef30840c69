"""Plots and a report, read from a finished or running study."""

from hpo.review.comparison import Comparison, compare
from hpo.review.comparison_plots import comparison, comparison_curves
from hpo.review.plots import history, learning_curves, parameters, pareto_front
from hpo.review.report import write_report

__all__ = [
    "Comparison",
    "compare",
    "comparison",
    "comparison_curves",
    "history",
    "learning_curves",
    "parameters",
    "pareto_front",
    "write_report",
]
