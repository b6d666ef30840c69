"""The description of a value: a mark (a hash) to compare, and a short text for people."""

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo._redaction import redact

__all__ = ["Description", "cut", "leaf", "mark_of", "unknown"]

_UNKNOWN = "?"
_LONGEST = 72
_CUT = "..."


@dataclass(frozen=True, slots=True)
class Description:
    """The description of a value.

    Parameters
    ----------
    text : str
        Shown to people; may be abbreviated.
    mark : str
        Equal for equal values, in every process; the mark of an `unknown` one is never equal.
    parts : mapping of str to Description
        Descriptions of its components, as far as they help to explain a difference.
    """

    text: str
    mark: str
    parts: Mapping[str, "Description"] = field(default_factory=dict)

    @property
    def is_unknown(self) -> bool:
        """Whether a part of it cannot be described, so that it equals nothing."""
        return self.mark.startswith(_UNKNOWN)

    @property
    def is_cut(self) -> bool:
        """Whether the text is abbreviated."""
        return _CUT in self.text

    def to_json(self, depth: int = 6) -> list[Any]:
        """Return the description as plain data, ``depth`` levels deep."""
        data = [self.text, self.mark]
        if not self.parts or not depth:
            return data
        return [*data, {name: part.to_json(depth - 1) for name, part in self.parts.items()}]

    @classmethod
    def from_json(cls, data: Iterable[Any]) -> "Description":
        """Return the description from the result of `to_json`."""
        text, mark, *rest = data
        parts = {name: cls.from_json(part) for name, part in (rest[0] if rest else {}).items()}
        return cls(text, mark, parts)


def mark_of(kind: str, *content: str | bytes, of: Iterable[str] = ()) -> str:
    """Return the mark of a value: a hash of its ``kind``, content and the marks of its parts."""
    marks = list(of)
    texts = [item if isinstance(item, str) else item.hex() for item in content]
    text = json.dumps([kind, texts, marks])
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
    return f"{_UNKNOWN}{digest}" if any(mark.startswith(_UNKNOWN) for mark in marks) else digest


def leaf(kind: str, text: str, *content: str | bytes) -> Description:
    """Return the description of a value without parts; ``content`` defaults to its text."""
    return Description(cut(text), mark_of(kind, *(content or (text,))))


def unknown(text: str, reason: str) -> Description:
    """Return the description of a value that cannot be described: it does not even equal itself."""
    message = f"{cut(text)}, which cannot be compared ({reason})"
    return Description(message, f"{_UNKNOWN}{uuid.uuid4().hex[:20]}")


def cut(text: str) -> str:
    """Return ``text`` on one line, without passwords, cut to 72 characters."""
    line = redact(" ".join(text.split()))
    return line if len(line) <= _LONGEST else line[: _LONGEST - len(_CUT)] + _CUT
