"""A study: the declarative object, the function that runs it, and reading one back."""

from hpo.study._load import load_result
from hpo.study._run import run_study
from hpo.study._study import Study

__all__ = ["Study", "load_result", "run_study"]
