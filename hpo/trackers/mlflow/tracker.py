"""A tracker that writes a study and each of its trials as runs to MLflow."""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hpo.storage.study_facts import StudyRecord
from hpo.trackers._following import environment
from hpo.trackers.base import BaseTracker, TrialChange, Written
from hpo.trackers.mlflow.plan import study_plan, trial_plan
from hpo.trackers.mlflow.runs import MlflowApi, RunWriter, find_parent
from hpo.trackers.mlflow.transaction import one_transaction
from hpo.trackers.mlflow.uri import resolve_tracking_uri, store_home

__all__ = ["MlflowTracker", "RunIds", "parent_run", "print_parent", "study_url"]


class RunIds(NamedTuple):
    """The ids of a study in MLflow."""

    experiment_id: str
    run_id: str


class MlflowTracker(BaseTracker):
    """Writes a parent run for each study and a child run for each trial.

    Parameters
    ----------
    tracking_uri : str or None, default=None
        MLflow tracking URI, or the path of an SQLite file. None means
        ``$MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the current folder.

    Raises
    ------
    PluginError
        If nothing can be tracked at ``tracking_uri``.
    """

    def __init__(self, tracking_uri: str | None = None) -> None:
        self.tracking_uri = resolve_tracking_uri(tracking_uri)
        self._writer: RunWriter | None = None
        self._failures: dict[str, int] = {}
        self._refused: list[str] = []

    @property
    def target(self) -> str:
        """The tracking URI."""
        return self.tracking_uri

    def open(self, study: StudyRecord) -> Written:
        """Find or create the study's run, and return the marks of all its runs."""
        self._writer = writer = RunWriter(
            _connect(self.tracking_uri),
            study.name,
            study.key,
            study_plan(study).start,
            note=self._refused.append,
            failures=self._failures,
            shared=study.shared,
        )
        return Written(writer.study_mark, writer.marks)

    def write_study(self, study: StudyRecord) -> None:
        """Write the study's run."""
        self._opened.write(study_plan(study))

    def write_trials(self, changes: Sequence[TrialChange]) -> None:
        """Write the runs of trials."""
        self._opened.write_all([trial_plan(change) for change in changes])

    def refused(self) -> Sequence[str]:
        """Return what MLflow has rejected for good since the last call."""
        texts, self._refused[:] = tuple(self._refused), []
        return texts

    def close(self) -> None:
        """Forget the runs; the connection is MLflow's."""
        self._writer = None

    @property
    def _opened(self) -> RunWriter:
        if self._writer is None:
            raise RuntimeError("open comes first")
        return self._writer


def parent_run(tracking_uri: str | None, study_key: str) -> RunIds | None:
    """Return the ids of a study in MLflow, or None if it cannot be found.

    Parameters
    ----------
    tracking_uri : str or None
        As for `MlflowTracker`.
    study_key : str
        `StudyRecord.key`.
    """
    uri = resolve_tracking_uri(tracking_uri)
    if (home := store_home(uri)) is not None and not home.is_dir():
        return None
    question = json.dumps({"tracking_uri": uri, "study_key": study_key})
    answer = subprocess.run(
        [sys.executable, "-P", "-m", "hpo.trackers.mlflow"],
        input=question.encode(),
        capture_output=True,
        env=environment(),
        check=False,
    )
    try:
        return RunIds(*json.loads(answer.stdout.decode().splitlines()[-1]))
    except (IndexError, TypeError, ValueError):
        return None


def print_parent() -> None:
    """Print the ids of the study that standard input asks for: the process of `parent_run`."""
    question = json.loads(sys.stdin.read())
    client = _connect(question["tracking_uri"]).client
    for experiment in client.search_experiments():
        run_id = find_parent(client, experiment.experiment_id, question["study_key"])
        if run_id is not None:
            print(json.dumps([str(experiment.experiment_id), run_id]))
            return


def study_url(address: str, ids: RunIds) -> str:
    """Return the web address of a study's run on the server at ``address``."""
    return f"{address.rstrip('/')}/#/experiments/{ids.experiment_id}/runs/{ids.run_id}"


def _connect(tracking_uri: str) -> MlflowApi:
    """Return the MLflow client of ``tracking_uri``; only in a process of its own."""
    home = store_home(tracking_uri)
    if home is not None:
        home.mkdir(parents=True, exist_ok=True)
        # MLflow puts the artifacts of an SQLite store into the current folder.
        sys.path[:] = [str(Path(entry).absolute()) for entry in sys.path]
        os.chdir(home)
    # Garbage collection during the import of 2000 modules, and of them later, takes a third of the
    # start time and finds nothing.
    gc.disable()
    try:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=tracking_uri)
    finally:
        gc.freeze()
        gc.enable()
    return MlflowApi(client, Metric, Param, RunTag, one_transaction(client))
