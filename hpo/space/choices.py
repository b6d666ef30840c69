"""The choices of a categorical parameter: the stored value and the value for the estimator.

A storage keeps None, booleans, numbers and text. Classes and functions are stored as their
dotted path, anything else as a text label. Classes and functions defined in the study's own file
are stored without the module's name, which is `__main__` in a script and another one under
``hpo run``.
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
    """One choice of a categorical parameter.

    Parameters
    ----------
    stored : None, bool, int, float or str
        The value in the storage.
    kind : {"plain", "path", "object"}
        Whether ``stored`` itself is the value, names it by dotted path, or labels ``original``.
    original : object
        The value, for kind "object".
    """

    stored: Stored
    kind: str = "plain"
    original: Any = None

    @property
    def value(self) -> Any:
        """The value for the estimator; a dotted path is imported."""
        if self.kind == "path":
            return _import(str(self.stored))
        return self.original if self.kind == "object" else self.stored

    @property
    def written(self) -> Any:
        """The choice as written to a file: a list or mapping itself if JSON preserves it."""
        plain = isinstance(self.original, list | dict) and self.stored == _json(self.original)
        return self.original if plain else self.stored


def same(first: Any, second: Any) -> bool:
    """Return whether two values are equal; nan equals nan, an array equals only itself."""
    if first is second:
        return True
    try:
        equal = first == second
    except Exception:  # the values' own comparison may raise anything
        return False
    return equal is True or (_is_nan(first) and _is_nan(second))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def read_choices(
    values: Sequence[Any], problem: Callable[[str], None], *, checked: bool = False
) -> tuple[Choice, ...]:
    """Return ``values`` as choices; call ``problem`` with a message for each kind of mistake.

    Classes and functions are imported, unless the values are ``checked`` ones from a storage.
    """
    choices: list[Choice] = []
    duplicates: dict[str, None] = {}  # a choice that is given a thousand times is one mistake
    parsed: list[Any] = []
    places = _Places()
    for item in values:
        try:
            choice = _read(item)
            value = choice.stored if checked and choice.kind == "path" else choice.value
        except ValueError as error:
            problem(str(error))
            continue
        code = _hash(value)
        duplicate = next((i for i in places.candidates(code) if same(parsed[i], value)), None)
        if duplicate is not None:
            duplicates[_duplicate_message(choices[duplicate], choice)] = None
            continue
        places.add(code)
        choices.append(choice)
        parsed.append(value)
    for message in duplicates:
        problem(message)
    return _with_unique_labels(choices)


class _Places:
    """Where the values are that another one may equal: those of its hash, and those of none."""

    def __init__(self) -> None:
        self._n = 0
        self._by_hash: dict[int, list[int]] = {}
        self._without: list[int] = []

    def candidates(self, code: int | None) -> Sequence[int]:
        if code is None:
            return range(self._n)
        return sorted([*self._by_hash.get(code, ()), *self._without])

    def add(self, code: int | None) -> None:
        (self._without if code is None else self._by_hash.setdefault(code, [])).append(self._n)
        self._n += 1


def _hash(value: Any) -> int | None:
    """Return a number that is the same for plain data that is `same`; None for anything else."""
    if type(value) in _PRIMITIVES:
        return 0 if _is_nan(value) else hash(value)
    if type(value) is dict:
        codes = {key: _hash(item) for key, item in value.items()}
        return None if None in codes.values() else hash(frozenset(codes.items()))
    if type(value) in {list, tuple}:
        items = [_hash(item) for item in value]
        return None if None in items else hash((type(value), *items))
    return None


def _duplicate_message(first: Choice, second: Choice) -> str:
    if repr(first.stored) == repr(second.stored):
        return f"the choice {_format_choice(first)} is given twice."
    both = f"{_format_choice(first)} and {_format_choice(second)}"
    return f"the choices {both} are equal: keep one of them."


def _format_choice(choice: Choice) -> str:
    return repr(choice.stored) if choice.kind == "plain" else str(choice.stored)


def _with_unique_labels(choices: list[Choice]) -> tuple[Choice, ...]:
    """Return the choices, with a number added to each label that another choice has too."""
    used_labels: set[Stored] = {c.stored for c in choices if c.kind != "object"}
    numbers: dict[Stored, int] = {}
    unique = []
    for choice in choices:
        if choice.kind == "object":
            label, number = choice.stored, numbers.get(choice.stored, 1)
            while label in used_labels:
                number += 1
                label = f"{choice.stored} #{number}"
            used_labels.add(label)
            numbers[choice.stored] = number
            choice = replace(choice, stored=label)  # noqa: PLW2901
        unique.append(choice)
    return tuple(unique)


def find_choice(value: Any, choices: Sequence[Choice]) -> Choice | None:
    """Return the choice that ``value`` stands for (value, label or path), or None."""
    if _is_numpy_scalar(value):
        value = value.item()
    plain = isinstance(value, (*_PRIMITIVES, list, tuple))  # no class, which need not be imported
    for choice in choices:
        if _equal(choice.stored, value):
            return choice
        if not (plain and choice.kind == "path") and _equal(choice.value, value):
            return choice
    similar = [
        choice for choice in choices if choice.kind == "object" and _is_equivalent(choice, value)
    ]
    if len(similar) == 1:
        return similar[0]
    try:
        parsed = _read(value)
        target = parsed.value
    except ValueError:
        return None
    if parsed.kind == "path":  # the same class under another path
        return next((c for c in choices if c.kind != "plain" and c.value is target), None)
    return None


def _is_equivalent(choice: Choice, value: Any) -> bool:
    """Return whether ``value`` is equivalent to the choice: a copy, or a list for a tuple."""
    original = choice.original
    if isinstance(original, list | tuple) and isinstance(value, list | tuple):
        return _equal(original, value)
    if type(original) is not type(value):
        return False
    if hasattr(original, "tolist"):
        return same(original.tolist(), value.tolist())
    return _repr_is_complete(original) and repr(original) == repr(value)


def _equal(first: Any, second: Any) -> bool:
    """Return whether two values are `same`; within lists and tuples, False is not 0."""
    if not (isinstance(first, list | tuple) and isinstance(second, list | tuple)):
        return same(first, second)
    return len(first) == len(second) and all(
        isinstance(a, bool) == isinstance(b, bool) and _equal(a, b)
        for a, b in zip(first, second, strict=True)
    )


def _repr_is_complete(item: Any) -> bool:
    """Return whether the repr of an object describes it completely."""
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
    if text is None and isinstance(item, set | frozenset):  # their order differs per process
        text = f"{{{', '.join(sorted(map(repr, item)))}}}"
    if text is None:
        text = _ADDRESS.sub("", repr(item))  # addresses differ from run to run
    return _OWN_FILE.sub("", text)


def _json(item: Any) -> str | None:
    """Return plain lists and dicts as compact JSON; None if JSON does not preserve them."""
    try:
        text = json.dumps(item, separators=(",", ":"), ensure_ascii=False)
        return text if json.loads(text) == item else None
    except (TypeError, ValueError, RecursionError):
        return None


def dotted_path(item: Any) -> str | None:
    """Return the shortest dotted path of a class or function, or None for anything else.

    ``torch.optim.Adam`` is defined in ``torch.optim.adam``; the shorter path is the one that
    people write, so a class and its path in a file are stored the same way.
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
    if head == "__main__":  # it is another module in another process
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
        If there is no such object, if it is a module, or if importing it fails.
    """
    parts = path.split(".")
    target: Any = _import_module(parts[0], path)
    for i, part in enumerate(parts[1:], start=1):
        owner = target
        if not hasattr(owner, part):
            if not (isinstance(owner, ModuleType) and _is_module(".".join(parts[: i + 1]))):
                raise ValueError(_missing(path, ".".join(parts[:i]), part, owner))
            target = _import_module(".".join(parts[: i + 1]), path)
        else:
            target = getattr(owner, part)
    if isinstance(target, ModuleType):
        similar = [n for n in dir(owner) if n.lower() == parts[-1].lower() and n != parts[-1]]
        hint = f", did you mean '{'.'.join([*parts[:-1], similar[0]])}'?" if similar else "."
        raise ValueError(f"'{path}' is a module, not a class or function in one{hint}")
    return target


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _import_module(name: str, path: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # user modules may raise anything on import
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"'{path}' cannot be imported: {reason}.") from error


def _missing(path: str, prefix: str, part: str, owner: Any) -> str:
    near = difflib.get_close_matches(part, dir(owner), n=1)
    hint = f", did you mean '{prefix}.{near[0]}'?" if near else "."
    return f"'{path}' does not exist: {prefix} has no '{part}'{hint}"
