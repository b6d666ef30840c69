"""Where data sets are looked for, and where unpacked or downloaded ones are kept."""

import os
from pathlib import Path

__all__ = ["cache_folder", "data_folder"]


def data_folder() -> Path | None:
    """Return the folder of ready data sets that ``$HPO_DATA`` names, if it names one.

    It may be read-only: nothing is ever written there.
    """
    return _from_environment("HPO_DATA")


def cache_folder() -> Path:
    """Return ``$HPO_CACHE``, or ``~/.cache/hpo`` where that is not set. It may not exist yet."""
    return _from_environment("HPO_CACHE") or Path("~/.cache/hpo").expanduser()


def _from_environment(variable: str) -> Path | None:
    text = os.environ.get(variable, "").strip()
    return Path(text).expanduser() if text else None
