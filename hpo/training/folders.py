"""Where the files of a trial are, and how they are sent to another machine."""

from collections.abc import Mapping
from pathlib import Path

__all__ = ["contents_of", "trial_folder", "write_contents"]


def trial_folder(home: Path, number: int) -> Path:
    """Return the folder of a trial below ``home``, the folder of its study."""
    return home / f"trial_{number}"


def contents_of(folder: Path) -> dict[str, bytes]:
    """Return the contents of the files below ``folder`` by their relative paths.

    The result is empty if the folder does not exist.
    """
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write_contents(contents: Mapping[str, bytes], folder: Path) -> None:
    """Write the files that `contents_of` returned below ``folder``."""
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
