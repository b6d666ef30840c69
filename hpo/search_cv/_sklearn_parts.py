"""Private parts of scikit-learn's searches, with alternatives for versions that lack them."""

from collections.abc import Callable, Collection, Mapping
from numbers import Integral
from typing import Any

from sklearn import get_config
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV
from sklearn.utils import Bunch
from sklearn.utils.metadata_routing import process_routing

from hpo._private_parts import note_missing, private_part

__all__ = [
    "BaseSearchCV",
    "best_row",
    "check_refit",
    "fit_context",
    "inherited_constraints",
    "interval",
    "one_of",
    "routed_params",
    "scorers_of",
]

BaseSearchCV: Any = GridSearchCV.__bases__[0]

_UNCHECKED = "the types of a search's parameters are not checked"


def fit_context() -> Callable[[Any], Any]:
    """Return scikit-learn's decorator of an estimator's ``fit``."""
    decorator = private_part(
        "sklearn.base",
        "_fit_context",
        f"{_UNCHECKED}, and scikit-learn's callbacks are not told of them",
    )
    if decorator is None:
        return lambda method: method
    context: Callable[[Any], Any] = decorator(prefer_skip_nested_validation=False)
    return context


def inherited_constraints() -> dict[str, Any]:
    """Return the parameter constraints of scikit-learn's searches."""
    constraints = getattr(BaseSearchCV, "_parameter_constraints", None)
    if constraints is None:
        note_missing("sklearn", "BaseSearchCV._parameter_constraints", _UNCHECKED)
    return {
        name: allowed for name, allowed in (constraints or {}).items() if name != "pre_dispatch"
    }


def interval(kind: type, low: float, *, closed: str) -> list[Any]:
    """Return the constraint for a number not below ``low``."""
    interval_class = private_part("sklearn.utils._param_validation", "Interval", _UNCHECKED)
    return [object] if interval_class is None else [interval_class(kind, low, None, closed=closed)]


def one_of(*choices: str) -> list[Any]:
    """Return the constraint for one of ``choices``."""
    options_class = private_part("sklearn.utils._param_validation", "StrOptions", _UNCHECKED)
    return [object] if options_class is None else [options_class(set(choices))]


def check_refit(refit: Any, names: Collection[str]) -> None:
    """Raise `ValueError` if ``refit`` is not one of several scores, as `GridSearchCV` does."""
    if refit is False or callable(refit) or (isinstance(refit, str) and refit in names):
        return
    raise ValueError(
        "For multi-metric scoring, the parameter refit must be set to a scorer key or a callable "
        "to refit an estimator with the best parameter setting on the whole data and make the "
        "best_* attributes available for that metric. If this is not needed, refit should be set "
        f"to False explicitly. {refit!r} was passed."
    )


def best_row(refit: Any, name: str, table: Mapping[str, Any]) -> int:
    """Return the row of ``cv_results_`` that ``refit`` chooses, or that ranks first.

    Raises
    ------
    TypeError, IndexError
        If ``refit`` is a function and does not return a row.
    """
    if not callable(refit):
        return int(table[f"rank_test_{name}"].argmin())
    row = refit(table)
    if not isinstance(row, Integral):
        raise TypeError("best_index_ returned is not an integer")
    if not 0 <= int(row) < len(table["params"]):
        raise IndexError("best_index_ index out of range")
    return int(row)


def scorers_of(search: Any) -> Any:
    """Return a search's scorers; raise like scikit-learn if they do not fit the estimator."""
    if hasattr(search, "_get_scorers"):
        return search._get_scorers()[0]
    note_missing("sklearn", "BaseSearchCV._get_scorers", "refit is checked after the search")
    return check_scoring(search.estimator, search.scoring)


def routed_params(search: Any, params: dict[str, Any]) -> Any:
    """Return the parameters of ``fit`` routed to the estimator, the splitter and the scorer."""
    if hasattr(search, "_get_routed_params_for_fit"):
        return search._get_routed_params_for_fit(params)
    note_missing(
        "sklearn",
        "BaseSearchCV._get_routed_params_for_fit",
        "sample_weight goes to the scorers only where metadata routing is enabled",
    )
    if get_config()["enable_metadata_routing"]:
        return process_routing(search, "fit", **params)
    fit_params = {name: value for name, value in params.items() if name != "groups"}
    return Bunch(
        estimator=Bunch(fit=fit_params),
        splitter=Bunch(split={"groups": params.get("groups")}),
        scorer=Bunch(score={}),
    )
