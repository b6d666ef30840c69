"""The choices of a categorical parameter: what is stored, and what the estimator gets.

A storage keeps None, booleans, numbers and text. Classes and functions are stored as their
dotted path, anything else as a text label. Those of a study's own file are stored by their name
alone: its module is called `__main__` in a script, and otherwise under ``hpo run``.
"""

import difflib
import importlib
import importlib.util
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

__all__ = ["Choice", "Stored", "dotted_path", "find_choice", "read_choices", "same"]

Stored = None | bool | int | float | str
_PRIMITIVES = (type(None), bool, int, float, str)
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_OWN_FILE = re.compile(r"\b(__main__|__mp_main__|hpo_study_\w+_[0-9a-f]{8})\.")


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One choice.

    Parameters
    ----------
    stored : None, bool, int, float or str
        What the storage keeps.
    kind : {"plain", "path", "object"}
        Whether ``stored`` itself is the value, names it by dotted path, or labels ``given``.
    given : object
        The value of kind "object".
    """

    stored: Stored
    kind: str = "plain"
    given: Any = None

    @property
    def value(self) -> Any:
        """What the estimator gets; a dotted path is imported."""
        if self.kind == "path":
            return _import(str(self.stored))
        return self.given if self.kind == "object" else self.stored

    @property
    def written(self) -> Any:
        """What stands for the choice in a file: a list or mapping as it is where it reads back."""
        plain = isinstance(self.given, list | dict) and self.stored == _json(self.given)
        return self.given if plain else self.stored


def same(first: Any, second: Any) -> bool:
    """Return whether two values are equal; nan equals nan, arrays only themselves."""
    if first is second:
        return True
    try:
        equal = first == second
    except Exception:  # the values' own comparison may raise anything
        return False
    return equal is True or (_is_nan(first) and _is_nan(second))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def read_choices(values: Sequence[Any], problem: Callable[[str], None]) -> tuple[Choice, ...]:
    """Return ``values`` as choices; call ``problem`` with a message for each mistake."""
    choices: list[Choice] = []
    read: list[Any] = []
    for item in values:
        try:
            choice = _read(item)
            value = choice.value
        except ValueError as error:
            problem(str(error))
            continue
        twin = next((c for c, v in zip(choices, read, strict=True) if same(v, value)), None)
        if twin is not None:
            problem(_twice(twin, choice))
            continue
        choices.append(choice)
        read.append(value)
    return _with_unique_labels(choices)


def _twice(first: Choice, second: Choice) -> str:
    if repr(first.stored) == repr(second.stored):
        return f"the choice {_shown(first)} is given twice."
    return f"the choices {_shown(first)} and {_shown(second)} are equal: keep one of them."


def _shown(choice: Choice) -> str:
    return repr(choice.stored) if choice.kind == "plain" else str(choice.stored)


def _with_unique_labels(choices: list[Choice]) -> tuple[Choice, ...]:
    """Return the choices, labels that equal another choice numbered to tell them apart."""
    taken: set[Stored] = {c.stored for c in choices if c.kind != "object"}
    unique = []
    for choice in choices:
        if choice.kind == "object":
            label, number = choice.stored, 1
            while label in taken:
                number += 1
                label = f"{choice.stored} #{number}"
            taken.add(label)
            choice = replace(choice, stored=label)  # noqa: PLW2901
        unique.append(choice)
    return tuple(unique)


def find_choice(value: Any, choices: Sequence[Choice]) -> Choice | None:
    """Return the choice that ``value`` means (the value, its label or its path), or None."""
    if _is_numpy_scalar(value):
        value = value.item()
    for choice in choices:
        if same(choice.stored, value) or same(choice.value, value):
            return choice
    alike = [choice for choice in choices if choice.kind == "object" and _alike(choice, value)]
    if len(alike) == 1:
        return alike[0]
    try:
        meant = _read(value)
        wanted = meant.value
    except ValueError:
        return None
    if meant.kind == "path":  # the same class under another path
        return next((c for c in choices if c.kind != "plain" and c.value is wanted), None)
    return None


def _alike(choice: Choice, value: Any) -> bool:
    """Return whether ``value`` is another object like the choice: a copy, a list for a tuple."""
    given = choice.given
    if isinstance(given, list | tuple) and isinstance(value, list | tuple):
        return same(_as_lists(given), _as_lists(value))
    if type(given) is not type(value):
        return False
    if hasattr(given, "tolist"):
        return same(given.tolist(), value.tolist())
    return _tells(given) and repr(given) == repr(value)


def _as_lists(value: Any) -> Any:
    return [_as_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _tells(item: Any) -> bool:
    """Return whether the repr of an object says all of it."""
    text = repr(item)
    return _ADDRESS.search(text) is None and "..." not in text


def _read(item: Any) -> Choice:
    if isinstance(item, str) and type(item) is str:
        return Choice(item, "path") if _names_object(item) else Choice(item)
    if type(item) in _PRIMITIVES:
        return Choice(item)
    if _is_numpy_scalar(item):
        return Choice(item.item())
    return Choice(_label(item), "object", item)


def _is_numpy_scalar(item: Any) -> bool:
    is_scalar = getattr(item, "shape", None) == () and hasattr(item, "dtype")
    return is_scalar and type(item).__module__ == "numpy" and type(item.item()) in _PRIMITIVES


def _label(item: Any) -> str:
    text = dotted_path(item)
    if text is None and isinstance(item, list | dict):
        text = _json(item)
        if text is not None:
            return text
    if text is None and isinstance(item, set | frozenset):  # in another order in each process
        text = f"{{{', '.join(sorted(map(repr, item)))}}}"
    if text is None:
        text = _ADDRESS.sub("", repr(item))  # would differ from run to run
    return _OWN_FILE.sub("", text)


def _json(item: Any) -> str | None:
    """Return plain lists and dicts as compact JSON text; None for what JSON cannot tell."""
    try:
        text = json.dumps(item, separators=(",", ":"), ensure_ascii=False)
        return text if json.loads(text) == item else None
    except (TypeError, ValueError, RecursionError):
        return None


def dotted_path(item: Any) -> str | None:
    """Return the shortest dotted path of a class or function, or None for anything else.

    ``torch.optim.Adam`` is defined in ``torch.optim.adam``; the shorter path is the one
    that people write, so that a class and its path in a file are stored alike.
    """
    if not (inspect.isclass(item) or inspect.isfunction(item) or inspect.isbuiltin(item)):
        return None
    module, name = getattr(item, "__module__", None), getattr(item, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    parts = module.split(".")
    for length in range(1, len(parts)):
        package = ".".join(parts[:length])
        loaded = sys.modules.get(package)
        if loaded is not None and vars(loaded).get(name) is item:
            return f"{package}.{name}"
    return f"{module}.{name}"


def _names_object(text: str) -> bool:
    """Return whether ``text`` looks like a dotted path whose first part can be imported."""
    if not _DOTTED.fullmatch(text):
        return False
    head = text.partition(".")[0]
    if head == "__main__":  # another process has another one
        return False
    if head in sys.modules:
        return True
    try:
        return importlib.util.find_spec(head) is not None
    except (ImportError, ValueError):
        return False


def _import(path: str) -> Any:
    """Return the object that ``path`` names.

    Raises
    ------
    ValueError
        If there is none, if it is a module, or if importing it fails.
    """
    parts = path.split(".")
    found: Any = _import_module(parts[0], path)
    for i, part in enumerate(parts[1:], start=1):
        owner = found
        if not hasattr(owner, part):
            if not (isinstance(owner, ModuleType) and _is_module(".".join(parts[: i + 1]))):
                raise ValueError(_missing(path, ".".join(parts[:i]), part, owner))
            found = _import_module(".".join(parts[: i + 1]), path)
        else:
            found = getattr(owner, part)
    if isinstance(found, ModuleType):
        twins = [n for n in dir(owner) if n.lower() == parts[-1].lower() and n != parts[-1]]
        hint = f", did you mean '{'.'.join([*parts[:-1], twins[0]])}'?" if twins else "."
        raise ValueError(f"'{path}' is a module, not a class or function in one{hint}")
    return found


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _import_module(name: str, path: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # user's modules may raise anything while they are imported
        told = f"{type(error).__name__}: {error}"
        raise ValueError(f"'{path}' cannot be imported: {told}.") from error


def _missing(path: str, prefix: str, part: str, owner: Any) -> str:
    near = difflib.get_close_matches(part, dir(owner), n=1)
    hint = f", did you mean '{prefix}.{near[0]}'?" if near else "."
    return f"'{path}' does not exist: {prefix} has no '{part}'{hint}"
