"""A tracker that writes runs of Weights & Biases, offline: a folder for each study and trial."""

import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hpo._extras import needs_extra
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

__all__ = ["WandbTracker"]

_LONGEST = 5000
"""Characters of a text."""


class WandbTracker(BaseTracker):
    """Writes ``<folder>/<study>/trial_<number>``, and the study's own to ``<folder>/<study>``.

    Each is a run of a group with the study's name; a trial is written when it has ended. Nothing is
    sent: ``wandb sync <folder>/<study>/*/wandb/offline-run-*`` does that. A run has the same id
    whenever it is written, so that what is sent twice is there once.

    Parameters
    ----------
    folder : str or Path, default="wandb_runs"
    project : str, default="hpo"
        The project that the runs belong to once they are sent.

    Raises
    ------
    MissingExtraError
        If the package wandb is not installed.
    """

    def __init__(self, folder: str | Path = "wandb_runs", project: str = "hpo") -> None:
        with needs_extra("wandb", "Runs of Weights & Biases"):
            if find_spec("wandb") is None:
                raise ModuleNotFoundError("No module named 'wandb'", name="wandb")
        self.folder = Path(folder).expanduser().absolute()
        self.project = project
        self._study = self.folder
        self._group = ""
        self._key = ""

    @property
    def target(self) -> str:
        """The folder."""
        return str(self.folder)

    def open(self, study: StudyRecord) -> Written:
        """Return the marks in the study's folder."""
        self._key = study.key[:8]
        self._group = _text(study.name)[:100]
        self._study = study_folder(self.folder, study)
        return written_in(self._study)

    def write_study(self, study: StudyRecord) -> None:
        """Write the study's run anew."""
        folder = emptied(self._study / "study")
        facts = {**study.params, **study.tags}
        run = self._begin(folder, "study", "study", facts)
        run.summary.update(_plain({"state": study.state, **study.results}))
        run.summary.update({name: number(value) for name, value in study.metrics.items()})
        files = Path(run.dir)
        for name, path in study.files.items():
            target = files / name
            if files.resolve() not in target.resolve().parents:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            run.save(str(target), base_path=str(files), policy="end")
        run.finish()
        set_mark(folder, study.mark)

    def write_trials(self, changes: Sequence[TrialChange]) -> None:
        """Write the trials that have ended, each anew."""
        for change in changes:
            if change.record.state is not TrialState.RUNNING:
                self._write_trial(change)

    def _write_trial(self, change: TrialChange) -> None:
        record = change.record
        folder = emptied(trial_folder(self._study, record.number))
        run = self._begin(folder, folder.name, "trial", record.trial.params)
        for report in change.reports:
            metrics = {_text(key): value for key, value in step_metrics(report)}
            run.log({**metrics, "step": report.step}, step=report.position)
        summary: dict[str, Any] = {"number": record.number, "state": str(record.state)}
        best = record.best_report
        if best is not None:
            summary |= {"best_score": best.value, "best_step": best.step}
        for key in ("cause", "reason", "error"):
            if value := getattr(record, key):
                summary[key] = _text(str(value))
        run.summary.update(summary)
        run.finish(exit_code=int(record.state is TrialState.FAILED))
        set_mark(folder, change.mark)

    def _begin(self, folder: Path, name: str, kind: str, config: Mapping[str, Any]) -> Any:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # errors would be sent
        with needs_extra("wandb", "Runs of Weights & Biases"):
            import wandb

        settings = wandb.Settings(
            mode="offline",
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            save_code=False,
            x_disable_meta=True,
            x_disable_stats=True,
        )
        return wandb.init(
            project=self.project,
            id=f"{self._key}-{name}",
            name=name,
            group=self._group,
            job_type=kind,
            config=_plain(config),
            dir=str(folder),
            reinit="create_new",
            settings=settings,
        )

    def close(self) -> None:
        """End the process with which wandb writes."""
        if (wandb := sys.modules.get("wandb")) is not None:
            wandb.teardown()


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values that JSON has, under names that are not empty."""
    return {_text(name) or "_": _value(value) for name, value in values.items()}


def _value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return _text(str(value))


def _text(text: str) -> str:
    """Return a text that can be encoded, without control characters."""
    return printable(text)[:_LONGEST]
