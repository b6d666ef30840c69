"""How a study shows itself: the settings that were given, each as a few words."""

import html
import inspect
from collections.abc import Mapping
from typing import Any

from hpo._format import printable
from hpo._redaction import redact

__all__ = ["html_of", "text_of"]

_WIDEST = 60
"""Characters of one setting."""
_MOST_NAMES = 6
_LINE = 96
_CELL = 'style="text-align:left;padding:2px 14px 2px 0"'


def text_of(owner: str, fields: Mapping[str, Any]) -> str:
    """Return a study as a call with its settings, on lines of at most about 100 characters."""
    lines, line = [f"{owner}("], "   "
    for name, value in fields.items():
        part = f" {name}={_brief(value)},"
        if len(line) + len(part) > _LINE and line.strip():
            lines.append(line)
            line = "   "
        line += part
    return printable("\n".join([*lines, line, ")"]))


def html_of(owner: str, fields: Mapping[str, Any]) -> str:
    """Return a study as HTML: a table of its settings."""
    rows = "".join(
        f"<tr><th {_CELL}>{_escape(name)}</th><td {_CELL}>{_escape(_brief(value))}</td></tr>"
        for name, value in fields.items()
    )
    return f"<div><strong>{_escape(owner)}</strong><table>{rows}</table></div>"


def _escape(text: str) -> str:
    return html.escape(printable(text))


def _brief(value: Any) -> str:
    """Return a value in a few words; of an estimator, a class or a function its name."""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        return _cut(repr(redact(value)))  # first: a password that is cut cannot be recognized
    if isinstance(value, Mapping | list | tuple):
        return _cut(_items(value), 2 * _WIDEST)
    if inspect.isclass(value) or inspect.isroutine(value):
        return str(getattr(value, "__name__", type(value).__name__))
    text = redact(repr(value)) if type(value).__module__.startswith("hpo.") else ""
    is_short = text and "\n" not in text and " at 0x" not in text and len(text) <= 2 * _WIDEST
    return text if is_short else f"{type(value).__name__}(...)"


def _items(values: Any) -> str:
    """Return the first names of a mapping, or the first items of a list."""
    named = isinstance(values, Mapping)
    items = [str(name) if named else _brief(name) for name in list(values)[:_MOST_NAMES]]
    more = f", ... {len(values)} in all" if len(values) > _MOST_NAMES else ""
    text = f"{', '.join(items)}{more}"
    return "{" + text + "}" if named else f"[{text}]"


def _cut(text: str, widest: int = _WIDEST) -> str:
    return text if len(text) <= widest else f"{text[: widest - 3]}..."
