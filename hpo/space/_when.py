"""Conditions: which parameters exist only under some values of others."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from optuna.distributions import CategoricalDistribution, IntDistribution

from hpo._discovery import did_you_mean
from hpo.space.choices import Stored, find_choice
from hpo.space.parameter import Parameter, Problems, shorten

__all__ = ["check_cycles", "parents_first", "read_conditions"]


def read_conditions(
    forms: Mapping[str, Mapping[Any, Any]],
    parameters: Mapping[str, Parameter],
    problems: Problems,
) -> dict[str, dict[str, tuple[Stored, ...]]]:
    """Return the conditions of each parameter; parents that are invalid are not reported again."""
    conditions: dict[str, dict[str, tuple[Stored, ...]]] = {}
    for name, form in forms.items():
        conditions[name] = {}
        if "when" not in form:
            continue
        when = form["when"]
        if not isinstance(when, Mapping) or not when:
            message = f"`when` must be {{parent: [values]}}, got {shorten(when)}"
            problems.add(name, message, "when")
            continue
        for parent, wanted in when.items():
            if parent not in problems.order:
                text = f"`when` names '{parent}', which is not in the space"
                hint = did_you_mean(str(parent), [key for key in forms if key != name])
                problems.add(name, text + hint, "when")
                continue
            if parent in forms:
                conditions[name][parent] = ()
            if parent in parameters:
                try:
                    conditions[name][parent] = _allowed(parameters[parent], wanted)
                except ValueError as error:
                    for message in error.args:
                        problems.add(name, message, "when")
    return conditions


def _allowed(parent: Parameter, wanted: Any) -> tuple[Stored, ...]:
    """Return the stored values of ``parent`` that ``wanted`` stands for.

    Raises
    ------
    ValueError
        With one message for each value that the parent cannot have.
    """
    exact = _stored(parent, wanted)
    if exact:
        return exact
    is_collection = isinstance(wanted, list | tuple | AbstractSet)
    values = list(wanted) if is_collection else [wanted]
    if not values:
        raise ValueError(f"`when` gives no value of '{parent.name}', so it would never exist")
    allowed: dict[str, Stored] = {}
    unknown = []
    for value in values:
        matches = _stored(parent, value)
        allowed.update((repr(stored), stored) for stored in matches)
        if not matches:
            unknown.append(_never_taken(parent, value))
    if unknown:
        raise ValueError(*unknown)
    return tuple(allowed.values())


def _stored(parent: Parameter, value: Any) -> tuple[Stored, ...]:
    """Return a tuple with the stored value that ``value`` stands for, or an empty one."""
    distribution = parent.distribution
    if isinstance(distribution, CategoricalDistribution):
        choice = find_choice(value, parent.choices)
        return () if choice is None else (choice.stored,)
    if isinstance(distribution, IntDistribution):
        inside = (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and distribution.low <= value <= distribution.high
            and (value - distribution.low) % distribution.step == 0
        )
        return (int(value),) if inside else ()
    raise ValueError(
        f"`when` depends on '{parent.name}', which is a float; a parent must be categorical or int"
    )


def _never_taken(parent: Parameter, value: Any) -> str:
    value_text = repr(value) if isinstance(value, str) else shorten(value)
    text = f"`when` names {value_text}, which '{parent.name}' never takes"
    if isinstance(parent.distribution, IntDistribution):
        d = parent.distribution
        return f"{text}; it is an int {d.low} .. {d.high}, step {d.step}"
    stored = [str(choice.stored) for choice in parent.choices]
    return text + (did_you_mean(str(value), stored) or f"; its choices are {', '.join(stored)}")


def check_cycles(conditions: Mapping[str, Mapping[str, Any]], problems: Problems) -> None:
    """Report each cycle of dependencies as 'a -> b -> a'."""
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            cycle = path[path.index(name) :]
            text = " -> ".join([*cycle, name])
            problems.add(cycle[0], f"`when` goes round in a circle: {text}", "when")
        elif name not in finished:
            for parent in conditions[name]:
                visit(parent, [*path, name])
            finished.add(name)

    for name in conditions:
        visit(name, [])


def parents_first(conditions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the names with parents before children, otherwise in the order given."""
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in ordered:
            for parent in conditions[name]:
                visit(parent)
            ordered[name] = None

    for name in conditions:
        visit(name)
    return list(ordered)
