"""Compare the names of a search space with the parameters of an estimator.

Estimators are known by what they can do (``get_params``, skorch's ``prefixes_``), so that
neither scikit-learn nor skorch is imported here.
"""

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hpo._discovery import did_you_mean
from hpo.space.choices import Choice, Stored, dotted_path, same
from hpo.space.parameter import Parameter

__all__ = ["check_names"]

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
    if inspect.isclass(estimator) or not hasattr(estimator, "get_params"):
        hint = " Give an instance, not the class." if inspect.isclass(estimator) else ""
        return [f"{source}: {estimator!r} is no estimator: it must have get_params.{hint}"]
    checker = _Checker(parameters, estimator)
    return [
        f"{source}: {name}: {message}"
        for name in parameters
        for message in dict.fromkeys(checker.check(name))
    ]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A value that a parameter may have: of the estimator itself, or a choice of the space."""

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
    """Follows one name after the other into the estimator."""

    parameters: Mapping[str, Parameter]
    estimator: Any

    def check(self, name: str) -> Iterator[str]:
        """Yield what is wrong with ``name``."""
        yield from self._follow(self.estimator, "", name, name)

    def _follow(self, owner: Any, prefix: str, rest: str, name: str) -> Iterator[str]:
        """Yield what is wrong with ``rest`` as a parameter of ``owner``, which ``prefix`` names."""
        head, dunder, tail = rest.partition("__")
        params = _own_params(owner)
        if hasattr(owner, "prefixes_") and head == "callbacks" and dunder:
            yield from self._callback(owner, prefix, tail)
        elif hasattr(owner, "prefixes_") and head == "compile" and dunder:
            return  # handed to torch.compile as it is
        elif head not in params and rest not in params:
            of_net = hasattr(owner, "prefixes_")
            known = of_net and head in owner.prefixes_ and dunder
            if not known and (of_net or not self._accepts(owner, rest, name)):
                yield self._unknown(owner, prefix, rest)
        elif dunder and head in params:
            yield from self._nested(prefix + head, params[head], tail, name)
            yield from self._taken(owner, prefix + head, params[head], tail, name)
        elif not dunder and hasattr(owner, "prefixes_") and head in _COMPONENTS:
            yield from self._no_text(name)

    def _nested(self, key: str, current: Any, rest: str, name: str) -> Iterator[str]:
        """Yield what is wrong with ``key__rest`` where ``key`` is an estimator."""
        everything = [c for c in self._candidates(key, current, key) if _is_estimator(c.value)]
        wrong = {
            id(c.value): list(self._follow(c.value, key + "__", rest, name)) for c in everything
        }
        takers = [c for c in everything if not wrong[id(c.value)]]
        for candidate in self._candidates(key, current, name):
            if not wrong.get(id(candidate.value)):
                continue
            if takers:
                yield f"{candidate} takes no '{rest}'{_add_when(key, takers)}"
            else:
                yield from wrong[id(candidate.value)]

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
        """Return the stored values of ``key`` that the conditions of ``name`` allow; None: all."""
        allowed: tuple[Stored, ...] | None = None
        for parent, values in self.parameters[name].when.items():
            further = values if parent == key else self._compatible(parent, key)
            if further is not None:
                kept = further if allowed is None else allowed
                allowed = tuple(v for v in kept if any(same(v, other) for other in further))
        return allowed

    def _taken(self, owner: Any, key: str, current: Any, argument: str, name: str) -> Iterator[str]:
        """Yield what is wrong with ``key__argument`` where ``key`` is no estimator."""
        candidates = [c for c in self._candidates(key, current, name) if not _is_estimator(c.value)]
        if not candidates or (argument == "param_groups" and key.endswith("optimizer")):
            return
        skorch_like = hasattr(owner, "prefixes_")
        refusing = [c for c in candidates if not (skorch_like and _takes(c.value, argument))]
        # Text is told once, where it is chosen.
        refusing = [c for c in refusing if not (skorch_like and isinstance(c.value, str))]
        if not refusing:
            return
        told = f"{' and '.join(map(str, refusing))} {_take(refusing)} no '{argument}'"
        yield told + self._way_out(key, current, argument, refusing)

    def _way_out(self, key: str, current: Any, argument: str, refusing: list[_Candidate]) -> str:
        takers = [c for c in self._candidates(key, current, key) if _takes(c.value, argument)]
        if takers:
            return _add_when(key, takers)
        known = [n for c in refusing for n in _arguments(c.value)]
        return _meant(argument, known, key + "__") or "."

    def _no_text(self, name: str) -> Iterator[str]:
        for choice in self.parameters[name].choices:
            if isinstance(choice.value, str):
                yield (
                    f"'{choice.value}' is text, where a class is wanted; "
                    "write its dotted path, such as torch.optim.Adam."
                )

    def _callback(self, net: Any, prefix: str, rest: str) -> Iterator[str]:
        """Yield what is wrong with ``callbacks__rest`` of ``net``."""
        if prefix + "callbacks" in self.parameters:
            return
        callbacks = dict(_callbacks(net))
        head, dunder, tail = rest.partition("__")
        if head not in callbacks:
            hint = _meant(head, callbacks, f"{prefix}callbacks__")
            hint = hint or f"; its callbacks are {', '.join(callbacks)}."
            yield f"{type(net).__name__} has no callback '{head}'{hint}"
        elif dunder and not _callback_takes(callbacks[head], tail):
            kind = _Candidate(callbacks[head])
            yield f"callback '{head}' ({kind}) takes no '{tail}'" + (
                _meant(tail, _arguments(callbacks[head]), f"{prefix}callbacks__{head}__") or "."
            )

    def _accepts(self, owner: Any, rest: str, name: str) -> bool:
        """Return whether ``owner`` takes a parameter that it does not list, as LightGBM's do."""
        if "__" in rest:
            return False
        parameter = self.parameters[name]
        value = parameter.choices[0].value if parameter.choices else 0
        try:
            copy.copy(owner).set_params(**{rest: value})
        except Exception:  # whatever the estimator's own set_params raises
            return False
        return True

    def _unknown(self, owner: Any, prefix: str, rest: str) -> str:
        known = list(_known(self.estimator))
        name = prefix + rest
        told = f"'{rest}' is not a parameter of {type(owner).__name__}"
        # 'lr' may be meant for 'net__lr', and 'dropout' for 'module__dropout'.
        deeper = [n for n in known if n.endswith("__" + rest) and n.startswith(prefix)]
        if deeper:
            return f"{told}, did you mean '{min(deeper, key=len)}'?"
        hint = did_you_mean(name, [full for full in known if full.startswith(prefix)])
        own = sorted(key for key in _own_params(owner) if "__" not in key)
        return told + (hint or f"; it has {', '.join(own)}.")


def _meant(word: str, known: Iterable[str], prefix: str) -> str:
    return did_you_mean(word, known).replace("'", f"'{prefix}", 1)


def _is_estimator(value: Any) -> bool:
    return hasattr(value, "get_params") and not inspect.isclass(value)


def _add_when(key: str, takers: list[_Candidate]) -> str:
    return f"; add when: {{{key}: [{', '.join(map(str, takers))}]}}."


def _take(candidates: list[_Candidate]) -> str:
    return "takes" if len(candidates) == 1 else "take"


def _own_params(owner: Any) -> dict[str, Any]:
    """Return the parameters of ``owner`` and, of a Pipeline, its steps, by name."""
    params: Mapping[str, Any] = owner.get_params(deep=True)
    is_net = hasattr(owner, "prefixes_")
    return {
        key: value
        for key, value in params.items()
        if not key.startswith("_") and (is_net or "__" not in key)
    }


def _signature(target: Any) -> Mapping[str, inspect.Parameter] | None:
    """Return the arguments that build ``target``; None if they cannot be told."""
    if isinstance(target, str | int | float | None):
        return {}
    # skorch calls what it is given, but builds a module that is an instance from its class.
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


def _known(owner: Any, prefix: str = "") -> Iterator[str]:
    """Yield the names that ``owner`` and everything in it has, to find what was meant."""
    is_net = hasattr(owner, "prefixes_")
    for key, value in _own_params(owner).items():
        yield prefix + key
        if _is_estimator(value):
            yield from _known(value, f"{prefix}{key}__")
        elif is_net and "__" not in key and (inspect.isclass(value) or key in _COMPONENTS):
            yield from (f"{prefix}{key}__{argument}" for argument in _arguments(value))


def _callbacks(net: Any) -> Iterator[tuple[str, Any]]:
    """Yield the callbacks of a skorch net under the names that skorch gives them."""
    named = [*net.get_default_callbacks()]
    given = net.callbacks if isinstance(net.callbacks, list | tuple) else []
    for item in given:
        if isinstance(item, list | tuple):
            named.append((item[0], item[1]))
        else:
            kind = item if inspect.isclass(item) else type(item)
            named.append((kind.__name__, item))
    names = [name for name, _ in named]
    for i, (name, callback) in enumerate(named):
        twins = names.count(name) > 1
        yield (f"{name}_{names[: i + 1].count(name)}" if twins else name), callback


def _callback_takes(callback: Any, argument: str) -> bool:
    if inspect.isclass(callback):
        return _takes(callback, argument)
    get: Callable[[], Mapping[str, Any]] | None = getattr(callback, "get_params", None)
    return get is not None and argument in get()
