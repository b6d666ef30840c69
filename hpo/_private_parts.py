"""What of other libraries is used though they do not promise it, and what is said when it is gone.

Such a part is looked up where it is used, never when a module of hpo is loaded. Where it is gone
there is a public way that does the same, slower or with less; `docs/design.md` has the list, and
`tests/test_private_parts.py` compares it with the code.
"""

import importlib
import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["MissingPartWarning", "missing_parts", "note_missing", "private_part"]


class MissingPartWarning(UserWarning):
    """A part of another library is gone that hpo would use."""


_noted: dict[tuple[str, str], str] = {}


def private_part(module: str, name: str, instead: str) -> Any:
    """Return a part of another library that is not public; None, with a warning, if it is gone.

    Parameters
    ----------
    module, name : str
        Of the part; a name with a point is a part of a class.
    instead : str
        What is done where the part is gone, as the warning says it.
    """
    found = _found(module, name)
    if found is None:
        note_missing(module.partition(".")[0], f"{module}.{name}", instead)
    return found


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
    """Warn, once a process, that a part of another library is gone and what is done instead.

    A study's notes say it too: the warning may come where warnings are not shown.
    """
    if (library, part) not in _noted:
        told = f"{library} {_version(library)} has no {part}: {instead}"
        _noted[library, part] = told
        warnings.warn(
            f"{told}. hpo was tested with versions that have it.", MissingPartWarning, stacklevel=2
        )


def missing_parts() -> list[str]:
    """Return what has been noted in this process."""
    return list(_noted.values())


def _version(library: str) -> str:
    try:
        return version({"sklearn": "scikit-learn"}.get(library, library))
    except PackageNotFoundError:
        return "(of an unknown version)"
