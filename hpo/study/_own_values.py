"""What a parameter is where no search sets it."""

import functools
import inspect
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from sklearn.base import clone

__all__ = ["MISSING", "own_value"]

MISSING = object()
"""Where nothing tells what a parameter is."""


def own_value(estimator: Any, name: str, params: Mapping[str, Any]) -> Any:
    """Return what the parameter ``name`` of an estimator is under others.

    Parameters
    ----------
    estimator : estimator
    name : str
    params : mapping of str to object
        What is set before, as the estimator takes it: an optimizer, for its momentum.

    Returns
    -------
    object
        The estimator's parameter, or what the class of its module, optimizer or criterion has for
        a default; `MISSING` if neither is known.
    """
    if params:
        estimator = clone(estimator).set_params(**params)
    known = estimator.get_params(deep=True)
    if name in known:
        return known[name]
    words = name.split("__")
    for n in range(len(words) - 1, -1, -1):
        owner = known.get("__".join(words[:n])) if n else estimator
        if hasattr(owner, "prefixes_") and len(words) > n + 1:
            return _of_net(owner, words[n], "__".join(words[n + 1 :]))
    return MISSING


def _of_net(net: Any, component: str, argument: str) -> Any:
    """Return an argument that a skorch net makes a component with."""
    if (component, argument) == ("optimizer", "lr"):
        return net.lr
    if component.startswith("iterator_") and argument == "batch_size":
        return net.batch_size
    if component == "callbacks":
        return _of_callback(net, *argument.partition("__")[::2])
    made = getattr(net, component, None)
    if not isinstance(made, type | FunctionType | functools.partial):
        return MISSING  # an instance: made anew from its class, it would not be the same
    try:
        found = inspect.signature(made).parameters[argument]
    except (KeyError, TypeError, ValueError):
        return MISSING
    return MISSING if found.default is found.empty else found.default


def _of_callback(net: Any, name: str, argument: str) -> Any:
    for item in net.callbacks if isinstance(net.callbacks, list | tuple) else ():
        if isinstance(item, tuple) and item[0] == name and not isinstance(item[1], type):
            return item[1].get_params().get(argument, MISSING) if argument else item[1]
    return MISSING
