"""Convert every accepted way to write a parameter into the short form."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo.space._quantiles import distribution_form, is_distribution
from hpo.space.parameter import shorten

__all__ = ["as_list", "short_form"]

_FORM = (
    "{type: float|int|categorical, ...}, a list of choices, a distribution of scipy.stats "
    "or an optuna distribution"
)


def short_form(spec: Any) -> Mapping[Any, Any]:
    """Return the short form, a mapping, of a parameter written in any accepted way.

    Raises
    ------
    ValueError
        If ``spec`` is not a valid definition; the message lists the accepted ones.
    """
    if isinstance(spec, Mapping):
        return _with_distribution(spec) if "distribution" in spec else spec
    if isinstance(spec, CategoricalDistribution):
        return {"type": "categorical", "choices": spec.choices}
    if isinstance(spec, FloatDistribution | IntDistribution):
        return _numeric_form(spec)
    if is_distribution(spec):
        return distribution_form(spec)
    if isinstance(spec, range) and len(spec) and spec.step > 0:
        return {"type": "int", "low": spec[0], "high": spec[-1], "step": spec.step}
    choices = as_list(spec)
    if choices is None:
        raise ValueError(f"must be {_FORM}, got {shorten(spec)}{_hint(spec)}")
    return {"type": "categorical", "choices": choices}


def _numeric_form(spec: FloatDistribution | IntDistribution) -> dict[str, Any]:
    kind = "float" if isinstance(spec, FloatDistribution) else "int"
    form = {"type": kind, "low": spec.low, "high": spec.high, "log": spec.log}
    has_step = spec.step not in (None, 1) if kind == "int" else spec.step is not None
    return {**form, "step": spec.step} if has_step else form


def as_list(values: Any) -> list[Any] | None:
    """Return the values of a one-dimensional list, range, series or array; else None."""
    if isinstance(values, str | bytes | Mapping):
        return None
    if isinstance(values, list | tuple):
        return list(values)
    if hasattr(values, "tolist") and getattr(values, "ndim", 0) == 1:
        return list(values.tolist())
    if isinstance(values, Sequence):
        return list(values)
    return None


def _hint(spec: Any) -> str:
    if getattr(spec, "ndim", 0) > 1:
        return "; of an array of several dimensions, give the list of its rows: list(array)"
    if hasattr(spec, "__iter__") and not isinstance(spec, str | bytes):
        return "; make a list of it"
    return ""


def _with_distribution(spec: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return the short form with its ``distribution`` parsed.

    Raises
    ------
    ValueError
        If it is not a distribution, or if other keys define the values too.
    """
    distribution = spec["distribution"]
    if not (isinstance(distribution, str) or is_distribution(distribution)):
        raise ValueError(
            "`distribution` must be one of scipy.stats with its parameters, such as "
            f"expon(scale=10), got {shorten(distribution)}"
        )
    form = distribution_form(distribution)
    conflicting = [key for key in ("low", "high", "log", "step", "choices") if key in spec]
    if conflicting:
        raise ValueError(f"`distribution` and `{conflicting[0]}` exclude each other")
    kind = spec.get("type", form["type"])
    if kind != form["type"]:
        raise ValueError(f"`type` must be {form['type']} for {distribution}, got {kind!r}")
    rest = {key: value for key, value in spec.items() if key not in {"type", "distribution"}}
    return {**form, **rest}
