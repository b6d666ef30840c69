"""A tracker that writes every trial as a run to MLflow, without ever waiting for it.

The driver appends what happens to a file (see `spool`); a process of its own reads the file
and writes to MLflow (see `sender`). A slow or dead tracking server holds nothing up, and what
could not be sent is sent by the next run of the study, or by `send_pending`.
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
from hpo.trackers.base import BaseTracker, StudyInfo
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
    """What `send_pending` did.

    Parameters
    ----------
    sent, left : int
        Number of records sent, and of those that still wait.
    message : str
        What the user should know; empty if nothing is left.
    """

    sent: int
    left: int
    message: str


class RunIds(NamedTuple):
    """Where a study is in MLflow."""

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
        """Open the study's spool and tell the start."""
        if not self._channels or self._channels[-1].key != info.key:
            if self._channels:
                self._channels[-1].finish()
            folder = study_folder(self.spool_dir, self.tracking_uri, info.key)
            self._channels.append(Channel(folder, self.tracking_uri, info))
        self._tell(events.study_started(info))
        for record in info.copied or ():
            for event in events.whole_trial(record):
                self._tell(event)

    def on_trial_start(self, record: TrialRecord) -> None:
        """Tell that a trial begins."""
        self._tell(events.trial_started(record))

    def on_report(self, record: TrialRecord, report: Report) -> None:
        """Tell of a step."""
        self._tell(events.trial_reported(report))

    def on_trial_end(self, record: TrialRecord) -> None:
        """Tell that a trial ended."""
        self._tell(events.trial_ended(record))

    def on_study_end(
        self,
        metrics: Mapping[str, float],
        params: Mapping[str, Any],
        artifacts: Mapping[str, Path],
        *,
        state: str = "complete",
    ) -> None:
        """Copy the artifacts into the spool and tell the outcome."""
        places = {}
        for name, source in artifacts.items():
            if self._channels:
                try:
                    places[name] = self._channels[-1].writer.keep(name, Path(source))
                except OSError as error:
                    self._problems.append(f"The artifact '{name}' was not tracked: {error}.")
        self._tell(events.study_ended(metrics, params, places, state))

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

    def _tell(self, event: dict[str, Any]) -> None:
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
        Only what was meant for this store; None means whatever store it was meant for.
    spool_dir : str, Path or None, default=None
        As for `MlflowTracker`.
    timeout : float, default=600.0
        Seconds to wait for all of it.
    """
    wanted = "*" if tracking_uri is None else store_name(resolve_tracking_uri(tracking_uri))
    deadline = time.monotonic() + timeout
    before = after = 0
    told = []
    for path in sorted(_root(spool_dir).glob(f"*/{wanted}/store.json")):
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
            told.append(left)
    return Sent(before - after, after, "\n".join(told))


def parent_run(
    tracking_uri: str | None, study_key: str, spool_dir: str | Path | None = None
) -> RunIds | None:
    """Return where a study is in MLflow, or None if it is not there or cannot be asked for.

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
    """Return the MLflow at ``tracking_uri``; in the sender's process only."""
    home = store_home(tracking_uri)
    if home is not None:
        home.mkdir(parents=True, exist_ok=True)
        # MLflow puts the artifacts of an SQLite store into the current folder.
        sys.path[:] = [str(Path(entry).absolute()) for entry in sys.path]
        os.chdir(home)
    # Looking for garbage while 2000 modules are imported, and in them ever after, is a third of
    # what the start costs, and finds nothing.
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
    """Answer the question on standard input, where a study is."""
    question = json.loads(sys.stdin.read())
    client = _connect(question["tracking_uri"]).client
    for experiment in client.search_experiments():
        found = find_parent(client, experiment.experiment_id, question["study_key"])
        if found is not None:
            return RunIds(str(experiment.experiment_id), found)
    return None


class _Redacting(io.TextIOBase):
    """A stream that passes on what is written to it, without passwords."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(redact(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def main(arguments: Sequence[str]) -> int:
    """Run as a process that talks to MLflow: ``send FOLDER [SPOOL]``, or ``find``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What MLflow says goes to a file that people send around when something is wrong.
    sys.stderr = _Redacting(sys.stderr)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    if arguments[0] == "find":
        print(json.dumps(_find()))
        return 0
    if hasattr(os, "nice"):
        os.nice(5)
    sys.stdout = sys.stderr
    study, own = Path(arguments[1]), (arguments[2] or None)
    return Sender(study, own, _connect).run()
