"""Checks of constructor arguments, with messages in scikit-learn's form."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

__all__ = ["check_choice", "check_int"]


def check_int(owner: str, name: str, value: Any, *, low: int) -> int:
    """Return ``value`` as an int; raise a ValueError unless it is an int of at least ``low``."""
    if isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= low:
        return int(value)
    raise ValueError(
        f"The '{name}' parameter of {owner} must be an int in the range [{low}, inf). "
        f"Got {value!r} instead."
    )


def check_choice(owner: str, name: str, value: Any, choices: Sequence[str]) -> str:
    """Return ``value``; raise a ValueError unless it is one of ``choices``."""
    if isinstance(value, str) and value in choices:
        return value
    names = ", ".join(map(repr, sorted(choices)))
    raise ValueError(
        f"The '{name}' parameter of {owner} must be a str among {{{names}}}. Got {value!r} instead."
    )
