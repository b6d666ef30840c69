"""Whether a trial of one search space is a trial of another one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.identity import Describer
from hpo.space import SearchSpace
from hpo.space.parameter import Parameter
from hpo.study._own_values import MISSING, default_value

__all__ = ["Fitting"]

_COMPONENT = re.compile(r"(?:^|__)(?:module|criterion|optimizer)__")
"""Parameters of torch classes, for which 0 equals 0.0; scikit-learn distinguishes the two."""


@dataclass(frozen=True, slots=True)
class _Value:
    """The value of a parameter: a plain value as it is stored, or the hash of an object."""

    plain: Any = MISSING
    mark: str = ""
    text: str = ""

    def equals(self, other: "_Value") -> bool:
        if self.mark or other.mark:
            return self.mark == other.mark
        if type(self.plain) is not type(other.plain):
            return False
        # 0.0 equals -0.0, which is written otherwise; NaN is written alike and equals nothing.
        return bool(self.plain == other.plain) or repr(self.plain) == repr(other.plain)


class Fitting:
    """Translates the parameters of a trial to another search space.

    A trial fits if what it trained can be expressed in the new space: each parameter there has
    the value of the trial or, where the trial's space did not set it, the estimator's default;
    and each parameter that the new space no longer sets has the estimator's default.

    Parameters
    ----------
    forms : mapping of str to mapping
        The old space, as it is stored in a study's fingerprint.
    space : SearchSpace
        The new space.
    estimator : estimator
        The estimator of both spaces.
    """

    def __init__(
        self, forms: Mapping[str, Mapping[str, Any]], space: SearchSpace, estimator: Any
    ) -> None:
        self._forms = forms
        self._space = space
        self._estimator = estimator
        self._describer = Describer()
        self._defaults: dict[str, _Value] = {}

    def __call__(self, params: Mapping[str, Any]) -> dict[str, Any] | str:
        """Return the params in the new space, or as a text the reason why they do not fit.

        Parameters
        ----------
        params : mapping of str to object
            The params of a trial in the old space.
        """
        reason = ""
        for part in self._space.parts:
            fitted = self._fit_part(part, params)
            if not isinstance(fitted, str):
                return fitted
            reason = reason or fitted
        return reason

    def _fit_part(self, part: SearchSpace, params: Mapping[str, Any]) -> dict[str, Any] | str:
        """Return the params in one of the spaces of a list, or why they do not fit."""
        fitted: dict[str, Any] = {}
        for name in part:
            if part.is_active(name, fitted):
                value = self._value(name, params, fitted)
                fitted[name] = self._stored_value(part, name, value)
                if fitted[name] is MISSING:
                    return self._reason(part, name, value, new=name not in params)
        for name in params:
            if name not in fitted:
                value = self._value(name, params, fitted)
                if not value.equals(self._default(name, fitted)):
                    return f"{name} is no longer searched, and was not what the estimator has"
        return fitted

    def _value(self, name: str, params: Mapping[str, Any], fitted: Mapping[str, Any]) -> _Value:
        if name not in params:
            return self._default(name, fitted)
        for label, mark in self._forms[name].get("choices", ()):
            if repr(label) == repr(params[name]) and mark:
                return _Value(mark=mark, text=str(label))
        return _Value(params[name], text=str(params[name]))

    def _default(self, name: str, fitted: Mapping[str, Any]) -> _Value:
        """Return the estimator's default of a parameter, given those that it depends on."""
        names = name.split("__")
        prefixes = {"__".join(names[:n]) for n in range(1, len(names))}
        parents = {parent: fitted[parent] for parent in sorted(prefixes & set(fitted))}
        key = repr((name, parents))
        if key not in self._defaults:
            default = default_value(self._estimator, name, self._space.resolve(parents))
            self._defaults[key] = self._describe_value(default)
        return self._defaults[key]

    def _describe_value(self, value: Any) -> _Value:
        if value is MISSING:
            return _Value()
        value = value.item() if hasattr(value, "item") and not hasattr(value, "detach") else value
        if isinstance(value, bool | int | float | str | None):
            return _Value(value, text=repr(value))
        description = self._describer.describe(value)
        return _Value(mark=description.mark, text=description.text)

    def _stored_value(self, part: SearchSpace, name: str, value: _Value) -> Any:
        """Return a value as the new space stores it; `MISSING` if it is not in the space."""
        parameter = part.parameters[name]
        for choice in parameter.choices:
            plain = choice.kind == "plain"
            candidate = _Value(choice.stored) if plain else self._describe_value(choice.value)
            if candidate.equals(value):
                return choice.stored
        return MISSING if parameter.choices else self._number(parameter, value.plain)

    def _number(self, parameter: Parameter, number: Any) -> Any:
        d: Any = parameter.quantiles or parameter.distribution
        number_type, name = type(d.low), parameter.name
        if type(number) is int and number_type is float and _COMPONENT.search(name):
            number = float(number)
        if type(number) is not number_type or not d.low <= number <= d.high:
            return MISSING
        steps = 0.0 if d.step is None else (number - d.low) / d.step
        return number if abs(steps - round(steps)) < 1e-8 else MISSING

    def _reason(self, part: SearchSpace, name: str, value: _Value, *, new: bool) -> str:
        if new and value.plain is MISSING and not value.mark:
            return f"{name} is new, and what it is by itself is not known"
        if new:
            return f"{name} is new, and what it is by itself, {value.text}, is not in its range"
        if part.parameters[name].choices:
            return f"{name} was {value.text}, which is no choice of it now"
        return f"{name} was outside of {part.describe(name)}"
