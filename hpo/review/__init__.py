"""Plots and a report, read from a finished or running study.

What draws is imported, with matplotlib, when it is first used.
"""

from typing import TYPE_CHECKING

from hpo._lazy import lazy
from hpo.review.comparison import Comparison, compare

if TYPE_CHECKING:
    from hpo.review.comparison_plots import comparison, comparison_curves
    from hpo.review.plots import history, learning_curves, parameters, pareto_front
    from hpo.review.report import write_report
else:
    del globals()["comparison"]  # the module: here the name is that of the figure
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "comparison": ".comparison_plots",
            "comparison_curves": ".comparison_plots",
            "history": ".plots",
            "learning_curves": ".plots",
            "parameters": ".plots",
            "pareto_front": ".plots",
            "write_report": ".report",
        },
    )

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
