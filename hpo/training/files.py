"""The files of a trial: a folder for each fold, made on demand, and its removal."""

import os
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from hpo._scratch import new_folder
from hpo.exceptions import StudyError
from hpo.training._isolation import check_copyable, isolate, replace_folder
from hpo.training.callbacks import copy_of
from hpo.training.folders import contents_of, trial_folder, write_contents

__all__ = ["FoldFiles", "TrialFiles", "check_files"]

MAX_BYTES, MAX_FILES = 64 * 2**20, 1000
"""Maximum bytes and number of files that are copied to a fold's folder for one parameter."""

_ELSEWHERE = "elsewhere"
"""Folder for paths that are not below the folder in which the study was started."""


class FoldFiles:
    """The files of the callbacks of one fold; see `hpo.training._isolation.Place`.

    Parameters
    ----------
    folder : callable
        Returns the folder, which is made when it is needed. By default it is a temporary folder
        that is removed with the process, or by `remove`.
    base : Path or None
        The folder that relative paths of the user start from; by default the current folder.
    expected : collection of Path
        Files of the user that were read when the study was started.
    """

    def __init__(
        self,
        folder: Callable[[], Path] = new_folder,
        base: Path | None = None,
        expected: Collection[Path] = (),
    ) -> None:
        self.base = base or Path.cwd()
        self.read: set[Path] = set()
        self._make_folder = folder
        self._folder: Path | None = None
        self._expected = expected

    @property
    def folder(self) -> Path:
        """The fold's folder; it may not exist yet."""
        if self._folder is None:
            self._folder = self._make_folder()
        return self._folder

    def moved(self, path: str | Path) -> Path:
        """Return the path in this folder that replaces one of the user."""
        absolute = Path(os.path.normpath(self.base / path))
        if absolute.is_relative_to(self.folder):
            return absolute
        if absolute.is_relative_to(self.base):
            return self.folder / absolute.relative_to(self.base)
        return self.folder / _ELSEWHERE / absolute.relative_to(absolute.anchor)

    def make(self, folder: Path) -> None:
        """Make a folder below the moved paths."""
        folder.mkdir(parents=True, exist_ok=True)

    def copy_in(self, source: Path, *, of_any_size: bool = False) -> None:
        """Copy a file or a folder of the user to the path that replaces it.

        Raises
        ------
        ValueError
            If it is too big.
        """
        source = Path(os.path.normpath(source))
        target = self.moved(source)
        if source in {target, self.base} or target.exists() or not source.exists():
            return
        if not of_any_size and _is_big(source):
            raise ValueError(
                f"names {source}, which holds more than is copied for each fold "
                f"({MAX_BYTES // 2**20} MiB, {MAX_FILES:,} files)"
            )
        self.note(source)
        self.make(target.parent)
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, target)

    def note(self, source: Path) -> None:
        """Record that a file of the user is read."""
        self.read.add(source)

    def check(self) -> None:
        """Check that the files of the user that are read exist on this machine.

        Raises
        ------
        StudyError
            If one is missing.
        """
        for path in self._expected:
            if not path.exists():
                raise StudyError(
                    f"{path} is read by a callback. It is on the machine that the study was "
                    "started on, and not on this one: put it into a folder that both share."
                )

    def remove(self) -> None:
        """Remove the folder, if it was made."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def state(self) -> tuple[str, dict[str, bytes]]:
        """Return the folder, and the contents of its files by their relative paths."""
        if self._folder is None:
            return "", {}
        return str(self.folder), contents_of(self.folder)

    def load_state(self, state: tuple[str, Mapping[str, bytes]], estimator: Any) -> None:
        """Restore the files of a `state`, and update their paths in ``estimator``."""
        old, contents = state
        if old:
            write_contents(contents, self.folder)
            replace_folder(estimator, old, str(self.folder))


class TrialFiles:
    """The files of the folds of one trial.

    Parameters
    ----------
    number : int
        Number of the trial.
    home : Path or None
        The study's folder, made by its driver. If it is not on this machine, a temporary folder of
        this process is used. If it is None, so too, and nothing is kept.
    keeps_all : bool
        Whether the files of a stopped trial are kept.
    base, expected
        See `FoldFiles`.
    """

    def __init__(
        self,
        number: int,
        home: Path | None = None,
        *,
        keeps_all: bool = False,
        base: Path | None = None,
        expected: Collection[Path] = (),
    ) -> None:
        self.is_far = home is not None and not home.is_dir()
        self._number = number
        self._home = None if self.is_far else home
        self._keeps_files = home is not None
        self._keeps_all = keeps_all
        self._base, self._expected = base, expected
        if self._home is not None:  # left by an earlier attempt whose worker was lost
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def folder(self) -> Path:
        """The trial's folder; it may not exist yet."""
        if self._home is None:
            self._home = new_folder()
        return trial_folder(self._home, self._number)

    def fold(self, i: int) -> FoldFiles:
        """Return the files of fold ``i``."""
        return FoldFiles(lambda: self.folder / f"fold_{i}", self._base, self._expected)

    def end(self, *, complete: bool) -> None:
        """Remove the files, unless the trial is complete or all files are kept."""
        if self._home is not None and not (self._keeps_files and (complete or self._keeps_all)):
            self._remove()

    def take_out(self) -> dict[str, bytes]:
        """Return the contents of the files by their relative paths, and remove the files."""
        if self._home is None:
            return {}
        contents = contents_of(self.folder)
        self._remove()
        return contents

    def _remove(self) -> None:
        temporary = self.is_far or not self._keeps_files
        shutil.rmtree(self._home if temporary and self._home else self.folder, ignore_errors=True)


def check_files(estimator: Any, base: Path) -> set[Path]:
    """Move the paths of an estimator on trial, and return the files of the user that are read.

    Parameters
    ----------
    estimator : estimator
        Only a copy of it is changed.
    base : Path
        The folder that relative paths start from.

    Raises
    ------
    StudyError
        If something is written in a way that cannot be moved.
    """
    files = FoldFiles(base=base)
    try:
        copied = copy_of(estimator)
    except Exception:
        check_copyable(estimator, base)
        return set()  # not because of a callback: the trials will show the error
    try:
        isolate(copied, files)
    finally:
        files.remove()
    return files.read


def _is_big(source: Path) -> bool:
    size = 0
    for n, path in enumerate([source] if source.is_file() else source.rglob("*")):
        size += path.stat().st_size if path.is_file() else 0
        if size > MAX_BYTES or n > MAX_FILES:
            return True
    return False
