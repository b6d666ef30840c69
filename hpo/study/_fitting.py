"""Whether a trial of one search space is a trial of another one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.identity import Describer
from hpo.space import SearchSpace
from hpo.space.parameter import Parameter
from hpo.study._own_values import MISSING, own_value

__all__ = ["Fitting"]

_COMPONENT = re.compile(r"(?:^|__)(?:module|criterion|optimizer)__")
"""Of what is made by torch's classes, for which 0 is 0.0; it is not for scikit-learn's."""


@dataclass(frozen=True, slots=True)
class _Value:
    """What a parameter is: a plain value as it is stored, or an object by its mark."""

    plain: Any = MISSING
    mark: str = ""
    text: str = ""

    def equals(self, other: "_Value") -> bool:
        if self.mark or other.mark:
            return self.mark == other.mark
        return type(self.plain) is type(other.plain) and repr(self.plain) == repr(other.plain)


class Fitting:
    """Finds the place of a trial in another search space than its own.

    A trial fits if what it trained can be said in the new space: each parameter there has a
    value that the trial had, or that the estimator has by itself where the trial's own space did
    not set it; and what the new space no longer sets is what the estimator has by itself.

    Parameters
    ----------
    forms : mapping of str to mapping
        The old space, as a study's fingerprint keeps it.
    space : SearchSpace
        The new one.
    estimator : estimator
        Of both.
    """

    def __init__(
        self, forms: Mapping[str, Mapping[str, Any]], space: SearchSpace, estimator: Any
    ) -> None:
        self._forms = forms
        self._space = space
        self._estimator = estimator
        self._of = Describer()
        self._own: dict[str, _Value] = {}

    def __call__(self, params: Mapping[str, Any]) -> dict[str, Any] | str:
        """Return the params in the new space of a trial with ``params`` in the old one.

        Or, as text, the reason why there are none.
        """
        why = ""
        for part in self._space.parts:
            found = self._in_part(part, params)
            if not isinstance(found, str):
                return found
            why = why or found
        return why

    def _in_part(self, part: SearchSpace, params: Mapping[str, Any]) -> dict[str, Any] | str:
        """Return the params in one of the spaces of a list, or why there are none."""
        fitted: dict[str, Any] = {}
        for name in part:
            if part.is_active(name, fitted):
                value = self._value(name, params, fitted)
                fitted[name] = self._stored(part, name, value)
                if fitted[name] is MISSING:
                    return self._why(part, name, value, new=name not in params)
        for name in params:
            if name not in fitted:
                value = self._value(name, params, fitted)
                if not value.equals(self._by_itself(name, fitted)):
                    return f"{name} is no longer searched, and was not what the estimator has"
        return fitted

    def _value(self, name: str, params: Mapping[str, Any], fitted: Mapping[str, Any]) -> _Value:
        if name not in params:
            return self._by_itself(name, fitted)
        for label, mark in self._forms[name].get("choices", ()):
            if repr(label) == repr(params[name]) and mark:
                return _Value(mark=mark, text=str(label))
        return _Value(params[name], text=str(params[name]))

    def _by_itself(self, name: str, fitted: Mapping[str, Any]) -> _Value:
        """Return what the estimator has for a parameter, under those that it hangs on."""
        words = name.split("__")
        above = {"__".join(words[:n]) for n in range(1, len(words))}
        stored = {parent: fitted[parent] for parent in sorted(above & set(fitted))}
        key = repr((name, stored))
        if key not in self._own:
            found = own_value(self._estimator, name, self._space.resolve(stored))
            self._own[key] = self._described(found)
        return self._own[key]

    def _described(self, value: Any) -> _Value:
        if value is MISSING:
            return _Value()
        value = value.item() if hasattr(value, "item") and not hasattr(value, "detach") else value
        if isinstance(value, bool | int | float | str | None):
            return _Value(value, text=repr(value))
        found = self._of.describe(value)
        return _Value(mark=found.mark, text=found.text)

    def _stored(self, part: SearchSpace, name: str, value: _Value) -> Any:
        """Return what trials of the new space have for a value; `MISSING` if none has it."""
        parameter = part.parameters[name]
        for choice in parameter.choices:
            plain = choice.kind == "plain"
            known = _Value(choice.stored) if plain else self._described(choice.value)
            if known.equals(value):
                return choice.stored
        return MISSING if parameter.choices else self._number(parameter, value.plain)

    def _number(self, parameter: Parameter, number: Any) -> Any:
        d: Any = parameter.quantiles or parameter.distribution
        wanted, name = type(d.low), parameter.name
        if type(number) is int and wanted is float and _COMPONENT.search(name):
            number = float(number)
        if type(number) is not wanted or not d.low <= number <= d.high:
            return MISSING
        steps = 0.0 if d.step is None else (number - d.low) / d.step
        return number if abs(steps - round(steps)) < 1e-8 else MISSING

    def _why(self, part: SearchSpace, name: str, value: _Value, *, new: bool) -> str:
        if new and value.plain is MISSING and not value.mark:
            return f"{name} is new, and what it is by itself is not known"
        if new:
            return f"{name} is new, and what it is by itself, {value.text}, is not in its range"
        if part.parameters[name].choices:
            return f"{name} was {value.text}, which is no choice of it now"
        return f"{name} was outside of {part.describe(name)}"
