"""What a value is, in a few words and as a mark that is the same in every process."""

from hpo.identity._describer import Describer
from hpo.identity._description import Description, leaf, mark_of

__all__ = ["Describer", "Description", "leaf", "mark_of"]
