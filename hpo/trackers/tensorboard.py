"""A tracker that writes TensorBoard's event files: a folder for each study and each trial."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpo._format import printable
from hpo.storage.study_facts import StudyRecord
from hpo.trackers._folders import (
    emptied,
    set_mark,
    study_folder,
    trial_folder,
    written_in,
)
from hpo.trackers.base import BaseTracker, TrialChange, Written, number, step_metrics
from hpo.trial import TrialState

__all__ = ["TensorboardTracker"]


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
        self._study = study_folder(self.folder, study)
        return written_in(self._study)

    def write_study(self, study: StudyRecord) -> None:
        """Write the study's folder anew."""
        folder = emptied(self._study / "study")
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
        set_mark(folder, study.mark)

    def write_trials(self, changes: Sequence[TrialChange]) -> None:
        """Write trials: what is new of those that this process has begun, all of the others."""
        for change in changes:
            self._write_trial(change)

    def _write_trial(self, change: TrialChange) -> None:
        record = change.record
        folder, reports = trial_folder(self._study, record.number), change.new_reports
        if record.number not in self._writers:
            self._writers[record.number] = _new_writer(emptied(folder))
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
        set_mark(folder, change.mark)

    def close(self) -> None:
        """Close the files of running trials."""
        while self._writers:
            self._writers.popitem()[1].close()


def _new_writer(folder: Path) -> Any:
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(folder))


def _hyperparameters(change: TrialChange) -> Sequence[Any]:
    """Return the summaries from which TensorBoard makes its page of hyperparameters.

    tensorboardX writes a third one, which lists the parameters and metrics of that trial.
    TensorBoard takes the first of them that it finds for all trials, so that parameters which other
    trials have would not be shown; without any it lists those of all.
    """
    from tensorboardX.proto.api_pb2 import Status
    from tensorboardX.summary import hparams

    record = change.record
    plain = {
        _text(name): value if isinstance(value, bool | int | float) else _text(str(value))
        for name, value in record.trial.params.items()
    }
    _, start, end = hparams({"trial": record.number, **plain, "state": str(record.state)}, {})
    if record.state in {TrialState.FAILED, TrialState.INTERRUPTED}:
        data = end.value[0].metadata.plugin_data
        data.content = _with_status(data.content, Status.Value("STATUS_FAILURE"))
    return start, end


def _with_status(content: bytes, status: int) -> bytes:
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    data = HParamsPluginData.FromString(content)
    data.session_end_info.status = status
    serialized: bytes = data.SerializeToString()
    return serialized


def _text(text: str) -> str:
    """Return a text that can be encoded, without control characters."""
    return printable(text)
