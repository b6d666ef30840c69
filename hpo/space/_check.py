"""Check that an estimator has the parameters that a search space names.

Estimators are recognized by their interface (``get_params``, skorch's ``prefixes_``), so that
neither scikit-learn nor skorch has to be imported here.
"""

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hpo._discovery import did_you_mean
from hpo.space._synonyms import synonym
from hpo.space.choices import Choice, Stored, dotted_path, same
from hpo.space.parameter import Parameter

__all__ = ["check_names", "is_instance", "name_problems"]

_COMPONENTS = ("module", "criterion", "optimizer")


def check_names(parameters: Mapping[str, Parameter], estimator: Any, source: str) -> list[str]:
    """Return one message for each name that ``estimator`` does not have.

    Parameters
    ----------
    parameters : mapping of str to Parameter
    estimator : object
        A scikit-learn or skorch estimator.
    source : str
        Names the space in messages.
    """
    if not is_instance(estimator):
        hint = " Give an instance, not the class." if inspect.isclass(estimator) else ""
        return [f"{source}: {estimator!r} is no estimator: it must have get_params.{hint}"]
    problems = name_problems(parameters, estimator)
    return [f"{source}: {name}: {message}" for name, message in problems]


def is_instance(estimator: Any) -> bool:
    """Return whether ``estimator`` is one whose parameters can be asked for."""
    return _is_estimator(estimator)


def name_problems(parameters: Mapping[str, Parameter], estimator: Any) -> Iterator[tuple[str, str]]:
    """Yield each name that ``estimator`` does not have, and a message."""
    checker = _Checker(parameters, estimator)
    for name in parameters:
        for message in dict.fromkeys(checker.check(name)):
            yield name, message


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A value that a parameter may have: the estimator's current one, or a choice of the space."""

    value: Any
    choice: Choice | None = None

    def __str__(self) -> str:
        if self.choice is not None:
            return str(self.choice.stored)
        if isinstance(self.value, str):
            return repr(self.value)
        return dotted_path(self.value) or type(self.value).__name__


@dataclass(frozen=True, slots=True)
class _Checker:
    """Follows each name of the space into the estimator, through nested estimators."""

    parameters: Mapping[str, Parameter]
    estimator: Any

    def check(self, name: str) -> Iterator[str]:
        """Yield one message for each problem with ``name``."""
        yield from self._follow(self.estimator, "", name, name)

    def _follow(self, owner: Any, prefix: str, rest: str, name: str) -> Iterator[str]:
        """Yield the problems with ``rest``, a parameter of ``owner``, whose path is ``prefix``."""
        head, dunder, tail = rest.partition("__")
        params = _direct_params(owner)
        if hasattr(owner, "prefixes_") and head == "callbacks" and dunder:
            yield from self._check_callback(owner, prefix, tail)
        elif hasattr(owner, "prefixes_") and head == "compile" and dunder:
            return  # passed to torch.compile unchecked
        elif head not in params and rest not in params:
            is_net = hasattr(owner, "prefixes_")
            is_prefix = is_net and head in owner.prefixes_ and dunder
            if not is_prefix and (is_net or not self._accepts(owner, rest, name)):
                yield self._unknown_message(owner, prefix, rest)
        elif dunder and head in params:
            yield from self._check_nested(prefix + head, params[head], tail, name)
            yield from self._check_argument(owner, prefix + head, params[head], tail, name)
        elif not dunder and hasattr(owner, "prefixes_") and head in _COMPONENTS:
            yield from self._check_not_text(name)

    def _check_nested(self, key: str, current: Any, rest: str, name: str) -> Iterator[str]:
        """Yield the problems with ``key__rest`` where ``key`` is an estimator."""
        estimators = [c for c in self._candidates(key, current, key) if _is_estimator(c.value)]
        messages = {
            id(c.value): list(self._follow(c.value, key + "__", rest, name)) for c in estimators
        }
        accepting = [c for c in estimators if not messages[id(c.value)]]
        for candidate in self._candidates(key, current, name):
            if not messages.get(id(candidate.value)):
                continue
            if accepting:
                yield f"{candidate} takes no '{rest}'{_suggest_condition(key, accepting)}"
            else:
                yield from messages[id(candidate.value)]

    def _candidates(self, key: str, current: Any, name: str) -> list[_Candidate]:
        """Return the values that ``key`` may have while ``name`` exists."""
        parameter = self.parameters.get(key)
        if parameter is None or not parameter.choices:
            return [_Candidate(current)]
        allowed = None if name == key else self._compatible(name, key)
        return [
            _Candidate(choice.value, choice)
            for choice in parameter.choices
            if allowed is None or any(same(choice.stored, value) for value in allowed)
        ]

    def _compatible(self, name: str, key: str) -> tuple[Stored, ...] | None:
        """Return the stored values of ``key`` that ``name`` allows; None if it allows all."""
        allowed: tuple[Stored, ...] | None = None
        for parent, values in self.parameters[name].when.items():
            parent_values = values if parent == key else self._compatible(parent, key)
            if parent_values is not None:
                previous = parent_values if allowed is None else allowed
                allowed = tuple(
                    v for v in previous if any(same(v, other) for other in parent_values)
                )
        return allowed

    def _check_argument(
        self, owner: Any, key: str, current: Any, argument: str, name: str
    ) -> Iterator[str]:
        """Yield the problems with ``key__argument`` where ``key`` is not an estimator."""
        candidates = [c for c in self._candidates(key, current, name) if not _is_estimator(c.value)]
        if not candidates or (argument == "param_groups" and key.endswith("optimizer")):
            return
        is_net = hasattr(owner, "prefixes_")
        refusing = [c for c in candidates if not (is_net and _takes(c.value, argument))]
        # A choice that is text is reported once, for the parameter that chooses it.
        refusing = [c for c in refusing if not (is_net and isinstance(c.value, str))]
        if not refusing:
            return
        message = f"{' and '.join(map(str, refusing))} {_take_verb(refusing)} no '{argument}'"
        yield message + self._remedy(key, current, argument, refusing)

    def _remedy(self, key: str, current: Any, argument: str, refusing: list[_Candidate]) -> str:
        accepting = [c for c in self._candidates(key, current, key) if _takes(c.value, argument)]
        if accepting:
            return _suggest_condition(key, accepting)
        names = [n for c in refusing for n in _arguments(c.value)]
        if meant := synonym(argument, names):
            return f", did you mean '{key}__{meant}'?"
        return _suggestion(argument, names, key + "__") or "."

    def _check_not_text(self, name: str) -> Iterator[str]:
        for choice in self.parameters[name].choices:
            if isinstance(choice.value, str):
                yield (
                    f"'{choice.value}' is text, where a class is wanted; "
                    "write its dotted path, such as torch.optim.Adam."
                )

    def _check_callback(self, net: Any, prefix: str, rest: str) -> Iterator[str]:
        """Yield the problems with ``callbacks__rest`` of ``net``."""
        if prefix + "callbacks" in self.parameters:
            return
        callbacks = dict(_callbacks(net))
        head, dunder, tail = rest.partition("__")
        if head not in callbacks:
            hint = _suggestion(head, callbacks, f"{prefix}callbacks__")
            hint = hint or f"; its callbacks are {', '.join(callbacks)}."
            yield f"{type(net).__name__} has no callback '{head}'{hint}"
        elif dunder and not _callback_takes(callbacks[head], tail):
            kind = _Candidate(callbacks[head])
            yield f"callback '{head}' ({kind}) takes no '{tail}'" + (
                _suggestion(tail, _arguments(callbacks[head]), f"{prefix}callbacks__{head}__")
                or "."
            )

    def _accepts(self, owner: Any, rest: str, name: str) -> bool:
        """Return whether ``owner`` accepts a parameter it does not list, as LightGBM's do."""
        if "__" in rest:
            return False
        parameter = self.parameters[name]
        value = parameter.choices[0].value if parameter.choices else 0
        try:
            copy.copy(owner).set_params(**{rest: value})
        except Exception:  # whatever the estimator's own set_params raises
            return False
        return True

    def _unknown_message(self, owner: Any, prefix: str, rest: str) -> str:
        names = list(_all_names(self.estimator))
        name = prefix + rest
        message = f"'{rest}' is not a parameter of {type(owner).__name__}"
        under = [full for full in names if full.startswith(prefix)]
        # 'lr' may be meant for 'net__lr', and 'dropout' for 'module__dropout'.
        nested = [n for n in names if n.endswith("__" + rest) and n.startswith(prefix)]
        meant = min(nested, key=len, default="") or synonym(rest, under)
        if meant:
            return f"{message}, did you mean '{meant}'?"
        hint = did_you_mean(name, under)
        direct = sorted(key for key in _direct_params(owner) if "__" not in key)
        return message + (hint or f"; it has {', '.join(direct)}.")


def _suggestion(word: str, names: Iterable[str], prefix: str) -> str:
    return did_you_mean(word, names).replace("'", f"'{prefix}", 1)


def _is_estimator(value: Any) -> bool:
    return hasattr(value, "get_params") and not inspect.isclass(value)


def _suggest_condition(key: str, accepting: list[_Candidate]) -> str:
    return f"; add when: {{{key}: [{', '.join(map(str, accepting))}]}}."


def _take_verb(candidates: list[_Candidate]) -> str:
    return "takes" if len(candidates) == 1 else "take"


def _direct_params(owner: Any) -> dict[str, Any]:
    """Return the direct parameters of ``owner`` by name; for a Pipeline also its steps."""
    params: Mapping[str, Any] = owner.get_params(deep=True)
    is_net = hasattr(owner, "prefixes_")
    return {
        key: value
        for key, value in params.items()
        if not key.startswith("_") and (is_net or "__" not in key)
    }


def _signature(target: Any) -> Mapping[str, inspect.Parameter] | None:
    """Return the arguments that build ``target``; None if they cannot be determined."""
    if isinstance(target, str | int | float | None):
        return {}
    # skorch calls a class or function, but re-creates a module instance from its class.
    called = inspect.isclass(target) or (callable(target) and not hasattr(target, "forward"))
    try:
        return inspect.signature(target if called else type(target)).parameters
    except (TypeError, ValueError):
        return None


def _takes(target: Any, argument: str) -> bool:
    """Return whether ``target``, or the class of the instance ``target``, takes ``argument``."""
    parameters = _signature(target)
    if parameters is None or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return True
    return argument in _arguments(target)


def _arguments(target: Any) -> list[str]:
    parameters = _signature(target) or {}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, p in parameters.items() if p.kind in by_name]


def _all_names(owner: Any, prefix: str = "") -> Iterator[str]:
    """Yield all parameter names of ``owner``, nested ones included, for suggestions."""
    is_net = hasattr(owner, "prefixes_")
    for key, value in _direct_params(owner).items():
        yield prefix + key
        if _is_estimator(value):
            yield from _all_names(value, f"{prefix}{key}__")
        elif is_net and "__" not in key and (inspect.isclass(value) or key in _COMPONENTS):
            yield from (f"{prefix}{key}__{argument}" for argument in _arguments(value))


def _callbacks(net: Any) -> Iterator[tuple[str, Any]]:
    """Yield the callbacks of a skorch net under the names that skorch gives them."""
    named = [*net.get_default_callbacks()]
    own_callbacks = net.callbacks if isinstance(net.callbacks, list | tuple) else []
    for item in own_callbacks:
        if isinstance(item, list | tuple):
            named.append((item[0], item[1]))
        else:
            kind = item if inspect.isclass(item) else type(item)
            named.append((kind.__name__, item))
    names = [name for name, _ in named]
    for i, (name, callback) in enumerate(named):
        repeated = names.count(name) > 1
        yield (f"{name}_{names[: i + 1].count(name)}" if repeated else name), callback


def _callback_takes(callback: Any, argument: str) -> bool:
    if inspect.isclass(callback):
        return _takes(callback, argument)
    get: Callable[[], Mapping[str, Any]] | None = getattr(callback, "get_params", None)
    return get is not None and argument in get()
