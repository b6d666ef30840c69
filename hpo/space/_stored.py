"""Between a trial's params and what a storage keeps of them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hpo.space._grids import GRID
from hpo.space._points import fitted
from hpo.space.choices import same
from hpo.space.parameter import Parameter

__all__ = ["kept_of", "params_of", "resolved_params"]


def params_of(stored: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return a trial's params from what the storage of these parameters keeps of it."""
    params = {}
    for key, value in stored.items():
        if key not in parameters:  # of an earlier form of the space
            params[key] = value
        elif key != GRID:
            params[parameters[key].of] = parameters[key].read(value)
    return params


def kept_of(
    params: Mapping[str, Any],
    parameters: Mapping[str, Parameter],
    is_active: Callable[[str, Mapping[str, Any]], bool],
) -> dict[str, Any] | None:
    """Return what the storage keeps of params, all of them or some; None if it has no place.

    Of a list of spaces, the first one in which the params are all that a trial has, else the first
    that they fit.
    """
    found = list(_ways_to_keep(params, parameters))
    for stored in found:
        if stored.keys() == {key for key in parameters if is_active(key, stored)}:
            return stored
    return next(iter(found), None)


def _ways_to_keep(
    params: Mapping[str, Any], parameters: Mapping[str, Parameter]
) -> Iterator[dict[str, Any]]:
    branches = [choice.stored for choice in parameters[GRID].choices] if GRID in parameters else []
    for branch in branches or [None]:
        own = {
            p.of: p
            for key, p in parameters.items()
            if key != GRID and branch in p.when.get(GRID, (branch,))
        }
        if all(name in own and fitted(own[name], value) for name, value in params.items()):
            here = {} if branch is None else {GRID: branch}
            yield here | {own[name].name: own[name].keep(v) for name, v in params.items()}


def resolved_params(
    params: Mapping[str, Any], parameters: Mapping[str, list[Parameter]]
) -> tuple[list[str], dict[str, Any]]:
    """Return what is wrong with a trial's params, and what the estimator takes for them.

    Parameters
    ----------
    params : mapping of str to object
    parameters : mapping of str to list of Parameter
        By name all that it may be.
    """
    problems, found = [], {}
    for name, value in params.items():
        if name not in parameters:
            problems.append(f"{name}: is not in the space.")
            continue
        try:
            found[name] = _resolved(value, parameters[name])
        except ValueError as error:
            problems.append(f"{name}: {error}")
    return problems, found


def _resolved(value: Any, parameters: list[Parameter]) -> Any:
    """Return what the estimator takes for a value of a parameter, in any of its forms.

    Raises
    ------
    ValueError
        If it is none of its choices.
    """
    choices = [choice for parameter in parameters for choice in parameter.choices]
    found = [choice for choice in choices if same(choice.stored, value)]
    exact = [choice for choice in found if type(choice.stored) is type(value)]  # 1 is not True
    if found:
        return (exact or found)[0].value
    if all(parameter.choices for parameter in parameters):
        raise ValueError(f"{value!r} is none of its choices.")
    return value
