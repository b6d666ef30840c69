"""Describe exceptions of user code safely: the texts are shortened, and nothing is raised.

An exception is user code too: its ``__str__`` may raise or return millions of characters.
"""

import traceback

from hpo._redaction import redact

__all__ = [
    "MAX_LENGTH",
    "message_of",
    "notes_of",
    "shortened",
    "text_of",
    "traceback_of",
    "where_of",
]

MAX_LENGTH = 20_000
"""Maximal number of characters of a traceback."""

_MAX_MESSAGE, _MAX_NOTES = 400, 200


def text_of(error: BaseException) -> str:
    """Return an error's text, or why it has none if ``str`` raises."""
    try:
        return str(str(error))
    except BaseException as error_in_str:
        return f"<its text cannot be told: str() raised {type(error_in_str).__name__}>"


def notes_of(error: BaseException) -> str:
    """Return an error's notes (`add_note`) as one line."""
    try:
        return " ".join(" ".join(map(str, error.__notes__)).split())
    except BaseException:  # without notes, it is an AttributeError
        return ""


def message_of(error: BaseException) -> str:
    """Return an error's type, text and notes as one line of at most some 600 characters."""
    name = type(error).__name__
    text = shortened(redact(" ".join(text_of(error).split())), _MAX_MESSAGE)
    notes = shortened(redact(notes_of(error)), _MAX_NOTES)
    details = " ".join(filter(None, [text, notes]))
    return f"{name}: {details}" if details else name


def where_of(error: BaseException) -> str:
    """Return the file and the line that raised an error, as ``rules.py, line 12``."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "an unknown place"


def traceback_of(error: BaseException) -> str:
    """Return an error's traceback; if it is long, its beginning and its end."""
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException:  # formatting may call code of the error's class
        lines = traceback.format_tb(error.__traceback__)
        head = "Traceback (most recent call last):\n"
        text = f"{head}{''.join(lines)}{type(error).__name__}: {text_of(error)}\n"
    return shortened(redact(text), MAX_LENGTH)


def shortened(text: str, max_length: int) -> str:
    """Return ``text``, or its two ends if it is long, with about ``max_length`` characters."""
    if len(text) <= max_length:
        return text
    half = max_length // 2
    return f"{text[:half]} ... ({len(text) - 2 * half:,} characters left out) ... {text[-half:]}"
