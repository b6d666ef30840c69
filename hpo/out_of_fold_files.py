"""Where the out-of-fold predictions of a study are kept: one file for each trial.

::

    <files of the study>/out_of_fold/
        rows.npz        numbers, folds, targets and groups of the validated rows
        trial_7.npz     what trial 7 did on each of them
"""

import heapq
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpo._own_files import make_folder
from hpo.out_of_fold import OutOfFold, ValidatedRows
from hpo.trial import TrialRecord, TrialState

__all__ = ["OUT_OF_FOLD", "OutOfFoldFiles", "RowScores", "StudyRows"]

OUT_OF_FOLD = "out_of_fold"
"""Name of the folder below that of a study's files."""

_ROWS = "rows.npz"
_PREDICTIONS = ("best", "last")


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyRows:
    """The validated rows of a study, in the order of its folds.

    Parameters
    ----------
    rows, folds : ndarray of shape (n_rows,)
        Each row's number in X, and the number of its fold.
    y : ndarray of shape (n_rows, ...) or None
    classes : ndarray of shape (n_classes,) or None
        None for a regression.
    groups : ndarray of shape (n_rows,) or None
        Rows with the same value belong together, those of one subject.
    """

    rows: np.ndarray
    folds: np.ndarray
    y: np.ndarray | None = None
    classes: np.ndarray | None = None
    groups: np.ndarray | None = None

    @property
    def units(self) -> np.ndarray:
        """What is independent, of shape (n_rows,): each row's group, else its number."""
        return self.rows if self.groups is None else self.groups

    @property
    def labels(self) -> np.ndarray | None:
        """Each row's class, of shape (n_rows,); None for a regression, or if it is not known."""
        known = self.classes is not None and self.y is not None and self.y.ndim == 1
        return self.y if known else None


@dataclass(frozen=True, slots=True, eq=False)
class RowScores:
    """Scores of a trial on each validated row.

    Parameters
    ----------
    number : int
    steps : ndarray of shape (n_steps,)
    scores : ndarray of shape (n_steps, n_rows)
    """

    number: int
    steps: np.ndarray
    scores: np.ndarray


@dataclass(slots=True)
class _Running:
    """What is known of a trial in training."""

    scores: dict[int, np.ndarray] = field(default_factory=dict)
    best: ValidatedRows | None = None
    best_value: float = -math.inf
    last: ValidatedRows | None = None


class OutOfFoldFiles:
    """The out-of-fold predictions of a study.

    Parameters
    ----------
    folder : Path
        It is made when the first trial has ended.
    rows : callable or None
        Returns the rows of the study; None for readers.
    mode : int, default=0o700
        Permissions of the folder: who may read it may read the files.
    budget : int, default=500_000_000
        Bytes that the files may take together. Predictions of the trials with the smallest scores
        are removed first.
    """

    def __init__(
        self,
        folder: Path,
        rows: Callable[[], StudyRows] | None = None,
        *,
        mode: int = 0o700,
        budget: int = 500_000_000,
    ) -> None:
        self._folder = folder
        self._make_rows = rows
        self._mode = mode
        self._budget = budget
        self._running: dict[int, _Running] = {}
        self._sizes: dict[int, int] | None = None  # bytes by trial, once they have been counted
        self._total = 0
        self._removable: list[tuple[float, int]] = []  # a heap of scores and trials
        self.note = ""

    # -- what the driver does --------------------------------------------------------------------

    def add(self, number: int, value: float, rows: ValidatedRows | None) -> None:
        """Take in what a report carries.

        Parameters
        ----------
        number : int
            Number of the trial.
        value : float
            Score of the report.
        rows : ValidatedRows or None
        """
        if rows is None:
            return
        running = self._running.setdefault(number, _Running())
        if rows.earlier is not None and running.best is None:
            running.best_value, running.best = rows.earlier
        if rows.scores is not None:
            first = rows.step - len(rows.scores) + 1
            for i, scores in enumerate(rows.scores):
                running.scores.setdefault(first + i, scores)
        if rows.predictions is not None:
            running.last = rows
            if value > running.best_value:
                running.best, running.best_value = rows, value

    def end(self, record: TrialRecord) -> None:
        """Write what is known of a trial that has ended; of an interrupted one, forget it."""
        running = self._running.pop(record.number, None)
        if running is None or record.interrupted or not (running.scores or running.last):
            return
        try:
            self._write(record, running)
            self._keep_to_budget(record.number)
        except OSError as error:
            self.note = f"Out-of-fold predictions could not be kept in {self._folder}: {error}."

    def discard(self, number: int) -> None:
        """Forget a trial whose reports are void."""
        self._running.pop(number, None)
        self._path(number).unlink(missing_ok=True)

    def copy_from(self, other: "OutOfFoldFiles", numbers: Mapping[int, int]) -> None:
        """Copy what another study on the same data and folds has kept.

        Parameters
        ----------
        other : OutOfFoldFiles
        numbers : mapping of int to int
            Number of each trial here by its number there.
        """
        kept = {new: stored for old, new in numbers.items() if (stored := _read(other._path(old)))}
        if not kept or not other.exists:
            return
        try:
            make_folder(self._folder, self._mode)
            with np.load(other._folder / _ROWS) as rows:
                self._save(self._folder / _ROWS, dict(rows.items()))
            for number, stored in kept.items():
                self._save(self._path(number), stored)
        except OSError as error:
            self.note = f"Out-of-fold predictions could not be copied to {self._folder}: {error}."

    def _write(self, record: TrialRecord, running: _Running) -> None:
        if not self.exists:
            self._write_rows()
        steps = sorted(running.scores)
        arrays: dict[str, Any] = {"value": record.value, "steps": np.array(steps, dtype=np.int32)}
        if steps:
            arrays |= _packed(np.stack([running.scores[step] for step in steps]))
        best = running.last if record.select == "last" else running.best
        complete = record.state is TrialState.COMPLETE
        for name, rows in zip(_PREDICTIONS, (best, running.last), strict=True):
            if complete and rows is not None and rows.predictions is not None:
                arrays["kind"] = rows.kind
                arrays[f"{name}_step"] = rows.step
                if name == "best" or rows is not best:
                    arrays[name] = _plain(rows.predictions)
        self._save(self._path(record.number), arrays)
        if "best" in arrays:
            heapq.heappush(self._removable, (record.value, record.number))

    def _write_rows(self) -> None:
        assert self._make_rows is not None
        make_folder(self._folder, self._mode)
        study = self._make_rows()
        arrays = {"rows": study.rows, "folds": study.folds}
        for name in ("y", "classes", "groups"):
            value = getattr(study, name)
            if value is not None:
                arrays[name] = _plain(value)
        self._save(self._folder / _ROWS, arrays)

    def _save(self, path: Path, arrays: dict[str, Any]) -> None:
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        with open(unfinished, "wb", opener=self._opener) as file:
            np.savez(file, **arrays)
        unfinished.replace(path)

    def _opener(self, path: str, flags: int) -> int:
        return os.open(path, flags, self._mode & 0o666)

    def _keep_to_budget(self, number: int) -> None:
        """Count the new file of a trial, and remove predictions if all files are too large."""
        if self._sizes is None:
            self._count_earlier_files()
        self._count(number)
        while self._total > self._budget and self._removable:
            _, worst = heapq.heappop(self._removable)
            stored = _read(self._path(worst)) or {}
            arrays = {k: v for k, v in stored.items() if k not in _PREDICTIONS}
            if arrays:
                self._save(self._path(worst), arrays)
                self._count(worst)
        if self._total > self._budget:
            self.note = (
                f"The scores of each validated row take {self._total / 1e6:.0f} MB, more than the "
                f"{self._budget / 1e6:.0f} MB that they may take. Out-of-fold predictions are not "
                "kept."
            )

    def _count_earlier_files(self) -> None:
        self._sizes = {}
        for path in self._folder.glob("trial_*.npz"):
            number = int(path.stem.removeprefix("trial_"))
            self._count(number)
            if (number not in {n for _, n in self._removable}) and (stored := _read(path)):
                heapq.heappush(self._removable, (float(stored["value"]), number))

    def _count(self, number: int) -> None:
        assert self._sizes is not None
        size = self._path(number).stat().st_size
        self._total += size - self._sizes.get(number, 0)
        self._sizes[number] = size

    def _path(self, number: int) -> Path:
        return self._folder / f"trial_{number}.npz"

    # -- what anyone does ------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether anything is kept."""
        return (self._folder / _ROWS).exists()

    @property
    def rows(self) -> StudyRows:
        """The rows of the study.

        Raises
        ------
        KeyError
            If nothing is kept.
        """
        path = self._folder / _ROWS
        if not self.exists:
            raise KeyError("No out-of-fold predictions are kept of this study.")
        with np.load(path) as stored:
            return StudyRows(**{name: stored[name] for name in stored.files})

    def load(self, number: int) -> OutOfFold:
        """Return the out-of-fold predictions of a trial.

        Raises
        ------
        KeyError
            If none are kept.
        """
        path = self._path(number)
        stored = _read(path)
        if stored is None or "best" not in stored or "last_step" not in stored:
            raise KeyError(f"No out-of-fold predictions of trial {number} are kept.")
        study = self.rows
        kind = str(stored["kind"])
        return OutOfFold(
            number=number,
            rows=study.rows,
            folds=study.folds,
            kind=kind,
            step=int(stored["best_step"]),
            predictions=stored["best"],
            last_predictions=stored.get("last", stored["best"]),
            y=study.y,
            classes=study.classes,
        )

    def row_scores(self, number: int) -> RowScores | None:
        """Return the scores of a trial on each row at each step; None if they are not known."""
        stored = _read(self._path(number))
        if stored is None or "scores" not in stored:
            return None
        scores = stored["scores"]
        if "n_rows" in stored:
            scores = np.unpackbits(scores, axis=1, count=int(stored["n_rows"])).astype(bool)
        return RowScores(number, stored["steps"], scores)


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of a file; None if there is none, or it is damaged."""
    try:
        with np.load(path) as stored:
            return dict(stored.items())
    except (OSError, ValueError, EOFError, KeyError):
        return None
    except Exception as error:  # zipfile.BadZipFile, and zlib.error, which have no common base
        if type(error).__module__ in {"zipfile", "zlib"}:
            return None
        raise


def _packed(scores: np.ndarray) -> dict[str, Any]:
    if scores.dtype == bool:
        return {"scores": np.packbits(scores, axis=1), "n_rows": scores.shape[1]}
    return {"scores": scores.astype(np.float32)}


def _plain(values: Any) -> np.ndarray:
    """Return an array that can be written without a pickle: objects become texts."""
    array = np.asarray(values)
    return array.astype(str) if array.dtype == object else array
