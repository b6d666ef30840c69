"""The search space: what is searched, read from YAML or a mapping, checked and resolved."""

from hpo.space._space import SearchSpace
from hpo.space._written import line_between, line_of_value
from hpo.space.parameter import Bounds, Parameter

__all__ = ["Bounds", "Parameter", "SearchSpace", "line_between", "line_of_value"]
