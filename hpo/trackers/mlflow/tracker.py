"""A tracker that writes every trial as a run to MLflow without waiting for it.

The driver appends events to a file (see `spool`); a separate process reads the file and writes to
MLflow (see `sender`). A slow or dead tracking server does not delay the study, and events that
could not be sent are sent by the next run of the study, or by `send_pending`.
"""

import gc
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from hpo._redaction import redact
from hpo.observer import StudyInfo
from hpo.trackers.base import BaseTracker
from hpo.trackers.mlflow import events
from hpo.trackers.mlflow.channel import (
    COMMAND,
    Channel,
    end,
    environment,
    left_message,
    start_sender,
    waiting,
)
from hpo.trackers.mlflow.runs import MlflowApi, find_parent
from hpo.trackers.mlflow.sender import Sender
from hpo.trackers.mlflow.spool import default_root, store_name, study_folder
from hpo.trackers.mlflow.transaction import one_transaction
from hpo.trackers.mlflow.uri import resolve_tracking_uri, store_home, ui_command
from hpo.trial import Report, TrialRecord

__all__ = [
    "MlflowTracker",
    "RunIds",
    "Sent",
    "main",
    "parent_run",
    "resolve_tracking_uri",
    "send_pending",
    "study_url",
    "ui_command",
]


class Sent(NamedTuple):
    """The result of `send_pending`.

    Parameters
    ----------
    sent, left : int
        Number of records sent, and of those still waiting.
    message : str
        A note for the user; empty if nothing is left.
    """

    sent: int
    left: int
    message: str


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
    spool_dir : str, Path or None, default=None
        Folder where records wait until they are sent. None means ``spool`` under
        ``$HPO_CACHE``, else under ``hpo`` in the user's cache folder.

    Raises
    ------
    PluginError
        If nothing can be tracked at ``tracking_uri``.
    """

    keeps_artifacts = True

    def __init__(
        self, tracking_uri: str | None = None, spool_dir: str | Path | None = None
    ) -> None:
        self.tracking_uri = resolve_tracking_uri(tracking_uri)
        self.spool_dir = _root(spool_dir)
        self._channels: list[Channel] = []
        self._problems: list[str] = []

    def on_study_start(self, info: StudyInfo) -> None:
        """Open the study's spool and record the start."""
        if not self._channels or self._channels[-1].key != info.key:
            if self._channels:
                self._channels[-1].finish()
            folder = study_folder(self.spool_dir, self.tracking_uri, info.key)
            self._channels.append(Channel(folder, self.tracking_uri, info))
        self._send(events.study_started(info))
        for record in info.copied or ():
            for event in events.whole_trial(record):
                self._send(event)

    def on_trial_start(self, record: TrialRecord) -> None:
        """Record the start of a trial."""
        self._send(events.trial_started(record))

    def on_report(self, record: TrialRecord, report: Report) -> None:
        """Record a report."""
        self._send(events.trial_reported(report))

    def on_trial_end(self, record: TrialRecord) -> None:
        """Record the end of a trial."""
        self._send(events.trial_ended(record))

    def on_study_end(
        self,
        metrics: Mapping[str, float],
        params: Mapping[str, Any],
        artifacts: Mapping[str, Path],
        *,
        state: str = "complete",
    ) -> None:
        """Copy the artifacts into the spool and record the result."""
        paths = {}
        for name, source in artifacts.items():
            if self._channels:
                try:
                    paths[name] = self._channels[-1].writer.keep(name, Path(source))
                except OSError as error:
                    self._problems.append(f"The artifact '{name}' was not tracked: {error}.")
        self._send(events.study_ended(metrics, params, paths, state))

    def close(self, timeout: float = 60.0) -> str:
        """Wait until everything is sent, at most ``timeout`` seconds; see `BaseTracker.close`."""
        deadline = time.monotonic() + timeout
        for channel in self._channels:
            channel.finish()
        for channel in self._channels:
            self._problems += channel.settle(max(0.0, deadline - time.monotonic()))
        self._channels.clear()
        message, self._problems = "\n".join(self._problems), []
        return message

    def _send(self, event: dict[str, Any]) -> None:
        if self._channels:
            self._channels[-1].send(event)


def send_pending(
    tracking_uri: str | None = None,
    spool_dir: str | Path | None = None,
    timeout: float = 600.0,
) -> Sent:
    """Send what earlier studies could not send.

    Parameters
    ----------
    tracking_uri : str or None, default=None
        Only records for this store; None means records for all stores.
    spool_dir : str, Path or None, default=None
        As for `MlflowTracker`.
    timeout : float, default=600.0
        Seconds to wait for all of it.
    """
    store_pattern = "*" if tracking_uri is None else store_name(resolve_tracking_uri(tracking_uri))
    deadline = time.monotonic() + timeout
    before = after = 0
    messages = []
    for path in sorted(_root(spool_dir).glob(f"*/{store_pattern}/store.json")):
        study = path.parent
        n_waiting = waiting(study)
        if not n_waiting:
            continue
        before += n_waiting
        process = start_sender(study)
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        end(process)
        after += waiting(study)
        uri = json.loads(path.read_text(encoding="utf-8"))["tracking_uri"]
        if left := left_message(study, uri):
            messages.append(left)
    return Sent(before - after, after, "\n".join(messages))


def parent_run(
    tracking_uri: str | None, study_key: str, spool_dir: str | Path | None = None
) -> RunIds | None:
    """Return the ids of a study in MLflow, or None if it cannot be found.

    Parameters
    ----------
    tracking_uri, spool_dir
        As for `MlflowTracker`.
    study_key : str
        `StudyInfo.key`.
    """
    uri = resolve_tracking_uri(tracking_uri)
    study = study_folder(_root(spool_dir), uri, study_key)
    try:
        return RunIds(**json.loads((study / "parent.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        pass
    if (home := store_home(uri)) is not None and not home.is_dir():
        return None
    question = json.dumps({"tracking_uri": uri, "study_key": study_key})
    answer = subprocess.run(
        [*COMMAND, "find"],
        input=question.encode(),
        capture_output=True,
        env=environment(),
        check=False,
    )
    try:
        return RunIds(*json.loads(answer.stdout.decode().splitlines()[-1]))
    except (IndexError, TypeError, ValueError):
        return None


def study_url(address: str, ids: RunIds) -> str:
    """Return the web address of a study's run on the server at ``address``."""
    return f"{address.rstrip('/')}/#/experiments/{ids.experiment_id}/runs/{ids.run_id}"


def _root(spool_dir: str | Path | None) -> Path:
    return default_root() if spool_dir is None else Path(spool_dir).expanduser().absolute()


def _connect(tracking_uri: str) -> MlflowApi:
    """Return the MLflow client of ``tracking_uri``; only in the sender's process."""
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


def _find() -> RunIds | None:
    """Return the ids of the study that standard input asks for."""
    question = json.loads(sys.stdin.read())
    client = _connect(question["tracking_uri"]).client
    for experiment in client.search_experiments():
        run_id = find_parent(client, experiment.experiment_id, question["study_key"])
        if run_id is not None:
            return RunIds(str(experiment.experiment_id), run_id)
    return None


class _Redacting(io.TextIOBase):
    """A stream that forwards texts without passwords."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(redact(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def main(arguments: Sequence[str]) -> int:
    """Run as a process connected to MLflow: ``send FOLDER [SPOOL]``, or ``find``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # MLflow's output goes to a log file, which people share when something is wrong.
    sys.stderr = _Redacting(sys.stderr)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    if arguments[0] == "find":
        print(json.dumps(_find()))
        return 0
    if hasattr(os, "nice"):
        os.nice(5)
    sys.stdout = sys.stderr
    study, driver_spool = Path(arguments[1]), (arguments[2] or None)
    return Sender(study, driver_spool, _connect).run()
