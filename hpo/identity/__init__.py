"""Describe a value by a short text and by a mark, a hash that is the same in every process."""

from hpo.identity._describer import Describer
from hpo.identity._description import Description, leaf, mark_of

__all__ = ["Describer", "Description", "leaf", "mark_of"]
