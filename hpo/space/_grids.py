"""Join a list of spaces into one: an extra parameter says which of them a trial belongs to.

The storage keeps it like any other parameter. A parameter that several spaces define differently
is stored under a separate name for each of them, since a storage has one distribution per name.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import CategoricalDistribution

from hpo.exceptions import SpaceError
from hpo.space._parse import parse
from hpo.space._yaml import Document
from hpo.space.choices import Choice, Stored
from hpo.space.parameter import Parameter

__all__ = ["GRID", "join_spaces", "read_list"]

GRID = "@grid"
"""Stored name of the extra parameter; no estimator has a parameter of that name."""

Branch = tuple[Parameter, ...]


def read_list(documents: Sequence[Document], source: str, estimator: Any = None) -> list[Branch]:
    """Return the parameters of each space in a list.

    If two spaces use the same label for different objects, the labels are numbered: a trial
    stores only the label, which must identify the choice.

    Raises
    ------
    SpaceError
        With one message for each mistake.
    """
    problems: list[str] = []
    used_labels: dict[tuple[str, Stored], object] = {}
    branches = []
    for i, document in enumerate(documents):
        try:
            branches.append(_relabelled(parse(document, f"{source}[{i}]", estimator), used_labels))
        except SpaceError as error:
            problems += error.problems
    if not documents:
        problems = [f"{source}: is an empty list; give at least one mapping, such as {{}}."]
    if problems:
        raise SpaceError(problems)
    return branches


def join_spaces(branches: Sequence[Branch]) -> Branch:
    """Return the parameters under which a storage holds the trials of all ``branches``.

    Parameters
    ----------
    branches : sequence of tuple of Parameter
        Each with parents before children.
    """
    numbers = tuple(range(len(branches)))
    choice = Parameter(
        GRID, CategoricalDistribution(numbers), tuple(Choice(number) for number in numbers)
    )
    parameters = {GRID: choice}
    for number, branch in enumerate(branches):
        keys = {p.name: _key(p, number, branches) for p in branch}
        for parameter in branch:
            key = keys[parameter.name]
            if key in parameters:
                continue
            owners = _owners(parameter.name, branches) if key == parameter.name else (number,)
            when = {keys[parent]: allowed for parent, allowed in parameter.when.items()}
            if len(owners) < len(branches):
                when = {GRID: owners, **when}
            parameters[key] = replace(parameter, name=key, target=parameter.name, when=when)
    return tuple(parameters.values())


def _owners(name: str, branches: Sequence[Branch]) -> tuple[int, ...]:
    return tuple(i for i, branch in enumerate(branches) if any(p.name == name for p in branch))


def _key(parameter: Parameter, number: int, branches: Sequence[Branch]) -> str:
    """Return the parameter's stored name: unchanged if all spaces define it the same way."""
    same_name = [p for branch in branches for p in branch if p.name == parameter.name]
    is_same = all(
        not p.when
        and p.distribution == parameter.distribution
        and repr(p.distribution) == repr(parameter.distribution)  # 1 is not 1.0
        and p.quantiles == parameter.quantiles
        for p in same_name
    )
    return parameter.name if is_same else f"{parameter.name}@{number}"


def _relabelled(branch: Branch, used_labels: dict[tuple[str, Stored], object]) -> Branch:
    changed: dict[str, dict[Stored, Stored]] = {}
    parameters = []
    for parameter in branch:
        choices = tuple(
            _unique_label(parameter.name, choice, used_labels) for choice in parameter.choices
        )
        new = {old.stored: c.stored for old, c in zip(parameter.choices, choices, strict=True)}
        changed[parameter.name] = new
        when = {
            parent: tuple(changed[parent].get(value, value) for value in allowed)
            for parent, allowed in parameter.when.items()
        }
        distribution = parameter.distribution
        if choices:
            distribution = CategoricalDistribution([choice.stored for choice in choices])
        parameters.append(replace(parameter, choices=choices, distribution=distribution, when=when))
    return tuple(parameters)


def _unique_label(
    name: str, choice: Choice, used_labels: dict[tuple[str, Stored], object]
) -> Choice:
    if choice.kind != "object":
        return choice
    label, number = choice.stored, 1
    while used_labels.setdefault((name, label), choice.original) is not choice.original:
        number += 1
        label = f"{choice.stored} #{number}"
    return replace(choice, stored=label)
