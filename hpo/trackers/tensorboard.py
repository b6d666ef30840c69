"""A tracker that writes TensorBoard's event files: a folder for each study and each trial."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpo._format import printable
from hpo.storage.study_facts import StudyRecord
from hpo.trackers.base import BaseTracker, TrialChange, Written, number, step_metrics
from hpo.trial import TrialState

__all__ = ["TensorboardTracker"]

_MARK = "hpo.written"
"""File in a folder that tells that all of it is there."""


class TensorboardTracker(BaseTracker):
    """Writes ``<folder>/<study>/trial_<number>``, and the study's own to ``<folder>/<study>``.

    A trial has its scores and metrics by step and, at its end, its parameters with the score for
    TensorBoard's page of hyperparameters. The study has its settings as texts, its results as
    scalars, and its files.

    Event files can only grow. A running trial's grows in the process that began it; another one
    writes the trial anew.

    Parameters
    ----------
    folder : str or Path, default="runs"
        What TensorBoard is given as ``--logdir``.
    """

    def __init__(self, folder: str | Path = "runs") -> None:
        self.folder = Path(folder).expanduser().absolute()
        self._study = self.folder
        self._writers: dict[int, Any] = {}

    @property
    def target(self) -> str:
        """The folder."""
        return str(self.folder)

    def open(self, study: StudyRecord) -> Written:
        """Return the marks in the study's folder."""
        self.close()
        readable = re.sub(r"[^\w.-]+", "_", study.name)[:60].strip(".")
        self._study = self.folder / f"{readable}-{study.key[:8]}"
        marks = {
            int(path.parent.name.removeprefix("trial_")): path.read_text(encoding="utf-8")
            for path in self._study.glob(f"trial_*/{_MARK}")
        }
        own = self._study / "study" / _MARK
        return Written(own.read_text(encoding="utf-8") if own.exists() else "", marks)

    def write_study(self, study: StudyRecord) -> None:
        """Write the study's folder anew."""
        folder = _emptied(self._study / "study")
        writer = _new_writer(folder)
        facts = {**study.params, **study.tags, "state": study.state, **study.results}
        lines = [f"| {name} | {value} |" for name, value in facts.items()]
        writer.add_text("study", _text("\n".join(["| | |", "|---|---|", *lines])))
        for name, text in study.texts.items():
            writer.add_text(name, _text("\n".join(f"    {line}" for line in text.splitlines())))
        for name, value in study.metrics.items():
            writer.add_scalar(name, number(value), 0, study.ended)
        writer.close()
        for name, path in study.files.items():
            target = folder / "files" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        _set_mark(folder, study.mark)

    def write_trials(self, changes: Sequence[TrialChange]) -> None:
        """Write trials: what is new of those that this process has begun, all of the others."""
        for change in changes:
            self._write_trial(change)

    def _write_trial(self, change: TrialChange) -> None:
        record = change.record
        folder, reports = self._study / f"trial_{record.number:05}", change.new_reports
        if record.number not in self._writers:
            self._writers[record.number] = _new_writer(_emptied(folder))
            reports = change.reports
        writer = self._writers[record.number]
        for report in reports:
            for name, value in step_metrics(report):
                writer.add_scalar(_text(name), value, report.step, report.time)
        writer.flush()
        if record.state is TrialState.RUNNING:
            return
        for summary in _hyperparameters(change):
            writer.file_writer.add_summary(summary, walltime=record.ended)
        best = record.best_report
        if best is not None:
            writer.add_scalar("best_score", best.value, best.step, record.ended)
        end = filter(None, [record.state, record.cause, record.reason, record.error])
        writer.add_text("end", _text("\n\n".join(end)), walltime=record.ended)
        self._writers.pop(record.number).close()
        _set_mark(folder, change.mark)

    def close(self) -> None:
        """Close the files of running trials."""
        while self._writers:
            self._writers.popitem()[1].close()


def _new_writer(folder: Path) -> Any:
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(folder))


def _hyperparameters(change: TrialChange) -> Sequence[Any]:
    """Return the summaries from which TensorBoard makes its page of hyperparameters."""
    from tensorboardX.summary import hparams

    plain = {
        _text(name): value if isinstance(value, bool | int | float) else _text(str(value))
        for name, value in change.record.trial.params.items()
    }
    summaries: Sequence[Any] = hparams(plain, {"best_score": change.record.value})
    return summaries


def _emptied(folder: Path) -> Path:
    """Remove a folder, its mark first, and make it anew."""
    (folder / _MARK).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def _set_mark(folder: Path, mark: str) -> None:
    new = folder / f"{_MARK}.new"
    new.write_text(mark, encoding="utf-8")
    new.replace(folder / _MARK)


def _text(text: str) -> str:
    """Return a text that can be encoded, without control characters."""
    return printable(text)
