"""Describe the differences between two studies."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hpo.identity import Description

__all__ = ["CODE", "SPACE", "UNKNOWN", "VALUE", "Difference", "differences"]

VALUE, SPACE, CODE, UNKNOWN = "value", "space", "code", "unknown"


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference between two studies.

    Parameters
    ----------
    kind : {"value", "space", "code", "unknown"}
        A different value; a different search space; a change of the user's own code under the
        same names; or something that cannot be compared.
    text : str
        The old and the new state.
    """

    kind: str
    text: str


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Return the differences between two results of `fingerprint`."""
    result: list[Difference] = []
    for name in [*new["parts"], *(name for name in old["parts"] if name not in new["parts"])]:
        result += _compare_parts(name, _part(old, name), _part(new, name))
    result += [Difference(SPACE, text) for text in _compare_spaces(old["space"], new["space"])]
    changed = _compare_code(old["code"], new["code"])
    if changed and old["python"] != new["python"]:
        text = f"code: that of Python {old['python']} does not compare with {new['python']}'s"
        return [*result, Difference(CODE, text)]
    return [*result, *([Difference(CODE, f"code: {changed}")] if changed else [])]


def _part(stored: Mapping[str, Any], name: str) -> Description:
    return Description.from_json(stored["parts"].get(name, ["missing", ""]))


def _compare_parts(path: str, old: Description, new: Description) -> Iterator[Difference]:
    """Yield the smallest parts that differ and can be distinguished."""
    if old.mark == new.mark and not new.is_unknown:
        return
    distinguishable = old.text != new.text and not (old.is_cut or new.is_cut)
    inner: list[Difference] = []
    if not distinguishable and old.parts and new.parts:
        for name in [*new.parts, *(name for name in old.parts if name not in new.parts)]:
            missing = Description("none", "")
            old_part, new_part = old.parts.get(name, missing), new.parts.get(name, missing)
            inner += _compare_parts(f"{path}: {name}", old_part, new_part)
    if inner:
        yield from inner
    elif old.is_unknown or new.is_unknown:
        yield Difference(UNKNOWN, f"{path}: {(new if new.is_unknown else old).text}")
    elif old.text == new.text:
        yield Difference(VALUE, f"{path}: another {new.text}")
    else:
        yield Difference(VALUE, f"{path}: {old.text} -> {new.text}")


def _compare_code(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Return which of the user's functions, classes and globals have changed."""
    changed = [name for name in new if old.get(name, new[name]) != new[name]]
    texts = [", ".join(changed) + " changed"] if changed else []
    removed, added = (
        [name for name in first if name not in second] for first, second in ((old, new), (new, old))
    )
    texts += [", ".join(added) + " new"] if added else []
    texts += [", ".join(removed) + " no longer used"] if removed else []
    return "; ".join(texts)


def _compare_spaces(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in [*new, *(name for name in old if name not in new)]:
        where = f"search space: {name}"
        if name not in old:
            yield f"{where}: new"
        elif name not in new:
            yield f"{where}: no longer searched"
        elif old[name]["type"] != new[name]["type"]:
            yield f"{where}: {old[name]['type']} -> {new[name]['type']}"
        else:
            yield from (f"{where}: {text}" for text in _compare_parameters(old[name], new[name]))


def _compare_parameters(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield the differences between two definitions of a parameter."""
    for key in ("low", "high", "log", "step", "distribution"):
        if repr(old.get(key)) != repr(new.get(key)):
            yield f"{key} {old.get(key)} -> {new.get(key)}"
    if repr(old.get("forms")) != repr(new.get("forms")):
        yield "something else in the list of spaces"
    if old["when"] != new["when"]:
        yield f"when {old['when'] or 'always'} -> {new['when'] or 'always'}"
    old_choices, new_choices = old.get("choices", []), new.get("choices", [])
    if repr(old_choices) == repr(new_choices):
        return
    marks = {repr(label): mark for label, mark in old_choices}
    added = [label for label, _ in new_choices if repr(label) not in marks]
    removed = [
        label
        for label, _ in old_choices
        if repr(label) not in {repr(name) for name, _ in new_choices}
    ]
    changed = [label for label, mark in new_choices if marks.get(repr(label), mark) != mark]
    yield from (f"the choice {label} is new" for label in added)
    yield from (f"the choice {label} is gone" for label in removed)
    yield from (f"another {label}" for label in changed)
    if not (added or removed or changed):
        yield "its choices in another order"
