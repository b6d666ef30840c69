"""The search space: what is searched, read from YAML or a mapping, checked and resolved."""

from hpo.space._space import SearchSpace

__all__ = ["SearchSpace"]
