"""Create Optuna pruners from names and options, with all checks done before a trial runs."""

import inspect
import re
import typing
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning

from hpo._discovery import did_you_mean

__all__ = ["make_pruner"]

_INNER = "wrapped__"


def make_pruner(name: Any, options: Mapping[str, Any]) -> optuna.pruners.BasePruner:
    """Return the Optuna pruner that ``name`` and ``options`` describe; see `OptunaPruner`.

    Raises
    ------
    ValueError
        If there is no such pruner, or it refuses the options.
    """
    if isinstance(name, optuna.pruners.BasePruner):
        if options:
            raise ValueError(
                f"{type(name).__name__} is built already, so it takes no options. "
                f"Got {', '.join(options)}: give the pruner's name with them instead."
            )
        return name
    classes = _pruner_classes()
    if not isinstance(name, str) or name not in classes:
        hint = did_you_mean(name, classes) if isinstance(name, str) else ""
        raise ValueError(
            f"Optuna has no pruner {name!r}{hint or '.'} "
            f"Choose one of: {', '.join(sorted(classes))}."
        )
    kind = classes[name]
    arguments = dict(options)
    if kind is optuna.pruners.PatientPruner:
        arguments = _wrap(arguments)
    _check(kind, arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Optuna's {kind.__name__} refused its options: {error}") from error


def _pruner_classes() -> dict[str, type[optuna.pruners.BasePruner]]:
    """Return Optuna's pruner classes by name, such as ``successive_halving``."""
    classes = {name: getattr(optuna.pruners, name) for name in optuna.pruners.__all__}
    return {
        re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("Pruner")).lower(): item
        for name, item in classes.items()
        if not inspect.isabstract(item)
    }


def _wrap(options: dict[str, Any]) -> dict[str, Any]:
    """Replace ``wrapped`` and the ``wrapped__…`` options by the pruner that they describe."""
    inner = {k.removeprefix(_INNER): v for k, v in options.items() if k.startswith(_INNER)}
    outer = {k: v for k, v in options.items() if not k.startswith(_INNER)}
    wrapped = outer.pop("wrapped", None)
    if wrapped is None and inner:
        raise ValueError(
            f"The option '{_INNER}{next(iter(inner))}' needs the option 'wrapped', "
            "the name of the pruner that the patient one wraps."
        )
    outer["wrapped_pruner"] = None if wrapped is None else make_pruner(wrapped, inner)
    return outer


def _check(kind: type[optuna.pruners.BasePruner], options: Mapping[str, Any]) -> None:
    parameters = inspect.signature(kind).parameters
    names = ", ".join("wrapped" if name == "wrapped_pruner" else name for name in parameters)
    for name in options:
        if name not in parameters:
            hint = did_you_mean(name, parameters) or "."
            raise ValueError(
                f"Optuna's {kind.__name__} has no option '{name}'{hint} "
                f"Its options are: {names or 'none'}."
            )
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            raise ValueError(f"Optuna's {kind.__name__} needs the option '{name}'.")
    hints = typing.get_type_hints(kind.__init__)
    for name, value in options.items():
        if not _fits(value, hints[name]):
            hint = hints[name].__name__ if isinstance(hints[name], type) else hints[name]
            raise ValueError(
                f"The '{name}' option of Optuna's {kind.__name__} must be {hint}. "
                f"Got {value!r} instead."
            )
    if kind is optuna.pruners.HyperbandPruner:
        _check_hyperband(**options)


def _fits(value: Any, hint: Any) -> bool:
    """Return whether ``value`` fits the annotation; an int is a float, a bool is neither."""
    kinds = typing.get_args(hint) or (hint,)
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, kinds) or (float in kinds and isinstance(value, int))


def _check_hyperband(
    min_resource: int = 1, max_resource: int | str = "auto", reduction_factor: int = 3, **_: Any
) -> None:
    """Reject values that Optuna accepts but then divides by, or that leave it without brackets."""
    if min_resource < 1 or reduction_factor < 2:
        raise ValueError(
            "Optuna's HyperbandPruner needs `min_resource >= 1` and `reduction_factor >= 2`, "
            f"but got ({min_resource=}, {reduction_factor=})."
        )
    if isinstance(max_resource, int) and max_resource < min_resource:
        raise ValueError(
            "Optuna's HyperbandPruner needs `max_resource >= min_resource`, "
            f"but got ({min_resource=}, {max_resource=})."
        )
