"""A list of spaces as one space: which of them a trial belongs to is one more parameter.

The storage keeps it beside the others. A parameter that several of the spaces define in different
ways is kept under a name for each of them, for a storage knows one distribution a name.
"""

from collections.abc import Sequence
from dataclasses import replace

from optuna.distributions import CategoricalDistribution

from hpo.exceptions import SpaceError
from hpo.space._parse import parse
from hpo.space._yaml import Document
from hpo.space.choices import Choice, Stored
from hpo.space.parameter import Parameter

__all__ = ["GRID", "joined", "read_list"]

GRID = "@grid"
"""What the storage calls the number of the space; no estimator has a parameter of that name."""

Branch = tuple[Parameter, ...]


def read_list(documents: Sequence[Document], source: str) -> list[Branch]:
    """Return the parameters of each space of a list.

    A label of a choice that is another object in another space is numbered: a trial has the label
    alone, which must tell what the choice was.

    Raises
    ------
    SpaceError
        With one message for each mistake.
    """
    problems: list[str] = []
    taken: dict[tuple[str, Stored], object] = {}
    branches = []
    for i, document in enumerate(documents):
        try:
            branches.append(_relabelled(parse(document, f"{source}[{i}]"), taken))
        except SpaceError as error:
            problems += error.problems
    if not documents:
        problems = [f"{source}: is an empty list; give at least one mapping, such as {{}}."]
    if problems:
        raise SpaceError(problems)
    return branches


def joined(branches: Sequence[Branch]) -> Branch:
    """Return the parameters of a storage that holds trials of all ``branches``.

    Parameters
    ----------
    branches : sequence of tuple of Parameter
        Each with parents before children.
    """
    numbers = tuple(range(len(branches)))
    choice = Parameter(
        GRID, CategoricalDistribution(numbers), tuple(Choice(number) for number in numbers)
    )
    found = {GRID: choice}
    for number, branch in enumerate(branches):
        keys = {p.name: _key(p, number, branches) for p in branch}
        for parameter in branch:
            key = keys[parameter.name]
            if key in found:
                continue
            owners = _owners(parameter.name, branches) if key == parameter.name else (number,)
            when = {keys[parent]: allowed for parent, allowed in parameter.when.items()}
            if len(owners) < len(branches):
                when = {GRID: owners, **when}
            found[key] = replace(parameter, name=key, target=parameter.name, when=when)
    return tuple(found.values())


def _owners(name: str, branches: Sequence[Branch]) -> tuple[int, ...]:
    return tuple(i for i, branch in enumerate(branches) if any(p.name == name for p in branch))


def _key(parameter: Parameter, number: int, branches: Sequence[Branch]) -> str:
    """Return the parameter's name in the storage: its own where all spaces agree on it."""
    same_name = [p for branch in branches for p in branch if p.name == parameter.name]
    alike = all(
        not p.when
        and p.distribution == parameter.distribution
        and repr(p.distribution) == repr(parameter.distribution)  # 1 is not 1.0
        and p.quantiles == parameter.quantiles
        for p in same_name
    )
    return parameter.name if alike else f"{parameter.name}@{number}"


def _relabelled(branch: Branch, taken: dict[tuple[str, Stored], object]) -> Branch:
    changed: dict[str, dict[Stored, Stored]] = {}
    parameters = []
    for parameter in branch:
        choices = tuple(_own_label(parameter.name, choice, taken) for choice in parameter.choices)
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


def _own_label(name: str, choice: Choice, taken: dict[tuple[str, Stored], object]) -> Choice:
    if choice.kind != "object":
        return choice
    label, number = choice.stored, 1
    while taken.setdefault((name, label), choice.given) is not choice.given:
        number += 1
        label = f"{choice.stored} #{number}"
    return replace(choice, stored=label)
