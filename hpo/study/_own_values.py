"""The default value of an estimator's parameter that a search does not set."""

import functools
import inspect
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from sklearn.base import clone

from hpo.space import SearchSpace

__all__ = ["MISSING", "default_value", "own_point"]

MISSING = object()
"""Stands for a default value that cannot be determined."""


def default_value(estimator: Any, name: str, params: Mapping[str, Any]) -> Any:
    """Return the value that an estimator has for ``name`` if a search does not set it.

    Parameters
    ----------
    estimator : estimator
    name : str
    params : mapping of str to object
        Parameters to set first, as the estimator takes them: an optimizer, for its momentum.

    Returns
    -------
    object
        The estimator's parameter, or the default argument of the class of its module, optimizer or
        criterion; `MISSING` if neither is known.
    """
    if params:
        estimator = clone(estimator).set_params(**params)
    params_of_estimator = estimator.get_params(deep=True)
    if name in params_of_estimator:
        return params_of_estimator[name]
    parts = name.split("__")
    for n in range(len(parts) - 1, -1, -1):
        owner = params_of_estimator.get("__".join(parts[:n])) if n else estimator
        if hasattr(owner, "prefixes_") and len(parts) > n + 1:
            return _net_argument(owner, parts[n], "__".join(parts[n + 1 :]))
    return MISSING


def own_point(estimator: Any, space: SearchSpace) -> tuple[dict[str, Any], ...]:
    """Return the estimator's own settings as a point of a space, the only element; else nothing.

    They are none if one of them is not known or not in its range, or if what is searched depends on
    other parameters.
    """
    if len(space.parts) > 1 or space.conditions:
        return ()
    try:
        point = {name: default_value(estimator, name, {}) for name in space}
        if MISSING in point.values():
            return ()
        return space.points([point], "the estimator's own settings")
    except Exception:  # the estimator's own code, and values of any kind
        return ()


def _net_argument(net: Any, component: str, argument: str) -> Any:
    """Return an argument with which a skorch net creates a component."""
    if (component, argument) == ("optimizer", "lr"):
        return net.lr
    if component.startswith("iterator_") and argument == "batch_size":
        return net.batch_size
    if component == "callbacks":
        return _callback_argument(net, *argument.partition("__")[::2])
    factory = getattr(net, component, None)
    if not isinstance(factory, type | FunctionType | functools.partial):
        return MISSING  # an instance: created again from its class, it would differ
    try:
        parameter = inspect.signature(factory).parameters[argument]
    except (KeyError, TypeError, ValueError):
        return MISSING
    return MISSING if parameter.default is parameter.empty else parameter.default


def _callback_argument(net: Any, name: str, argument: str) -> Any:
    for item in net.callbacks if isinstance(net.callbacks, list | tuple) else ():
        if isinstance(item, tuple) and item[0] == name and not isinstance(item[1], type):
            return item[1].get_params().get(argument, MISSING) if argument else item[1]
    return MISSING
