"""Convert between a trial's params and the values that a storage keeps."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hpo.space._grids import GRID
from hpo.space._points import is_valid_value
from hpo.space.choices import same
from hpo.space.parameter import Parameter

__all__ = ["params_of", "resolved_params", "stored_params"]


def params_of(stored: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return a trial's params from its stored values."""
    params = {}
    for key, value in stored.items():
        if key not in parameters:  # stored by an earlier version of the space
            params[key] = value
        elif key != GRID:
            params[parameters[key].estimator_name] = parameters[key].read(value)
    return params


def stored_params(
    params: Mapping[str, Any],
    parameters: Mapping[str, Parameter],
    is_active: Callable[[str, Mapping[str, Any]], bool],
) -> dict[str, Any] | None:
    """Return the stored values for params, all of them or a part; None if they do not fit.

    For a list of spaces, the first space in which the params are complete is preferred, then the
    first one that they fit.
    """
    candidates = list(_ways_to_keep(params, parameters))
    for stored in candidates:
        if stored.keys() == {key for key in parameters if is_active(key, stored)}:
            return stored
    return next(iter(candidates), None)


def _ways_to_keep(
    params: Mapping[str, Any], parameters: Mapping[str, Parameter]
) -> Iterator[dict[str, Any]]:
    branches = [choice.stored for choice in parameters[GRID].choices] if GRID in parameters else []
    for branch in branches or [None]:
        by_target = {
            p.estimator_name: p
            for key, p in parameters.items()
            if key != GRID and branch in p.when.get(GRID, (branch,))
        }
        if all(
            name in by_target and is_valid_value(by_target[name], value)
            for name, value in params.items()
        ):
            grid_value = {} if branch is None else {GRID: branch}
            yield grid_value | {
                by_target[name].name: by_target[name].keep(v) for name, v in params.items()
            }


def resolved_params(
    params: Mapping[str, Any], parameters: Mapping[str, list[Parameter]]
) -> tuple[list[str], dict[str, Any]]:
    """Return the problems with a trial's params, and the values to set on the estimator.

    Parameters
    ----------
    params : mapping of str to object
    parameters : mapping of str to list of Parameter
        All definitions of each name.
    """
    problems, resolved = [], {}
    for name, value in params.items():
        if name not in parameters:
            problems.append(f"{name}: is not in the space.")
            continue
        try:
            resolved[name] = _resolved(value, parameters[name])
        except ValueError as error:
            problems.append(f"{name}: {error}")
    return problems, resolved


def _resolved(value: Any, parameters: list[Parameter]) -> Any:
    """Return the estimator's value for a trial's value, looked up in all definitions.

    Raises
    ------
    ValueError
        If it is not one of the choices.
    """
    choices = [choice for parameter in parameters for choice in parameter.choices]
    matches = [choice for choice in choices if same(choice.stored, value)]
    exact = [choice for choice in matches if type(choice.stored) is type(value)]  # 1 is not True
    if matches:
        return (exact or matches)[0].value
    if all(parameter.choices for parameter in parameters):
        raise ValueError(f"{value!r} is none of its choices.")
    return value
