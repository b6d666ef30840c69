"""What becomes of the files that callbacks of the trials have written: the winner's are kept."""

import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from hpo._scratch import new_folder
from hpo.data.folder import cache_folder
from hpo.trackers import BaseTracker
from hpo.training.folders import trial_folder
from hpo.trial import TrialRecord, TrialState

__all__ = ["KeptFiles", "files_kept", "only"]


def files_kept(key: str) -> dict[int, Path]:
    """Return the folders of a stored study's trials of which files are kept on this machine.

    Parameters
    ----------
    key : str
        Of the study; see `TrialStore`.
    """
    return _folders(_durable(key)) if key else {}


def only(files: Mapping[int, Path], number: int) -> dict[int, Path]:
    """Remove the folders of all trials but one, and return that one's, if it has any."""
    for other, folder in files.items():
        if other != number:
            shutil.rmtree(folder, ignore_errors=True)
    return {number: files[number]} if number in files else {}


class KeptFiles(BaseTracker):
    """Keeps the files of the best trial so far, or of all, and removes the others.

    Parameters
    ----------
    key : str or None
        Of a study that is stored: what is kept lies in the cache folder (``$HPO_CACHE``, else
        ``~/.cache/hpo``), where another run of the study finds it. None keeps it as long as
        this process lives.
    keep : {"winner", "all"}
    any_may_win : bool, default=False
        Whether another complete trial than the best one may win, by a rule of the user's.

    Attributes
    ----------
    home : Path
        Where trials write.
    note : str
        What the user should know; empty as a rule.
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
        self._folder = new_folder() if key is None else _durable(key)
        self._all = keep == "all"
        self._any_may_win = any_may_win
        self._best: TrialRecord | None = None

    def begin(self, records: Iterable[TrialRecord]) -> None:
        """Hear of the trials of earlier runs."""
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
        before = self._best
        if record.state is TrialState.COMPLETE:
            if self._is_best(record) and before and not (self._all or self._any_may_win):
                shutil.rmtree(trial_folder(self._folder, before.number), ignore_errors=True)
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
        """Move what a trial has written to where it is kept."""
        source, target = trial_folder(self.home, number), trial_folder(self._folder, number)
        if not any(path.is_file() for path in source.rglob("*")):
            return
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            shutil.move(source, target)
        except OSError as error:
            self.note = f"the files that trial {number} wrote could not be kept: {error}"

    def fail_stale_trials(self, numbers: Collection[int], winner: int | None) -> dict[int, Path]:
        """Return the folders of the files that are kept, by the numbers of their trials.

        Parameters
        ----------
        numbers : collection of int
            Of the trials that this driver knows of; it leaves those of other drivers alone.
        winner : int or None
        """
        if self._all:
            for number in numbers:
                self._keep(number)
        kept = _folders(self._folder)
        if self._all or (self._any_may_win and winner is not None):
            return kept
        return only({n: kept[n] for n in kept if n in numbers}, -1 if winner is None else winner)

    def close(self, timeout: float = 60.0) -> str:
        """Remove where trials write."""
        shutil.rmtree(self.home, ignore_errors=True)
        return self.note


def _durable(key: str) -> Path:
    return cache_folder() / "files" / key


def _folders(folder: Path) -> dict[int, Path]:
    found = {int(path.name.removeprefix("trial_")): path for path in folder.glob("trial_*")}
    return dict(sorted(found.items()))
