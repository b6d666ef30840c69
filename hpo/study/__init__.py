"""A study: the declarative object, the function that runs it, and the one that loads it.

Defining a study needs neither torch nor Optuna, and reading one no definition: all of it is
imported on first use.
"""

from typing import TYPE_CHECKING

from hpo._lazy import lazy

if TYPE_CHECKING:
    from hpo.study.definition import Study
    from hpo.study.load import load_result
    from hpo.study.run import run_study
else:
    __getattr__, __dir__ = lazy(
        __name__, {"Study": ".definition", "load_result": ".load", "run_study": ".run"}
    )

__all__ = ["Study", "load_result", "run_study"]
