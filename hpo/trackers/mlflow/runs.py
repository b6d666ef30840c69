"""Write plans to MLflow through its client; writing them twice has the same effect as once."""

import getpass
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from hpo.storage.study_facts import MODEL
from hpo.trackers.base import WHOLE
from hpo.trackers.mlflow.api import KEY_TAG, KIND_TAG, MlflowApi, find_parent, quoted, refused
from hpo.trackers.mlflow.models import ModelWriter
from hpo.trackers.mlflow.plan import PROGRESS_TAG, RunPlan
from hpo.trackers.mlflow.study_run import (
    WINNER_TAG,
    complete_study_run,
    log_data,
    mark_winner,
)
from hpo.trackers.mlflow.view import RunIds, study_url, trials_url, view_key

__all__ = ["RunWriter"]

MARK_TAG = "hpo.written"
PARENT_TAG = "mlflow.parentRunId"

LIMITS = {"metrics": 1000, "params": 100, "tags": 100}
ARTIFACT_ATTEMPTS = 3
SETTLE_SECONDS = 0.3
TRANSACTION_SECONDS = 0.2
"""Seconds after which a transaction ends, so that others can write to the store."""

log = logging.getLogger(__name__)


def _is_small(plan: RunPlan) -> bool:
    """Return whether a plan is that of a trial, small, and only written to the database."""
    is_trial = plan.number is not None
    return is_trial and not plan.texts and not plan.files and len(plan.metrics) <= LIMITS["metrics"]


class RunWriter:
    """Writes the runs of one study.

    Parameters
    ----------
    api : MlflowApi
    experiment_id : str
    name, study_key : str
        Name and key of the study.
    start : int
        Start of the study, for a new run: milliseconds since the epoch.
    note : callable
        Called with a text for everything that the store rejected for good.
    failures : dict of str to int
        Counts the failed attempts to store each artifact.
    shared : bool
        Whether a process on another machine may write runs of this study.
    register : str or None
        Name under which the winner's model is registered; None registers nothing.
    """

    def __init__(
        self,
        api: MlflowApi,
        experiment_id: str,
        name: str,
        study_key: str,
        start: int,
        *,
        note: Callable[[str], None],
        failures: dict[str, int],
        shared: bool = False,
        register: str | None = None,
    ) -> None:
        self._register = register
        self._api = api
        self._client = api.client
        self._together = api.together
        self._name = name
        self._key = study_key
        self._note = note
        self._shared = shared
        self._common = {KEY_TAG: study_key, "mlflow.user": _user()}
        self._failures = failures
        self.experiment_id = experiment_id
        self.parent_id = self._open_parent(start)
        self._common[PARENT_TAG] = self.parent_id
        self.marks: dict[int, str] = {}
        """The mark of each trial that has a run."""
        self._runs = self._existing_trials()

    @property
    def ids(self) -> RunIds:
        """The ids of the study in MLflow."""
        return RunIds(self.experiment_id, self.parent_id, view_key(self._key))

    @property
    def study_mark(self) -> str:
        """The mark of the study's own run."""
        return str(self._client.get_run(self.parent_id).data.tags.get(MARK_TAG, ""))

    @property
    def n_progress(self) -> int:
        """How many entries of the study's course its run has."""
        text = str(self._client.get_run(self.parent_id).data.tags.get(PROGRESS_TAG, ""))
        return int(text) if text.isdigit() else 0

    @property
    def trials_url(self) -> str:
        """The address of the table of trials, as a page of MLflow's own names it."""
        return trials_url("", self.ids).lstrip("/")

    def trial_url(self, number: int) -> str:
        """Return the address of a trial's run, as MLflow's own pages name it; empty if none."""
        run_id = self._runs.get(number)
        return (
            "" if run_id is None else study_url("", RunIds(self.experiment_id, run_id)).lstrip("/")
        )

    def write_progress(self, plan: RunPlan) -> None:
        """Write the course of the study to its run."""
        self._log(self.parent_id, self._entities(plan, plan.params, plan.tags))

    def write_metrics(self, metrics: Sequence[tuple[str, float, int, int]]) -> None:
        """Write further metrics to the study's run."""
        if metrics:
            entities = [self._api.metric(*metric) for metric in metrics]
            self._client.log_batch(self.parent_id, metrics=entities)

    def write_all(self, plans: Sequence[RunPlan]) -> None:
        """Write plans in order, many in one transaction if the store supports it.

        Exceptions are those of `write`.
        """
        done = 0
        while done < len(plans):
            n_written = self._write_together(plans[done:])
            if n_written == 0:
                self.write(plans[done])
            done += n_written or 1

    def write(self, plan: RunPlan) -> None:
        """Write a plan; its tags are written last.

        Raises
        ------
        Exception
            Whatever MLflow raises if the store cannot be reached; retry later with a new writer.
        """
        run_id = self._get_or_create_run(plan)
        params = dict(plan.params)
        if plan.number is None:
            params |= complete_study_run(self._client, run_id, plan)
        for name, text in plan.texts.items():
            self._write_artifact(name, partial(self._client.log_text, run_id, text, name))
        for name, path in plan.files.items():
            self._write_artifact(name, partial(self._upload, run_id, name, path))
        if plan.data:
            self._write_artifact("the data", partial(log_data, self._client, run_id, plan.data))
        if plan.model:
            self._write_model(run_id, plan)
        self._set_status(run_id, plan)
        if plan.winner in self._runs:
            tagged = self._search(f" and tags.{WINNER_TAG} != ''")
            mark_winner(self._client, self._runs[plan.winner], tagged)
        common = {} if plan.number is None else self._common
        tags = {**common, **plan.tags, MARK_TAG: plan.mark}
        self._log(run_id, self._entities(plan, params, tags))

    def _entities(
        self, plan: RunPlan, params: Mapping[str, str], tags: Mapping[str, str]
    ) -> dict[str, Sequence[Any]]:
        return {
            "metrics": [self._api.metric(*metric) for metric in plan.metrics],
            "params": [self._api.param(*item) for item in params.items()],
            "tags": [self._api.tag(*item) for item in tags.items()],
        }

    def _write_together(self, plans: Sequence[RunPlan]) -> int:
        """Write the first plans in one transaction; return how many were written."""
        # If others write runs of the study, each must exist before the next is searched.
        if self._together is None or not _is_small(plans[0]) or self._shared:
            return 0
        previous_runs = dict(self._runs)
        deadline = time.monotonic() + TRANSACTION_SECONDS
        n_written = 0
        try:
            with self._together():
                for plan in takewhile(_is_small, plans):
                    self.write(plan)
                    n_written += 1
                    if time.monotonic() > deadline:
                        break
        except Exception:
            log.warning("a transaction failed: from now on each run has its own", exc_info=True)
            self._runs = previous_runs
            self._together = None
            return 0
        return n_written

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
        # A follower on another machine may be doing the same: all use the first run.
        time.sleep(SETTLE_SECONDS)
        first = find_parent(self._client, self.experiment_id, self._key) or created
        if first != created:
            self._client.delete_run(created)
        return str(first)

    def _existing_trials(self) -> dict[int, str]:
        """Return the runs of the trials, and take their marks."""
        runs: dict[int, list[Any]] = {}
        token = None
        while True:
            page = self._search("", token)
            for run in page:
                number = run.data.tags.get("number", "")
                if number.isdigit():
                    runs.setdefault(int(number), []).append(run)
            token = page.token
            if not token:
                break
        firsts = {number: self._keep_first(same) for number, same in runs.items()}
        for number, run in firsts.items():
            tags = run.data.tags
            mark = tags.get(MARK_TAG, "")
            if MARK_TAG not in tags and tags.get("state") != "running":
                mark = WHOLE  # written by a version of hpo that did not mark its runs
            if tags.get(PARENT_TAG) == self.parent_id:  # else the study's run was deleted
                self.marks[number] = mark
        return {number: run.info.run_id for number, run in firsts.items()}

    def _search(self, more: str, token: str | None = None) -> Any:
        where = f"tags.`{KEY_TAG}` = {quoted(self._key)}{more}"
        return self._client.search_runs(
            [self.experiment_id], where, max_results=1000, page_token=token
        )

    def _keep_first(self, runs: Sequence[Any]) -> Any:
        """Return the first of several runs of one trial, which a race has made; delete the rest."""
        first = min(runs, key=lambda run: run.info.run_id)
        for run in runs:
            if run is not first:
                self._client.delete_run(run.info.run_id)
        return first

    def _get_or_create_run(self, plan: RunPlan) -> str:
        """Return the run of a plan."""
        if plan.number is None:
            return self.parent_id
        if plan.number not in self._runs:
            same = f" and tags.number = '{plan.number}'"
            existing = self._search(same) if self._shared else []
            if not existing:
                run = self._create_run(plan)
                # A follower on another machine may have done the same.
                existing = (self._search(same) if self._shared else []) or [run]
            self._runs[plan.number] = self._keep_first(existing).info.run_id
        return self._runs[plan.number]

    def _create_run(self, plan: RunPlan) -> Any:
        return self._client.create_run(
            self.experiment_id,
            start_time=plan.start,
            tags={"number": str(plan.number), "state": "running", MARK_TAG: "", **self._common},
            run_name=f"trial {plan.number}",
        )

    def _log(self, run_id: str, entities: Mapping[str, Sequence[Any]]) -> None:
        """Write everything in as few requests as the limits of MLflow allow, the last tag last."""
        counts = {kind: -(-len(entities[kind]) // limit) for kind, limit in LIMITS.items()}
        n_batches = max(counts.values())
        for i in range(n_batches):
            batch = []
            for kind, limit in LIMITS.items():
                start = (i - n_batches + counts[kind]) * limit
                batch += [(kind, item) for item in entities[kind][max(start, 0) : start + limit]]
            self._log_batch(run_id, batch)

    def _log_batch(self, run_id: str, batch: Sequence[tuple[str, Any]]) -> None:
        """Write a batch; split a rejected one in halves until the invalid entity is found."""
        pieces = {kind: [entity for k, entity in batch if k == kind] for kind in LIMITS}
        try:
            self._client.log_batch(run_id, **pieces)
        except Exception as error:
            if not refused(error):
                raise
            if self._is_deleted(run_id):
                raise  # a new writer makes a new run
            if len(batch) == 1:
                self._note(f"run {run_id}: {dict(batch[0][1])} was refused: {error}")
                return
            middle = len(batch) // 2
            self._log_batch(run_id, batch[:middle])
            self._log_batch(run_id, batch[middle:])

    def _is_deleted(self, run_id: str) -> bool:
        """Return whether a run has been deleted meanwhile, and rejects everything."""
        return bool(self._client.get_run(run_id).info.lifecycle_stage == "deleted")

    def _write_model(self, run_id: str, plan: RunPlan) -> None:
        """Write the winner as a model; where that keeps failing, its pickle as an artifact."""
        models = ModelWriter(self._client, self.experiment_id, run_id, self._register)
        write = partial(models.write, plan.model, plan.model_params, plan.metrics)
        if not self._write_artifact("the model", write):
            pickled = partial(self._upload, run_id, MODEL, plan.model[MODEL])
            self._write_artifact(MODEL, pickled)

    def _write_artifact(self, name: str, write: Callable[[], object]) -> bool:
        """Write an artifact; one that keeps failing is left out so that others can be written.

        Returns
        -------
        bool
            Whether it was written.
        """
        try:
            write()
            return True
        except Exception as error:
            self._failures[name] = self._failures.get(name, 0) + 1
            if self._failures[name] < ARTIFACT_ATTEMPTS and not refused(error):
                raise
            log.exception("artifact %s", name)
            self._note(f"artifact '{name}' could not be stored: {error}")
            return False

    def _upload(self, run_id: str, name: str, source: Path) -> None:
        if source.is_dir():
            self._client.log_artifacts(run_id, str(source), name)
        else:
            self._client.log_artifact(run_id, str(source), name.rpartition("/")[0] or None)

    def _set_status(self, run_id: str, plan: RunPlan) -> None:
        try:
            if plan.end is not None:
                self._client.set_terminated(run_id, plan.status, plan.end)
            elif plan.number is None:
                self._client.update_run(run_id, status=plan.status)
        except Exception as error:
            if not refused(error) or self._is_deleted(run_id):
                raise
            self._note(f"run {run_id}: state {plan.status} was refused: {error}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"
