"""Write plans to MLflow through its client; writing them twice has the same effect as once."""

import getpass
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from hpo.trackers.mlflow.plan import RunPlan

__all__ = ["MlflowApi", "RunWriter", "find_parent", "refused"]

KEY_TAG = "hpo.study_key"
KIND_TAG = "hpo.kind"
PARENT_TAG = "mlflow.parentRunId"

LIMITS = {"metrics": 1000, "params": 100, "tags": 100}
REFUSALS = {
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "MALFORMED_REQUEST",
}
ARTIFACT_ATTEMPTS = 3
SETTLE_SECONDS = 0.3
TRANSACTION_SECONDS = 0.2
"""Seconds after which a transaction ends, so that others can write to the store."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MlflowApi:
    """The parts of MLflow that are used.

    Parameters
    ----------
    client : MlflowClient
    metric, param, tag : callable
        MLflow's entities ``Metric``, ``Param`` and ``RunTag``.
    together : callable or None
        Returns a context manager that combines all writes of the client in one transaction; None
        if the store does not support it.
    """

    client: Any
    metric: Callable[..., Any]
    param: Callable[..., Any]
    tag: Callable[..., Any]
    together: Callable[[], AbstractContextManager[None]] | None = None


def refused(error: Exception) -> bool:
    """Return whether the store rejected a record for good, so that retrying is useless."""
    return getattr(error, "error_code", None) in REFUSALS


def _is_small(plan: RunPlan) -> bool:
    """Return whether a plan is that of a trial, small, and only written to the database."""
    is_trial = plan.number is not None
    return is_trial and not plan.texts and not plan.files and len(plan.metrics) <= LIMITS["metrics"]


def _quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"


def find_parent(client: Any, experiment_id: str, study_key: str) -> str | None:
    """Return the id of a study's run, the first one if a race created several."""
    runs = client.search_runs(
        [experiment_id],
        f"tags.`{KEY_TAG}` = {_quoted(study_key)} and tags.`{KIND_TAG}` = 'study'",
        max_results=100,
    )
    first = min(runs, key=lambda run: (run.info.start_time, run.info.run_id), default=None)
    return None if first is None else str(first.info.run_id)


class RunWriter:
    """Writes the runs of one study.

    Parameters
    ----------
    api : MlflowApi
    name, study_key : str
        Name and key of the study.
    start : int
        Start of the study, for a new run: milliseconds since the epoch.
    note : callable
        Called with a text for everything that the store rejected for good.
    unsent : Path
        Folder for the files that the store rejected for good.
    failures : dict of str to int
        Counts the failed attempts to store each artifact.
    shared : callable, optional
        Returns a lock to hold (a context manager) while a run is searched and created, or None if
        no other process writes runs of this study.
    """

    def __init__(
        self,
        api: MlflowApi,
        name: str,
        study_key: str,
        start: int,
        *,
        note: Callable[[str], None],
        unsent: Path,
        failures: dict[str, int],
        shared: Callable[[], Any] = lambda: None,
    ) -> None:
        self._api = api
        self._client = api.client
        self._together = api.together
        self._name = name
        self._key = study_key
        self._note = note
        self._shared = shared
        self._common = {KEY_TAG: study_key, "mlflow.user": _user()}
        self._failures = failures
        self._unsent = unsent
        self._deleted_runs: set[str] = set()
        self.experiment_id = self._open_experiment()
        self.parent_id = self._open_parent(start)
        self._runs = self._existing_trials()

    def write_all(self, plans: Sequence[RunPlan], files: Path) -> None:
        """Write plans in order, many in one transaction if the store supports it.

        Parameters and exceptions are those of `write`.
        """
        done = 0
        while done < len(plans):
            n_written = self._write_together(plans[done:], files)
            if n_written == 0:
                self.write(plans[done], files)
            done += n_written or 1

    def write(self, plan: RunPlan, files: Path) -> None:
        """Write a plan; ``files`` is the folder of the spool's artifacts.

        Raises
        ------
        Exception
            Whatever MLflow raises if the store cannot be reached; retry later.
        """
        run_id, created = self._get_or_create_run(plan)
        params = plan.params | self._new_params(run_id, plan)
        self._log(
            run_id,
            {
                "metrics": [self._api.metric(*metric) for metric in plan.metrics],
                "params": [self._api.param(*item) for item in params.items()],
                "tags": [] if created else [self._api.tag(*item) for item in plan.tags.items()],
            },
        )
        for name, text in plan.texts.items():
            self._write_artifact(name, partial(self._client.log_text, run_id, text, name))
        for name, place in plan.files.items():
            source = files / place
            if source.exists():
                self._write_artifact(name, partial(self._upload, run_id, name, source), source)
        if plan.fresh and not created and plan.status is None:
            plan.status = "RUNNING"
        self._set_status(run_id, plan)

    def _write_together(self, plans: Sequence[RunPlan], files: Path) -> int:
        """Write the first plans in one transaction; return how many were written."""
        # If others write runs of the study, each must exist before the next is searched.
        if self._together is None or not _is_small(plans[0]) or self._shared() is not None:
            return 0
        previous_runs = dict(self._runs)
        deadline = time.monotonic() + TRANSACTION_SECONDS
        n_written = 0
        try:
            with self._together():
                for plan in takewhile(_is_small, plans):
                    self.write(plan, files)
                    n_written += 1
                    if time.monotonic() > deadline:
                        break
        except Exception:
            log.warning("a transaction failed: from now on each run has its own", exc_info=True)
            self._runs = previous_runs
            self._together = None
            return 0
        return n_written

    def _open_experiment(self) -> str:
        experiment = self._client.get_experiment_by_name(self._name)
        if experiment is None:
            try:
                return str(self._client.create_experiment(self._name))
            except Exception:
                # Another driver of the study may have been faster.
                experiment = self._client.get_experiment_by_name(self._name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _open_parent(self, start: int) -> str:
        existing = find_parent(self._client, self.experiment_id, self._key)
        if existing is not None:
            return existing
        created = self._client.create_run(
            self.experiment_id,
            start_time=start,
            tags={**self._common, KIND_TAG: "study", "state": "running"},
            run_name=self._name,
        ).info.run_id
        # A driver on another machine may be doing the same: all use the first run.
        time.sleep(SETTLE_SECONDS)
        first = find_parent(self._client, self.experiment_id, self._key) or created
        if first != created:
            self._client.delete_run(created)
        return str(first)

    def _existing_trials(self) -> dict[int, str]:
        trials: dict[int, str] = {}
        token = None
        while True:
            page = self._search(f"tags.`{PARENT_TAG}` = '{self.parent_id}'", token)
            for run in page:
                number = run.data.tags.get("number", "")
                if number.isdigit():
                    trials[int(number)] = run.info.run_id
            token = page.token
            if not token:
                return trials

    def _search(self, text: str, token: str | None = None) -> Any:
        return self._client.search_runs(
            [self.experiment_id], text, max_results=1000, page_token=token
        )

    def _get_or_create_run(self, plan: RunPlan) -> tuple[str, bool]:
        """Return the run of a plan, and whether it was just created, with the plan's tags."""
        if plan.number is None:
            return self.parent_id, False
        existing = self._runs.get(plan.number)
        if existing is not None:
            return existing, False
        lock = self._shared()
        with lock or nullcontext():
            if lock is not None or not plan.fresh:
                where = f"tags.`{PARENT_TAG}` = '{self.parent_id}'"
                runs = self._search(f"{where} and tags.number = '{plan.number}'")
                if runs:
                    self._runs[plan.number] = runs[0].info.run_id
                    return self._runs[plan.number], False
            tags = {"number": str(plan.number), **plan.tags, **self._common}
            run = self._client.create_run(
                self.experiment_id,
                start_time=plan.start,
                tags={**tags, PARENT_TAG: self.parent_id},
                run_name=f"trial {plan.number}",
            )
        self._runs[plan.number] = run.info.run_id
        return self._runs[plan.number], True

    def _new_params(self, run_id: str, plan: RunPlan) -> dict[str, str]:
        """Return the params that can be written; changed ones become tags."""
        if not plan.params_once:
            return {}
        params: Mapping[str, str] = self._client.get_run(run_id).data.params
        for key, value in plan.params_once.items():
            if params.get(key, value) != value:
                plan.tags[key] = value
                plan.tags["note"] = (
                    "The study went on with other settings or another winner than at first. "
                    "MLflow cannot change params: where a tag has a param's name, the tag holds."
                )
        return {key: value for key, value in plan.params_once.items() if key not in params}

    def _log(self, run_id: str, entities: Mapping[str, Sequence[Any]]) -> None:
        """Write everything in as few requests as the limits of MLflow allow."""
        n_batches = max(-(-len(entities[kind]) // limit) for kind, limit in LIMITS.items())
        for i in range(n_batches):
            batch = [
                (kind, entity)
                for kind, limit in LIMITS.items()
                for entity in entities[kind][i * limit : (i + 1) * limit]
            ]
            self._log_batch(run_id, batch)

    def _log_batch(self, run_id: str, batch: Sequence[tuple[str, Any]]) -> None:
        """Write a batch; split a rejected one in halves until the invalid entity is found."""
        pieces = {kind: [entity for k, entity in batch if k == kind] for kind in LIMITS}
        try:
            self._client.log_batch(run_id, **pieces)
        except Exception as error:
            if not refused(error):
                raise
            if self._deleted(run_id):
                return
            if len(batch) == 1:
                self._note(f"run {run_id}: {dict(batch[0][1])} was refused: {error}")
                return
            middle = len(batch) // 2
            self._log_batch(run_id, batch[:middle])
            self._log_batch(run_id, batch[middle:])

    def _deleted(self, run_id: str) -> bool:
        """Return whether the user has deleted a run, which then rejects everything."""
        if run_id not in self._deleted_runs:
            if self._client.get_run(run_id).info.lifecycle_stage != "deleted":
                return False
            self._deleted_runs.add(run_id)
            self._note(f"run {run_id} was deleted while the study ran; the rest of it is dropped")
        return True

    def _write_artifact(
        self, name: str, write: Callable[[], object], source: Path | None = None
    ) -> None:
        """Write an artifact; one that keeps failing is moved away so that others can be sent."""
        try:
            write()
        except Exception as error:
            self._failures[name] = self._failures.get(name, 0) + 1
            if self._failures[name] < ARTIFACT_ATTEMPTS and not refused(error):
                raise
            log.exception("artifact %s", name)
            location = self._move_to_unsent(name, source) if source else ""
            self._note(f"artifact '{name}' could not be stored{location}: {error}")

    def _move_to_unsent(self, name: str, source: Path) -> str:
        target = self._unsent / f"{uuid.uuid4().hex[:8]}-{Path(name).name}"
        target.parent.mkdir(exist_ok=True)
        shutil.move(source, target)
        return f" and lies at {target}"

    def _upload(self, run_id: str, name: str, source: Path) -> None:
        if source.is_dir():
            self._client.log_artifacts(run_id, str(source), name)
        else:
            self._client.log_artifact(run_id, str(source), name.rpartition("/")[0] or None)

    def _set_status(self, run_id: str, plan: RunPlan) -> None:
        try:
            if plan.end is not None:
                self._client.set_terminated(run_id, plan.status, plan.end)
            elif plan.status is not None:
                self._client.update_run(run_id, status=plan.status)
        except Exception as error:
            if not refused(error):
                raise
            self._note(f"run {run_id}: state {plan.status} was refused: {error}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"
