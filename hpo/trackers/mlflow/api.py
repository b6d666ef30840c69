"""The parts of MLflow that are used, and the search for a study in it."""

import gc
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.trackers.mlflow.transaction import one_transaction
from hpo.trackers.mlflow.uri import store_home

__all__ = ["KEY_TAG", "KIND_TAG", "MlflowApi", "connect", "find_parent", "quoted", "refused"]

KEY_TAG = "hpo.study_key"
KIND_TAG = "hpo.kind"
DATABASES = {"mssql", "mysql", "postgresql", "sqlite"}
REFUSALS = {
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "MALFORMED_REQUEST",
}


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


def connect(tracking_uri: str) -> MlflowApi:
    """Return the MLflow client of ``tracking_uri``; only in a process of its own."""
    home = store_home(tracking_uri)
    if home is not None:
        home.mkdir(parents=True, exist_ok=True)
        # MLflow puts the artifacts of an SQLite store into the current folder.
        sys.path[:] = [str(Path(entry).absolute()) for entry in sys.path]
        os.chdir(home)
    _check_database(tracking_uri)
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


def _check_database(tracking_uri: str) -> None:
    """Raise if a database cannot be opened: MLflow itself would try for 100 seconds."""
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError
    from sqlalchemy.pool import NullPool

    try:
        url = make_url(tracking_uri)
    except ArgumentError:  # a folder, or a name of MLflow's
        return
    if url.get_backend_name() in DATABASES:
        create_engine(url, poolclass=NullPool).connect().close()


def quoted(text: str) -> str:
    """Return a text as a filter of MLflow takes it."""
    return f'"{text}"' if "'" in text else f"'{text}'"


def find_parent(client: Any, experiment_id: str, study_key: str) -> str | None:
    """Return the id of a study's run, the first one if a race created several."""
    runs = client.search_runs(
        [experiment_id],
        f"tags.`{KEY_TAG}` = {quoted(study_key)} and tags.`{KIND_TAG}` = 'study'",
        max_results=100,
    )
    first = min(runs, key=lambda run: (run.info.start_time, run.info.run_id), default=None)
    return None if first is None else str(first.info.run_id)
