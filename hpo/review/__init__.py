"""Plots and a report, read from a finished or running study."""

from hpo.review.plots import history, learning_curves, parameters, pareto_front
from hpo.review.report import write_report

__all__ = ["history", "learning_curves", "parameters", "pareto_front", "write_report"]
