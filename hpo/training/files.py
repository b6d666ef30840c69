"""The files of a trial: a folder for each fold, made when something is written, and its end."""

import os
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from hpo._scratch import new_folder
from hpo.exceptions import StudyError
from hpo.training._isolation import isolate, move_again, refuse_what_cannot_be_copied
from hpo.training.callbacks import copy_of
from hpo.training.folders import contents_of, trial_folder, write_contents

__all__ = ["FoldFiles", "TrialFiles", "check_files"]

MAX_BROUGHT, MAX_FILES = 64 * 2**20, 1000
"""Bytes and files of the user's that are copied to a fold's folder for one parameter, at most."""

_ELSEWHERE = "elsewhere"
"""Folder for what does not lie below the folder in which the study was started."""


class FoldFiles:
    """Where the callbacks of one fold write; see `hpo.training._isolation.Place`.

    Parameters
    ----------
    folder : callable
        Returns the folder, which is made when it is needed. By default it is a new one that goes
        with the process, or at `remove`.
    base : Path or None
        Where relative paths of the user's start; by default the current folder.
    expected : collection of Path
        Files of the user's that were read where the study was started.
    """

    def __init__(
        self,
        folder: Callable[[], Path] = new_folder,
        base: Path | None = None,
        expected: Collection[Path] = (),
    ) -> None:
        self.base = base or Path.cwd()
        self.read: set[Path] = set()
        self._find = folder
        self._folder: Path | None = None
        self._expected = expected

    @property
    def folder(self) -> Path:
        """The fold's folder; it may not have been made."""
        if self._folder is None:
            self._folder = self._find()
        return self._folder

    def moved(self, path: str | Path) -> Path:
        """Return the path in this folder that stands for one of the user's."""
        whole = Path(os.path.normpath(self.base / path))
        if whole.is_relative_to(self.folder):
            return whole
        if whole.is_relative_to(self.base):
            return self.folder / whole.relative_to(self.base)
        return self.folder / _ELSEWHERE / whole.relative_to(whole.anchor)

    def make(self, folder: Path) -> None:
        """Make a folder among those that are moved."""
        folder.mkdir(parents=True, exist_ok=True)

    def bring(self, source: Path, *, of_any_size: bool = False) -> None:
        """Copy a file or a folder of the user's to the path that stands for it.

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
                f"({MAX_BROUGHT // 2**20} MiB, {MAX_FILES:,} files)"
            )
        self.note(source)
        self.make(target.parent)
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, target)

    def note(self, source: Path) -> None:
        """Take note that a file of the user's is read."""
        self.read.add(source)

    def check(self) -> None:
        """Refuse a machine that lacks files of the user's which are read.

        Raises
        ------
        StudyError
        """
        for path in self._expected:
            if not path.exists():
                raise StudyError(
                    f"{path} is read by a callback. It is on the machine that the study was "
                    "started on, and not on this one: put it into a folder that both share."
                )

    def remove(self) -> None:
        """Remove the folder, if there is one."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def state(self) -> tuple[str, dict[str, bytes]]:
        """Return where the folder is, and the files in it by their names below it."""
        if self._folder is None:
            return "", {}
        return str(self.folder), contents_of(self.folder)

    def load_state(self, state: tuple[str, Mapping[str, bytes]], estimator: Any) -> None:
        """Take over the files of a `state`, and their place in what ``estimator`` knows of them."""
        old, contents = state
        if old:
            write_contents(contents, self.folder)
            move_again(estimator, old, str(self.folder))


class TrialFiles:
    """The files of the folds of one trial.

    Parameters
    ----------
    number : int
        Of the trial.
    home : Path or None
        The study's folder, made by its driver. One that is not on this machine is a folder of
        this process; with None so too, and nothing is kept.
    keeps_all : bool
        Whether the files of a trial that was stopped are kept.
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
        self._kept = home is not None
        self._keeps_all = keeps_all
        self._base, self._expected = base, expected
        if self._home is not None:  # the same trial may have begun before, and lost its worker
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def folder(self) -> Path:
        """The trial's folder; it may not have been made."""
        if self._home is None:
            self._home = new_folder()
        return trial_folder(self._home, self._number)

    def fold(self, i: int) -> FoldFiles:
        """Return the files of fold ``i``."""
        return FoldFiles(lambda: self.folder / f"fold_{i}", self._base, self._expected)

    def end(self, *, complete: bool) -> None:
        """Remove the files, but for those of a complete trial and of others where all are kept."""
        if self._home is not None and not (self._kept and (complete or self._keeps_all)):
            self._remove()

    def take_out(self) -> dict[str, bytes]:
        """Return the files by their names below the trial's folder, and remove them."""
        if self._home is None:
            return {}
        contents = contents_of(self.folder)
        self._remove()
        return contents

    def _remove(self) -> None:
        own = self.is_far or not self._kept
        shutil.rmtree(self._home if own and self._home else self.folder, ignore_errors=True)


def check_files(estimator: Any, base: Path) -> set[Path]:
    """Move the paths of an estimator once, for a trial, and return the user's files that are read.

    Parameters
    ----------
    estimator : estimator
        It is copied.
    base : Path
        Where relative paths start.

    Raises
    ------
    StudyError
        If something writes in a way that cannot be moved.
    """
    files = FoldFiles(base=base)
    try:
        copied = copy_of(estimator)
    except Exception:
        refuse_what_cannot_be_copied(estimator, base)
        return set()  # it is no callback: the trials will tell
    try:
        isolate(copied, files)
    finally:
        files.remove()
    return files.read


def _is_big(source: Path) -> bool:
    size = 0
    for n, path in enumerate([source] if source.is_file() else source.rglob("*")):
        size += path.stat().st_size if path.is_file() else 0
        if size > MAX_BROUGHT or n > MAX_FILES:
            return True
    return False
