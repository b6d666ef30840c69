"""Keep the winner's files, or those of all trials, among the files that callbacks write."""

import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from hpo._own_files import make_folder
from hpo._scratch import new_folder
from hpo.data.folder import cache_folder
from hpo.observer import BaseObserver
from hpo.training.folders import trial_folder
from hpo.trial import TrialRecord, TrialState

__all__ = ["KeptFiles", "files_kept", "only"]


def files_kept(key: str) -> dict[int, Path]:
    """Return the folders of the trials of a stored study whose files are kept on this machine.

    Parameters
    ----------
    key : str
        Key of the study; see `TrialStore`.
    """
    return _folders(_study_folder(key)) if key else {}


def only(files: Mapping[int, Path], number: int) -> dict[int, Path]:
    """Remove the folders of all trials but ``number``, and return the remaining one, if any."""
    for trial, folder in files.items():
        if trial != number:
            shutil.rmtree(folder, ignore_errors=True)
    return {number: files[number]} if number in files else {}


class KeptFiles(BaseObserver):
    """Keeps the files of the best trial so far, or of all, and removes the others.

    Parameters
    ----------
    key : str or None
        Key of a stored study: its files are kept in the cache folder (``$HPO_CACHE``, else
        ``~/.cache/hpo``), where another run of the study finds them. None keeps files only as
        long as this process lives.
    keep : {"winner", "all"}
    any_may_win : bool, default=False
        Whether a user-defined rule may choose another complete trial than the best one.

    Attributes
    ----------
    home : Path
        Folder that trials write to.
    note : str
        What the user should know; usually empty.
    is_saved : bool
        Whether the study is stored.
    """

    def __init__(
        self,
        key: str | None,
        keep: str,
        *,
        any_may_win: bool = False,
    ) -> None:
        self.home = new_folder()
        self.note = ""
        self.is_saved = key is not None
        self._folder = new_folder() if key is None else _study_folder(key)
        self._all = keep == "all"
        self._any_may_win = any_may_win
        self._best: TrialRecord | None = None

    def begin(self, records: Iterable[TrialRecord]) -> None:
        """Take the trials of earlier runs into account."""
        for record in records:
            self._is_best(record)

    @property
    def keeps_all(self) -> bool:
        """Whether the files of every trial are kept."""
        return self._all

    def on_trial_end(self, record: TrialRecord) -> None:
        """Keep the trial's files, and remove those of the trial that was the best before it.

        A trial that was stopped may still be closing its files; its worker removes them.
        """
        previous = self._best
        if record.state is TrialState.COMPLETE:
            if self._is_best(record) and previous and not (self._all or self._any_may_win):
                shutil.rmtree(trial_folder(self._folder, previous.number), ignore_errors=True)
            if self._best is record or self._all or self._any_may_win:
                self._keep(record.number)
        if not self._all and record.state is not TrialState.PRUNED:
            shutil.rmtree(trial_folder(self.home, record.number), ignore_errors=True)

    def _is_best(self, record: TrialRecord) -> bool:
        if record.state is not TrialState.COMPLETE or record.best_report is None:
            return False
        best = self._best
        if best and (best.value, -best.number) >= (record.value, -record.number):
            return False
        self._best = record
        return True

    def _keep(self, number: int) -> None:
        """Move the files of a trial to the folder where they are kept."""
        source, target = trial_folder(self.home, number), trial_folder(self._folder, number)
        if not any(path.is_file() for path in source.rglob("*")):
            return
        try:
            make_folder(target.parent)
            shutil.rmtree(target, ignore_errors=True)
            shutil.move(source, target)
        except OSError as error:
            self.note = f"the files that trial {number} wrote could not be kept: {error}"

    def finalize(self, numbers: Collection[int], winner: int | None) -> dict[int, Path]:
        """Remove what is not kept, and return the remaining folders by trial number.

        Parameters
        ----------
        numbers : collection of int
            Trials that this driver knows; the files of other drivers' trials are not touched.
        winner : int or None
        """
        if self._all:
            for number in numbers:
                self._keep(number)
        folders = _folders(self._folder)
        if self._all or (self._any_may_win and winner is not None):
            return folders
        return only(
            {n: folders[n] for n in folders if n in numbers}, -1 if winner is None else winner
        )

    def close(self, timeout: float = 60.0) -> str:
        """Remove the folder that trials write to."""
        shutil.rmtree(self.home, ignore_errors=True)
        return self.note


def _study_folder(key: str) -> Path:
    return cache_folder() / "files" / key


def _folders(folder: Path) -> dict[int, Path]:
    folders = {int(path.name.removeprefix("trial_")): path for path in folder.glob("trial_*")}
    return dict(sorted(folders.items()))
