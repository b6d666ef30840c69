"""What is told and kept of an error that other people's code has raised: cut, and never raising.

An exception is other people's code too: its text may raise, or have millions of characters.
"""

import traceback

from hpo._redaction import redact

__all__ = ["MAX_LENGTH", "message_of", "notes_of", "shortened", "text_of", "traceback_of"]

MAX_LENGTH = 20_000
"""Characters of a traceback that are kept."""

_MAX_MESSAGE, _MAX_NOTES = 400, 200


def text_of(error: BaseException) -> str:
    """Return an error's text; where it cannot be told, why."""
    try:
        return str(str(error))
    except BaseException as other:
        return f"<its text cannot be told: str() raised {type(other).__name__}>"


def notes_of(error: BaseException) -> str:
    """Return what was noted about an error on its way (`add_note`), as one line."""
    try:
        return " ".join(" ".join(map(str, error.__notes__)).split())
    except BaseException:  # without notes, it is an AttributeError
        return ""


def message_of(error: BaseException) -> str:
    """Return an error's type, text and notes as one line of at most some 600 characters."""
    name = type(error).__name__
    text = shortened(redact(" ".join(text_of(error).split())), _MAX_MESSAGE)
    notes = shortened(redact(notes_of(error)), _MAX_NOTES)
    told = " ".join(filter(None, [text, notes]))
    return f"{name}: {told}" if told else name


def traceback_of(error: BaseException) -> str:
    """Return an error's traceback; of a long one, the beginning and the end."""
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException:  # some errors' own parts are needed for it
        lines = traceback.format_tb(error.__traceback__)
        head = "Traceback (most recent call last):\n"
        text = f"{head}{''.join(lines)}{type(error).__name__}: {text_of(error)}\n"
    return shortened(redact(text), MAX_LENGTH)


def shortened(text: str, most: int) -> str:
    """Return ``text``, of a long one its two ends; together they have about ``most`` characters."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} ... ({len(text) - 2 * half:,} characters left out) ... {text[-half:]}"
