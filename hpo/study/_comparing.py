"""Determine which parameters a study compares, and check them against its search space."""

from collections.abc import Sequence

from hpo._discovery import did_you_mean
from hpo.exceptions import StudyError
from hpo.space import SearchSpace

__all__ = ["compared"]


def compared(names: Sequence[str] | None, space: SearchSpace, *, grid: bool) -> tuple[str, ...]:
    """Return the parameters whose values a study compares.

    Parameters
    ----------
    names : sequence of str or None
        The names that the study lists; None is every parameter of a grid that has several
        values, and none in any other search.
    space : SearchSpace
    grid : bool
        Whether the search tries every combination.

    Raises
    ------
    StudyError
        If one of them is not in the space, or is continuous: each trial would have a different
        value.
    """
    values = {name: space.values(name) for name in space}
    if names is None:
        return tuple(name for name in space if grid and len(values[name] or ()) > 1)
    problems = []
    for name in names:
        if name not in values:
            hint = did_you_mean(name, values) or "."
            problems.append(
                f"'{name}', which is not in the search space{hint} It has: {', '.join(values)}."
            )
        elif values[name] is None:
            problems.append(
                f"'{name}', which has a continuous range, so that every trial has a value of its "
                "own: compare parameters with a few values."
            )
    if problems:
        raise StudyError("\n".join(f"'compare' names {problem}" for problem in problems))
    return tuple(dict.fromkeys(names))
