"""A tracker that writes a study and each of its trials as runs to MLflow."""

import json
import logging
import subprocess
import sys
from collections.abc import Sequence

from hpo.exceptions import PluginError
from hpo.storage.study_facts import StudyRecord
from hpo.trackers._following import environment
from hpo.trackers._progress import Progress
from hpo.trackers.base import BaseTracker, TrialChange, Written
from hpo.trackers.mlflow.api import connect, find_parent
from hpo.trackers.mlflow.experiments import open_experiment
from hpo.trackers.mlflow.note import study_note
from hpo.trackers.mlflow.plan import progress_plan, study_plan, trial_plan
from hpo.trackers.mlflow.runs import RunWriter
from hpo.trackers.mlflow.system_metrics import SystemMetrics
from hpo.trackers.mlflow.uri import resolve_tracking_uri, store_home
from hpo.trackers.mlflow.view import RunIds, saved_view_of, trials_url

__all__ = ["MlflowTracker", "parent_run", "print_parent"]

log = logging.getLogger(__name__)


class MlflowTracker(BaseTracker):
    """Writes a parent run for each study and a child run for each trial.

    Parameters
    ----------
    tracking_uri : str or None, default=None
        MLflow tracking URI, or the path of an SQLite file. None means
        ``$MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the current folder.
    register : str or None, default=None
        Name in MLflow's model registry under which the winner is registered, as a new version;
        None registers nothing.
    system_metrics : bool, default=False
        Whether the study's run gets MLflow's system metrics (use of CPU, memory, disk, network
        and, with pynvml, GPUs) of the machine of each driver, about every ten seconds.

    Raises
    ------
    PluginError
        If nothing can be tracked at ``tracking_uri``, or MLflow takes no model of this name.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        register: str | None = None,
        system_metrics: bool = False,
    ) -> None:
        if register is not None and (not str(register).strip() or set("/:") & set(str(register))):
            raise PluginError(
                "register is the name of a model in MLflow's registry, without slashes and colons. "
                f"Got {register!r} instead."
            )
        self.tracking_uri = resolve_tracking_uri(tracking_uri)
        self.register = None if register is None else str(register).strip()
        self._writer: RunWriter | None = None
        self._failures: dict[str, int] = {}
        self._refused: list[str] = []
        self._scoring = ""
        self._system = system_metrics
        self._monitor: SystemMetrics | None = None

    @property
    def target(self) -> str:
        """The tracking URI."""
        return self.tracking_uri

    def open(self, study: StudyRecord) -> Written:
        """Find or create the study's run, and return the marks of all its runs."""
        api = connect(self.tracking_uri)
        self._writer = writer = RunWriter(
            api,
            open_experiment(api.client, study),
            study.name,
            study.key,
            study_plan(study).start,
            note=self._refused.append,
            failures=self._failures,
            shared=study.shared,
            register=self.register,
        )
        self._scoring = str(study.params.get("scoring", ""))
        return Written(writer.study_mark, writer.marks, writer.n_progress)

    def write_study(self, study: StudyRecord) -> None:
        """Write the study's run."""
        writer = self._opened
        plan = study_plan(study, writer.n_progress)
        plan.note = study_note(study, writer.trial_url, writer.trials_url)
        writer.write(plan)

    def write_trials(self, changes: Sequence[TrialChange]) -> None:
        """Write the runs of trials."""
        self._opened.write_all([trial_plan(change, self._scoring) for change in changes])

    def write_progress(self, course: Sequence[Progress]) -> None:
        """Write how the study came on, as metrics by the number of trials that had ended."""
        self._opened.write_progress(progress_plan(course))

    def watch(self, study: StudyRecord) -> None:
        """Write the system metrics, if they are asked for."""
        if not self._system:
            return
        try:
            self._monitor = self._monitor or SystemMetrics()
            self._opened.write_metrics(self._monitor.sample(study.started))
        except Exception:  # they are not worth a study's record
            log.warning("the system metrics could not be written", exc_info=True)

    def refused(self) -> Sequence[str]:
        """Return what MLflow has rejected for good since the last call."""
        texts, self._refused[:] = tuple(self._refused), []
        return texts

    def close(self) -> None:
        """Forget the runs; the connection is MLflow's."""
        self._writer = None

    @property
    def page(self) -> str:
        """The address of the table of trials, if the store is a server."""
        if self._writer is None or not self.tracking_uri.startswith(("http://", "https://")):
            return ""
        return trials_url(self.tracking_uri, self._writer.ids)

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
    client = connect(question["tracking_uri"]).client
    for experiment in client.search_experiments():
        run_id = find_parent(client, experiment.experiment_id, question["study_key"])
        if run_id is not None:
            view = saved_view_of(experiment.tags, question["study_key"])
            print(json.dumps([str(experiment.experiment_id), run_id, view]))
            return
