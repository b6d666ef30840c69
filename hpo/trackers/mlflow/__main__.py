"""The process that looks a study up in MLflow: ``python -m hpo.trackers.mlflow``."""

from hpo.trackers.mlflow.tracker import print_parent

print_parent()
