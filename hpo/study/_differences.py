"""What differs between two studies, in words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hpo.identity import Description

__all__ = ["CODE", "SPACE", "UNKNOWN", "VALUE", "Difference", "differences"]

VALUE, SPACE, CODE, UNKNOWN = "value", "space", "code", "unknown"


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that differs.

    Parameters
    ----------
    kind : {"value", "space", "code", "unknown"}
        Another value; another search space; the user's own code under the same names; or
        something that cannot be compared.
    text : str
        What it was and what it is.
    """

    kind: str
    text: str


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Return what differs between two fingerprints of `fingerprint`."""
    found: list[Difference] = []
    for name in [*new["parts"], *(name for name in old["parts"] if name not in new["parts"])]:
        found += _of_parts(name, _part(old, name), _part(new, name))
    found += [Difference(SPACE, text) for text in _of_spaces(old["space"], new["space"])]
    changed = _of_code(old["code"], new["code"])
    if changed and old["python"] != new["python"]:
        told = f"code: that of Python {old['python']} does not compare with {new['python']}'s"
        return [*found, Difference(CODE, told)]
    return [*found, *([Difference(CODE, f"code: {changed}")] if changed else [])]


def _part(kept: Mapping[str, Any], name: str) -> Description:
    return Description.from_json(kept["parts"].get(name, ["missing", ""]))


def _of_parts(path: str, old: Description, new: Description) -> Iterator[Difference]:
    """Yield the smallest parts that differ and can be told apart."""
    if old.mark == new.mark and not new.is_unknown:
        return
    told_apart = old.text != new.text and not (old.is_cut or new.is_cut)
    inner: list[Difference] = []
    if not told_apart and old.parts and new.parts:
        for name in [*new.parts, *(name for name in old.parts if name not in new.parts)]:
            missing = Description("none", "")
            was, now = old.parts.get(name, missing), new.parts.get(name, missing)
            inner += _of_parts(f"{path}: {name}", was, now)
    if inner:
        yield from inner
    elif old.is_unknown or new.is_unknown:
        yield Difference(UNKNOWN, f"{path}: {(new if new.is_unknown else old).text}")
    elif old.text == new.text:
        yield Difference(VALUE, f"{path}: another {new.text}")
    else:
        yield Difference(VALUE, f"{path}: {old.text} -> {new.text}")


def _of_code(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Return which of the user's functions, classes and globals have changed."""
    changed = [name for name in new if old.get(name, new[name]) != new[name]]
    told = [", ".join(changed) + " changed"] if changed else []
    gone, come = (
        [name for name in first if name not in second] for first, second in ((old, new), (new, old))
    )
    told += [", ".join(come) + " new"] if come else []
    told += [", ".join(gone) + " no longer used"] if gone else []
    return "; ".join(told)


def _of_spaces(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in [*new, *(name for name in old if name not in new)]:
        where = f"search space: {name}"
        if name not in old:
            yield f"{where}: new"
        elif name not in new:
            yield f"{where}: no longer searched"
        elif old[name]["type"] != new[name]["type"]:
            yield f"{where}: {old[name]['type']} -> {new[name]['type']}"
        else:
            yield from (f"{where}: {text}" for text in _of_forms(old[name], new[name]))


def _of_forms(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs between two forms of one parameter."""
    for key in ("low", "high", "log", "step", "distribution"):
        if repr(old.get(key)) != repr(new.get(key)):
            yield f"{key} {old.get(key)} -> {new.get(key)}"
    if repr(old.get("forms")) != repr(new.get("forms")):
        yield "something else in the list of spaces"
    if old["when"] != new["when"]:
        yield f"when {old['when'] or 'always'} -> {new['when'] or 'always'}"
    was, now = old.get("choices", []), new.get("choices", [])
    if repr(was) == repr(now):
        return
    marks = {repr(label): mark for label, mark in was}
    come = [label for label, _ in now if repr(label) not in marks]
    gone = [label for label, _ in was if repr(label) not in {repr(name) for name, _ in now}]
    other = [label for label, mark in now if marks.get(repr(label), mark) != mark]
    yield from (f"the choice {label} is new" for label in come)
    yield from (f"the choice {label} is gone" for label in gone)
    yield from (f"another {label}" for label in other)
    if not (come or gone or other):
        yield "its choices in another order"
