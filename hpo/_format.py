"""Format numbers and values of parameters for people."""

import math
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

__all__ = [
    "brief_value",
    "number",
    "printable",
    "score",
    "score_with_interval",
    "short_names",
    "single_line",
]

_JOINERS = "\u200c\u200d"
"""Control characters that words of some languages and signs of several parts need."""

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def number(value: Any, digits: int = 4) -> str:
    """Return a float with ``digits`` significant digits, anything else as its text."""
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return single_line(str(value))


def single_line(text: str) -> str:
    """Return ``text`` as one line: `printable`, with every run of whitespace as one space."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Return ``text`` with control characters, but line breaks and tabs, as escapes.

    Names, values and errors come from elsewhere: a terminal would obey an escape sequence in them,
    and marks of the writing direction make a text look like another one.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_printable, text.replace("\r\n", "\n")))


def _printable(character: str) -> str:
    if character.isprintable() or character in "\n\t" or character in _JOINERS:
        return character
    unwanted = unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return character.encode("unicode_escape").decode("ascii") if unwanted else character


def score(value: float, error: float = math.nan) -> str:
    """Format a score, with its standard error to two digits if that is more than rounding.

    The error determines the number of decimals of the score: 0.9763 ± 0.0031.
    """
    if not math.isfinite(value):
        return str(value)
    if not (math.isfinite(error) and error > 1e-14 * abs(value)):
        return f"{value:.4f}" if abs(value) < 100 else f"{value:.6g}"
    decimals = min(8, max(0, 1 - math.floor(math.log10(error))))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def score_with_interval(value: float, interval: tuple[float, float] | None) -> str:
    """Format a score with its interval of 95 %: ``0.9583 (95 %: 0.943 to 0.970)``."""
    if interval is None or not all(map(math.isfinite, interval)):
        return score(value)
    low, high = interval
    decimals = min(8, max(0, 2 - math.floor(math.log10(max(high - low, 1e-8)))))
    return f"{value:.{decimals}f} (95 %: {low:.{decimals}f} to {high:.{decimals}f})"


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return the last part of each parameter name if that is unique: ``weight_decay``."""
    names = list(names)
    tails = [name.rpartition("__")[2] for name in names]
    return {
        name: tail if tails.count(tail) == 1 else name
        for name, tail in zip(names, tails, strict=True)
    }


def brief_value(value: Any) -> str:
    """Return a parameter's value with three digits, a dotted path as its last name."""
    if isinstance(value, str) and _DOTTED.fullmatch(value):
        return value.rpartition(".")[2]
    return number(value, 3)
