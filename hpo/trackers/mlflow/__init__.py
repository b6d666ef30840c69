"""MLflow: a tracker that writes every trial as a run."""

from hpo.trackers.mlflow.tracker import MlflowTracker, RunIds, parent_run, study_url
from hpo.trackers.mlflow.uri import resolve_tracking_uri, ui_command

__all__ = [
    "MlflowTracker",
    "RunIds",
    "parent_run",
    "resolve_tracking_uri",
    "study_url",
    "ui_command",
]
