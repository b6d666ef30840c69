"""What is made of a refitted winner, beyond its scores.

Each public module holds one analysis and is found by its name; see `BaseAnalysis`.
"""

from hpo.analyses.base import CLASS, BaseAnalysis, Winner

__all__ = ["CLASS", "BaseAnalysis", "Winner"]
