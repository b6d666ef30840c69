"""Folders that trackers write: each is whole once its mark is in it."""

import re
import shutil
from pathlib import Path

from hpo.storage.study_facts import StudyRecord
from hpo.trackers.base import Written

__all__ = ["emptied", "set_mark", "study_folder", "trial_folder", "written_in"]

_MARK = "hpo.written"
"""File in a folder that tells that all of it is there."""


def study_folder(folder: Path, study: StudyRecord) -> Path:
    """Return the folder of a study, with ``study`` and ``trial_<number>`` in it."""
    readable = re.sub(r"[^\w.-]+", "_", study.name)[:60].strip(".")
    return folder / f"{readable}-{study.key[:8]}"


def trial_folder(folder: Path, number: int) -> Path:
    """Return the folder of a trial in that of its study."""
    return folder / f"trial_{number:05}"


def written_in(folder: Path) -> Written:
    """Return the marks in the folder of a study."""
    marks = {
        int(path.parent.name.removeprefix("trial_")): path.read_text(encoding="utf-8")
        for path in folder.glob(f"trial_*/{_MARK}")
    }
    own = folder / "study" / _MARK
    return Written(own.read_text(encoding="utf-8") if own.exists() else "", marks)


def emptied(folder: Path) -> Path:
    """Remove a folder, its mark first, and make it anew."""
    (folder / _MARK).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def set_mark(folder: Path, mark: str) -> None:
    """Set the mark of a folder, which tells that all of it is there."""
    new = folder / f"{_MARK}.new"
    new.write_text(mark, encoding="utf-8")
    new.replace(folder / _MARK)
