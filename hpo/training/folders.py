"""Where the files of a trial lie, and how they travel."""

from collections.abc import Mapping
from pathlib import Path

__all__ = ["contents_of", "trial_folder", "write_contents"]


def trial_folder(home: Path, number: int) -> Path:
    """Return where the files of a trial lie below ``home``, the folder of its study."""
    return home / f"trial_{number}"


def contents_of(folder: Path) -> dict[str, bytes]:
    """Return the files below ``folder`` by their names there; none if it does not exist."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write_contents(contents: Mapping[str, bytes], folder: Path) -> None:
    """Write files below ``folder``, as `contents_of` returned them."""
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
