"""The data that an `HPOSearchCV` is fitted on."""

from collections.abc import Mapping
from typing import Any

from scipy.sparse import issparse
from sklearn.utils import get_tags, indexable

from hpo.data import StudyData
from hpo.data.datasets import from_dataset
from hpo.exceptions import DataError

__all__ = ["data_of"]


class _FitData(StudyData):
    """X and y of a ``fit``, as scikit-learn checks them: y is None for some estimators."""

    def __post_init__(self) -> None:
        pass  # `data_of` has checked them


def data_of(search: Any, X: Any, y: Any, params: Mapping[str, Any]) -> StudyData:
    """Return the data of ``search.fit(X, y, **params)``.

    Raises
    ------
    DataError
        If y is missing, or what a `StudyData` holds is given beside it.
    """
    if isinstance(X, StudyData):
        given = {"y": y, **params}
        for name in ("y", "groups", "sample_weight"):
            if getattr(X, name) is not None and given.get(name) is not None:
                raise DataError(f"The StudyData has its own {name}: leave out the {name} of fit.")
        return X
    X, y = from_dataset(X, y)
    if y is None and get_tags(search).target_tags.required:
        name = type(search.estimator).__name__
        raise DataError(f"{name} requires y to be passed, but the target y is None.")
    # skorch alone takes a dict or tuple of arrays as X; one kind of sparse matrix is a dict.
    if issparse(X) or not isinstance(X, Mapping | tuple):
        X, y = indexable(X, y)
    return _FitData(X=X, y=y)
