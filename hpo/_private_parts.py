"""Access to private parts of other libraries, with a warning if a part no longer exists.

Such a part is looked up where it is used, never when a module of hpo is imported. If it is missing,
a public alternative is used that is slower or does less; `docs/design.md` has the list, and
`tests/test_private_parts.py` compares it with the code.
"""

import importlib
import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["MissingPartWarning", "missing_parts", "note_missing", "private_part"]


class MissingPartWarning(UserWarning):
    """A private part of another library that hpo would use is missing."""


_noted: dict[tuple[str, str], str] = {}


def private_part(module: str, name: str, instead: str) -> Any:
    """Return a private part of another library; warn and return None if it is missing.

    Parameters
    ----------
    module, name : str
        Module and name of the part; a name with a dot is an attribute of a class.
    instead : str
        What is done without the part, as a text for the warning.
    """
    part = _found(module, name)
    if part is None:
        note_missing(module.partition(".")[0], f"{module}.{name}", instead)
    return part


@cache
def _found(module: str, name: str) -> Any:
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found


def note_missing(library: str, part: str, instead: str) -> None:
    """Warn, once per process, that a private part is missing and what is done instead.

    The notes of a study repeat it, because the warning may not be displayed.
    """
    if (library, part) not in _noted:
        note = f"{library} {_version(library)} has no {part}: {instead}"
        _noted[library, part] = note
        warnings.warn(
            f"{note}. hpo was tested with versions that have it.", MissingPartWarning, stacklevel=2
        )


def missing_parts() -> list[str]:
    """Return the notes on missing parts of this process."""
    return list(_noted.values())


def _version(library: str) -> str:
    try:
        return version({"sklearn": "scikit-learn"}.get(library, library))
    except PackageNotFoundError:
        return "(of an unknown version)"
