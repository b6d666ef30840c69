"""What is wrong with the fields of a study, in the words of hpo."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from hpo._discovery import did_you_mean

__all__ = ["field_errors"]

_WANTED = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "True or False",
    "finite": "a finite number",
    "literal": "{expected}",
    "mapping": "a mapping",
    "dict": "a mapping",
    "list": "a list",
    "tuple": "a list",
    "iterable": "a list",
    "sequence": "a list",
    "is": "a list",
    "dataclass": "a StudyData",
    "callable": "a function without arguments that returns it",
    "greater": "greater than {gt:g}",
}
"""What was expected, by the first word of a problem's type; {names} are of its context."""

_BY_TYPE = {
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
    "string_too_short": "longer than nothing",
    "string_pattern_mismatch": "of letters, digits, blanks and _ . @ - alone",
}
"""The same for types of problems that their first word does not tell."""


def field_errors(
    problems: Iterable[Mapping[str, Any]],
    given: Mapping[str, Any],
    owner: str,
    names: Collection[str],
) -> str:
    """Return one line for each field that is wrong.

    Parameters
    ----------
    problems : iterable of mapping
        Type, place and context of each problem, as the check of the fields returns them. A field
        that may be of several types has one problem for each.
    given : mapping of str to object
        The fields as they were given.
    owner : str
        Whose fields they are: ``Study``.
    names : collection of str
        All its fields.
    """
    lines: dict[str, str] = {}
    wanted: dict[str, dict[str, None]] = {}
    for problem in problems:
        name = str(problem["loc"][0]) if problem["loc"] else owner
        if problem["type"] == "extra_forbidden":
            hint = did_you_mean(name, names) or "."
            lines[name] = f"{owner} has no field '{name}'{hint}"
        elif problem["type"] == "missing" and len(problem["loc"]) == 1:
            lines[name] = f"{owner} needs the field '{name}'."
        else:
            text = _wanted(problem)
            wanted.setdefault(name, {})[text] = None
            lines[name] = (
                f"{owner}'s '{name}' must be {' or '.join(wanted[name])}. "
                f"Got {_cut(given.get(name))} instead."
            )
    return "\n".join(lines.values())


def _wanted(problem: Mapping[str, Any]) -> str:
    kind, context = str(problem["type"]), problem.get("ctx", {})
    if len(problem["loc"]) > 1 and problem["loc"][1] == "StudyData":  # a mapping is none
        return _WANTED["dataclass"]
    if kind == "value_error":  # raised by a field's own check
        return str(context["error"]).removeprefix("must be ")
    text = _BY_TYPE.get(kind) or _WANTED.get(kind.partition("_")[0], "of another type")
    text = text.format(**context)
    inside = problem["loc"][1:]
    if inside and isinstance(inside[0], int):
        return f"a list of which each item is {text} (item {inside[0]} is not)"
    return text


def _cut(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
