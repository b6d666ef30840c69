"""Turn the short form into checked parameters; all mistakes are reported, not only the first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo._discovery import did_you_mean
from hpo.exceptions import SpaceError
from hpo.space._check import is_instance, name_problems
from hpo.space._forms import as_list, short_form
from hpo.space._points import read_value
from hpo.space._quantiles import HIGH, LOW, Quantiles
from hpo.space._when import check_cycles, parents_first, read_conditions
from hpo.space._yaml import Document
from hpo.space.choices import Choice, read_choices
from hpo.space.parameter import Parameter, Problems, shorten

__all__ = ["parse"]

_NUMERIC_KEYS = ("type", "low", "high", "log", "step", "default", "when")
_DISTRIBUTION_KEYS = ("type", "distribution", "default", "when")
_KEYS = {
    "float": _NUMERIC_KEYS,
    "int": _NUMERIC_KEYS,
    "categorical": ("type", "choices", "default", "when"),
}
_ALL_KEYS = (*("type", "low", "high", "log", "step", "choices", "distribution", "default", "when"),)
_LARGEST_INT = 2**53  # a storage keeps numbers as floats


def parse(document: Document, source: str, estimator: Any = None) -> tuple[Parameter, ...]:
    """Return the parameters of a space, parents before children, otherwise in order.

    Parameters
    ----------
    document : Document
        If valid, its data is a mapping of names to definitions. Problems found while it was
        read are raised together with those found here.
    source : str
        Names the space in messages.
    estimator : object, optional
        The names are compared with its parameters, those of wrong definitions too.

    Raises
    ------
    SpaceError
        With one message for each mistake.
    """
    data = document.data
    if not isinstance(data, Mapping):
        raise SpaceError(document.problems or [f"{source}: {_not_a_space(data)}"])
    order = {name: i for i, name in enumerate(data)}
    problems = Problems(source, document.lines, order, document.unread)
    parameters: dict[str, Parameter] = {}
    forms: dict[str, Mapping[Any, Any]] = {}
    for name, spec in data.items():
        if not isinstance(name, str) or not name:
            problems.add(name, f"a name must be text, got {name!r}")
            continue
        try:
            form = short_form(spec)
        except ValueError as error:
            problems.add(name, str(error))
            continue
        forms[name] = form
        parameter = _parameter(name, form, problems, checked=document.checked)
        if parameter is not None:
            parameters[name] = _with_default(parameter, form, problems)
    conditions = read_conditions(forms, parameters, problems)
    n_problems = len(problems.entries)
    check_cycles(conditions, problems)
    if is_instance(estimator) and len(problems.entries) == n_problems:
        for name, message in name_problems(_to_check(forms, parameters, conditions), estimator):
            problems.add(name, message)
    if document.problems or problems.entries:
        raise SpaceError([*document.problems, *problems.sorted()])
    return tuple(
        replace(parameters[name], when=conditions[name]) for name in parents_first(conditions)
    )


def _to_check(
    forms: Mapping[str, Any],
    parameters: Mapping[str, Parameter],
    conditions: Mapping[str, Mapping[str, Any]],
) -> dict[str, Parameter]:
    """Return the parameters whose names can be compared with those of an estimator.

    One that is defined wrongly has a name all the same; what depends on its values is left out.
    """
    wrong = forms.keys() - parameters.keys()
    names = [
        name
        for name in forms
        if not wrong & conditions[name].keys()
        and not any(name.startswith(f"{parent}__") for parent in wrong)
    ]
    unknown = CategoricalDistribution((None,))
    return {
        name: replace(parameters.get(name, Parameter(name, unknown)), when=conditions[name])
        for name in names
    }


def _not_a_space(data: Any) -> str:
    if data is None:
        example = "lr: {type: float, low: 1e-4, high: 0.1, log: true}"
        return (
            f"is empty; give at least one parameter, such as {example}, or {{}} for the "
            "estimator as it is."
        )
    kind = type(data).__name__
    return f"must be a mapping of parameter names to definitions, got a {kind}: {shorten(data)}."


def _parameter(
    name: str, form: Mapping[Any, Any], problems: Problems, *, checked: bool
) -> Parameter | None:
    n_problems = len(problems.entries)
    kind = form.get("type")
    if not isinstance(kind, str) or kind not in _KEYS:
        _check_keys(name, form, _ALL_KEYS, problems)
        problems.add(name, _wrong_type(form), "type")
        for key in ("low", "high", "step"):
            try:
                _number("float", key, form.get(key, 0))
            except ValueError as error:
                problems.add(name, str(error), key)
        return None
    of_scipy = kind != "categorical" and "distribution" in form
    _check_keys(name, form, _DISTRIBUTION_KEYS if of_scipy else _KEYS[kind], problems)
    if kind == "categorical":
        choices = _choices(name, form, problems, checked=checked)
        if len(problems.entries) > n_problems:
            return None
        return Parameter(name, CategoricalDistribution([c.stored for c in choices]), choices)
    if isinstance(form.get("distribution"), Quantiles):
        return Parameter(name, FloatDistribution(LOW, HIGH), quantiles=form["distribution"])
    distribution = _numeric(name, kind, form, problems)
    ok = distribution is not None and len(problems.entries) == n_problems
    return Parameter(name, distribution) if ok and distribution is not None else None


def _with_default(parameter: Parameter, form: Mapping[Any, Any], problems: Problems) -> Parameter:
    if "default" not in form:
        return parameter
    try:
        return replace(parameter, default=(read_value(parameter, form["default"]),))
    except ValueError as error:
        problems.add(parameter.name, f"`default`: {error}", "default")
        return parameter


def _wrong_type(form: Mapping[Any, Any]) -> str:
    expected = "float, int or categorical"
    if "type" not in form:
        return f"`type` is missing: give {expected}"
    kind = form["type"]
    hint = did_you_mean(kind.lower(), _KEYS) if isinstance(kind, str) else ""
    return f"`type` must be {expected}, got {kind!r}{hint}"


def _check_keys(
    name: str, form: Mapping[Any, Any], allowed: Sequence[str], problems: Problems
) -> None:
    for key in form:
        if key in allowed:
            continue
        if key in _ALL_KEYS:
            message = f"`{key}` has no meaning for type {form['type']}, which takes"
            problems.add(name, f"{message} {', '.join(allowed)}", key)
        else:
            hint = did_you_mean(str(key), allowed) or f"; the keys are {', '.join(allowed)}"
            problems.add(name, f"unknown key '{key}'{hint}", key)


def _choices(
    name: str, form: Mapping[Any, Any], problems: Problems, *, checked: bool
) -> tuple[Choice, ...]:
    if "choices" not in form:
        problems.add(name, "`choices` is missing: give a list of at least one value")
        return ()
    values = form["choices"]
    choices = as_list(values)
    if choices is None:
        problems.add(name, f"`choices` must be a list, got {shorten(values)}", "choices")
        return ()
    if not choices:
        problems.add(name, "`choices` is empty: give at least one value", "choices")
    return read_choices(
        choices, lambda message: problems.add(name, message, "choices"), checked=checked
    )


def _numeric(
    name: str, kind: str, form: Mapping[Any, Any], problems: Problems
) -> BaseDistribution | None:
    numbers: dict[str, Any] = {}
    for key in ("low", "high", "step"):
        if key not in form or (key == "step" and form[key] is None):
            if key != "step":
                problems.add(name, f"`{key}` is missing")
            continue
        try:
            numbers[key] = _number(kind, key, form[key])
        except ValueError as error:
            problems.add(name, str(error), key)
    log = form.get("log", False)
    if not isinstance(log, bool):
        problems.add(name, f"`log` must be true or false, got {log!r}", "log")
        log = False
    mistakes = list(_range_problems(kind, numbers, log))
    for key, message in mistakes:
        problems.add(name, message, key)
    if mistakes or not {"low", "high"} <= numbers.keys():
        return None
    return _distribution(kind, log=log, **numbers)


def _number(kind: str, key: str, value: Any) -> int | float:
    """Return ``value`` as a finite number of ``kind``; text such as "1e-4" counts as one."""
    original = value
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, str):
        value = _number_in(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"`{key}` must be a number, got {shorten(original)}")
    if isinstance(value, int) and abs(value) > _LARGEST_INT:
        raise ValueError(f"`{key}` must lie within ±2**53, got {shorten(original)}")
    if not math.isfinite(value):
        raise ValueError(f"`{key}` must be finite, got {original!r}")
    if kind == "float":
        return float(value)
    if value != int(value) or abs(value) > _LARGEST_INT:
        raise ValueError(f"`{key}` must be an integer for type int, got {original!r}")
    return int(value)


def _number_in(text: str) -> int | float | None:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return None


def _range_problems(kind: str, numbers: Mapping[str, Any], log: bool) -> list[tuple[str, str]]:
    """Return the problems with the combination of bounds and step, as (key, message) pairs."""
    low, high, step = (numbers.get(key) for key in ("low", "high", "step"))
    problems = []
    if low is not None and high is not None and low > high:
        problems.append(("low", f"`low <= high` must hold, but got ({low=}, {high=})"))
    if log and low is not None and kind == "float" and low <= 0:
        problems.append(("low", f"`low > 0` must hold for `log=True`, but got ({low=}, {high=})"))
    if log and low is not None and kind == "int" and low < 1:
        problems.append(("low", f"`low >= 1` must hold for `log=True`, but got ({low=}, {high=})"))
    if step is None:
        return problems
    if step <= 0:
        problems.append(("step", f"`step > 0` must hold, but got {step=}"))
    elif log and not (kind == "int" and step == 1):
        problems.append(("step", f"`step` and `log=True` exclude each other, but got {step=}"))
    elif low is not None and high is not None and low <= high:
        if step > high - low and not (kind == "int" and step == 1):
            message = f"`step` is larger than the range, but got ({low=}, {high=}, {step=})"
            problems.append(("step", message))
        elif kind == "float" and _last_on_grid(low, high, step) is None:
            message = f"`step` is too fine for the range, but got ({low=}, {high=}, {step=})"
            problems.append(("step", message))
    return problems


def _distribution(kind: str, low: Any, high: Any, log: bool, step: Any = None) -> BaseDistribution:
    """Return the distribution, with ``high`` lowered to the last value that ``step`` reaches.

    Optuna does the same, but with a warning; `SearchSpace.describe` shows the actual range.
    """
    if kind == "int":
        by = 1 if step is None else step
        return IntDistribution(low, low + (high - low) // by * by, log=log, step=by)
    if step is not None:
        high = _last_on_grid(low, high, step)
    return FloatDistribution(low, high, log=log, step=step)


def _last_on_grid(low: float, high: float, step: float) -> float | None:
    """Return the last of low, low + step, ... up to high; None beyond the precision of floats."""
    start, by = Decimal(str(low)), Decimal(str(step))
    try:
        last = float((Decimal(str(high)) - start) // by * by + start)
        exact = (Decimal(str(last)) - start) % by == 0
    except InvalidOperation:
        return None
    return last if exact and low <= last <= high else None
