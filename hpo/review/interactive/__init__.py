"""The interactive parts of a report: figures as plotly's plain data, and what the page shows.

A figure is a mapping with ``data`` and ``layout``, as plotly's JSON has it. Points that stand for
trials carry their numbers as ``customdata``; the page's script gives each of them the text of its
trial, which is so written once and not once a figure.
"""

from hpo.review.interactive.page import figures_of, interactive_parts

__all__ = ["figures_of", "interactive_parts"]
