"""MLflow: a tracker that writes every trial as a run, without ever waiting for it."""

from hpo.trackers.mlflow.tracker import (
    MlflowTracker,
    RunIds,
    Sent,
    main,
    parent_run,
    resolve_tracking_uri,
    send_pending,
    study_url,
    ui_command,
)

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
