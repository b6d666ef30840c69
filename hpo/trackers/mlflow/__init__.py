"""MLflow: a tracker that writes every trial as a run."""

from hpo.trackers.mlflow.autologging import without_autologging
from hpo.trackers.mlflow.models import build_model
from hpo.trackers.mlflow.tracker import MlflowTracker, parent_run
from hpo.trackers.mlflow.uri import resolve_tracking_uri, ui_command
from hpo.trackers.mlflow.view import RunIds, study_url, trials_url

__all__ = [
    "MlflowTracker",
    "RunIds",
    "build_model",
    "parent_run",
    "resolve_tracking_uri",
    "study_url",
    "trials_url",
    "ui_command",
    "without_autologging",
]
