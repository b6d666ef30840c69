"""hpo: honest, fast, resumable hyperparameter search for PyTorch.

Importing this package loads none of torch, ray, mlflow or peft: each public name is
imported when it is first used.
"""

from typing import TYPE_CHECKING

from hpo._lazy import lazy

if TYPE_CHECKING:
    from hpo.data import StudyData
    from hpo.exceptions import HpoError
    from hpo.result import StudyResult
    from hpo.search_cv import HPOSearchCV
    from hpo.space import SearchSpace
    from hpo.study import Study, load_result, run_study
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "HPOSearchCV": ".search_cv",
            "HpoError": ".exceptions",
            "SearchSpace": ".space",
            "Study": ".study",
            "StudyData": ".data",
            "StudyResult": ".result",
            "load_result": ".study",
            "run_study": ".study",
        },
    )

__all__ = [
    "HPOSearchCV",
    "HpoError",
    "SearchSpace",
    "Study",
    "StudyData",
    "StudyResult",
    "__version__",
    "load_result",
    "run_study",
]

__version__ = "0.2.0"
