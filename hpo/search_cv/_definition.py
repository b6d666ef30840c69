"""The definition of the study that an `HPOSearchCV` runs."""

import copy
from numbers import Integral
from typing import Any, ClassVar

import pydantic
from sklearn.utils import check_random_state

from hpo.data import StudyData
from hpo.study import Study

__all__ = ["SearchDefinition", "definition_of"]

_OTHERWISE_NAMED = {"name", "data", "seed", "metric", "tracker", "refit", "fail_fast", "sampler"}
"""Fields of a study that have another name in the search, or mean something more there."""
_LEFT_OUT = {"nested"}
"""Fields that are no parameters of the search: ``cross_val_score(HPOSearchCV(...))`` is nested."""


class SearchDefinition(Study):
    """The definition of the study of an `HPOSearchCV`."""

    _owner: ClassVar[str] = "HPOSearchCV"

    name: str = pydantic.Field(min_length=1)
    enqueue: Any = ()  # checked with the search space


def definition_of(search: Any, data: StudyData) -> SearchDefinition:
    """Return the definition of a search's study.

    Every field of a `Study` is read from the parameter of its name, so none is left out.

    Parameters
    ----------
    search : HPOSearchCV
    data : StudyData

    Raises
    ------
    StudyError
        If a parameter is of the wrong type.
    """
    names = set(Study.model_fields) - _OTHERWISE_NAMED - _LEFT_OUT
    fields = {name: getattr(search, name) for name in names}
    several = not (search.scoring is None or isinstance(search.scoring, str))
    return SearchDefinition(
        **fields,
        name=search.study_name or "HPOSearchCV",
        data=data,
        seed=_seed(search),
        metric=search.refit if several and isinstance(search.refit, str) else None,
        tracker=search.tracker or ("null" if search.tracking_uri is None else "mlflow"),
        refit=bool(search.refit),
        fail_fast=None if search.error_score == "raise" else search.fail_fast,
        sampler=copy.deepcopy(search.sampler),
    )


def _seed(search: Any) -> int:
    if isinstance(search.random_state, Integral):
        return int(search.random_state)
    if search.random_state is None and search.storage is not None:
        return 0
    return int(check_random_state(search.random_state).randint(2**31 - 1))
