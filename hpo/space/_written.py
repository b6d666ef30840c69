"""A parameter as YAML, as a one-line description, and as plain data to compare."""

from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo.space._yaml import write_value
from hpo.space.parameter import Parameter

__all__ = ["as_yaml", "content", "describe_parameter", "line_between", "line_of_value"]


def as_yaml(parameters: tuple[Parameter, ...]) -> str:
    """Return a space as YAML, one line per parameter."""
    if not parameters:
        return "{}\n"
    lines = (f"{write_value(p.name)}: {write_value(_short_form(p))}\n" for p in parameters)
    return "".join(lines)


def line_between(parameter: Parameter, low: float, high: float, *, log: bool | None = None) -> str:
    """Return the line of YAML that searches a number between other bounds.

    Parameters
    ----------
    parameter : Parameter
        A number with bounds of its own.
    low, high : float
    log : bool or None
        Whether on a logarithmic scale, without a step; None leaves that as it is.
    """
    form = _short_form(parameter) | {"low": low, "high": high}
    if log is not None:
        form = {key: value for key, value in form.items() if key not in {"log", "step"}}
        form |= {"log": True} if log else {}
    return f"{write_value(parameter.name)}: {write_value(form)}"


def line_of_value(parameter: Parameter, value: Any) -> str:
    """Return the line of YAML that gives every trial the same stored value of a parameter."""
    form: Any = [value]
    if parameter.when:
        form = {"type": "categorical", "choices": [value], "when": _short_form(parameter)["when"]}
    return f"{write_value(parameter.name)}: {write_value(form)}"


def _short_form(parameter: Parameter) -> dict[str, Any]:
    """Return the short form of a parameter, as plain data."""
    d = parameter.distribution
    form: dict[str, Any] = {"type": _kind(parameter)}
    if parameter.quantiles is not None:
        form["distribution"] = parameter.quantiles.text
    elif isinstance(d, FloatDistribution | IntDistribution):
        form |= {"low": d.low, "high": d.high}
        if d.log:
            form["log"] = True
        if d.step is not None and (isinstance(d, FloatDistribution) or d.step != 1):
            form["step"] = d.step
    else:
        form["choices"] = [choice.written for choice in parameter.choices]
    if parameter.default:
        form["default"] = parameter.default[0]
    if parameter.when:
        form["when"] = {parent: list(allowed) for parent, allowed in parameter.when.items()}
    return form


def content(parameter: Parameter) -> list[Any]:
    """Return plain data that is equal for equal parameters; values keep their type, 1 != 1.0."""
    d = parameter.distribution
    if isinstance(d, CategoricalDistribution):
        values = [repr(choice) for choice in d.choices]
    else:
        values = [repr(getattr(d, key)) for key in ("low", "high", "log", "step")]
    if parameter.quantiles is not None:
        values.append(parameter.quantiles.text)
    when = {parent: sorted(map(repr, allowed)) for parent, allowed in parameter.when.items()}
    return [_kind_of(d), values, when]


def _kind(parameter: Parameter) -> str:
    if parameter.quantiles is not None:
        return "int" if parameter.quantiles.discrete else "float"
    return _kind_of(parameter.distribution)


def _kind_of(distribution: BaseDistribution) -> str:
    return type(distribution).__name__.removesuffix("Distribution").lower()


def describe_parameter(parameter: Parameter) -> str:
    """Return a one-line description of a parameter, such as "float 1e-05 .. 0.1, log"."""
    text = _values(parameter)
    if parameter.default:
        text += f", default {parameter.default[0]}"
    for parent, allowed in parameter.when.items():
        text += f", when {parent} is {' or '.join(map(str, allowed))}"
    return text


def _values(parameter: Parameter) -> str:
    distribution = parameter.distribution
    if parameter.quantiles is not None:
        quantiles = parameter.quantiles
        return f"{_kind(parameter)} {quantiles.low:g} .. {quantiles.high:g}, {quantiles.text}"
    if isinstance(distribution, CategoricalDistribution):
        return f"categorical: {', '.join(map(str, distribution.choices))}"
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        return repr(distribution)
    text = f"{_kind(parameter)} {distribution.low} .. {distribution.high}"
    if distribution.log:
        return f"{text}, log"
    return text if distribution.step in (None, 1) else f"{text}, step {distribution.step}"
