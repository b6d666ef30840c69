"""The experiment of a study in MLflow: one for all studies of a name."""

import logging
import re
from typing import Any

from hpo.storage.study_facts import StudyRecord
from hpo.trackers.mlflow.api import find_parent
from hpo.trackers.mlflow.view import EXPERIMENT_TAGS, filtered_views, saved_view

__all__ = ["open_experiment"]

_AFRESH = re.compile(r"@\d+$")
"""End of the name of a study that was started afresh beside older ones."""

log = logging.getLogger(__name__)


def open_experiment(client: Any, study: StudyRecord) -> str:
    """Return the id of the experiment of a study, which is made or restored if need be.

    A study that was started afresh (``digits@2``) is in the experiment of the first one, unless a
    version of hpo before has given it one of its own.
    """
    name = _AFRESH.sub("", study.name) or study.name
    experiment = client.get_experiment_by_name(study.name)
    if name != study.name and not (
        experiment is not None and find_parent(client, experiment.experiment_id, study.key)
    ):
        experiment = client.get_experiment_by_name(name)
    if experiment is None:
        experiment = _create(client, name)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    experiment_id = str(experiment.experiment_id)
    _describe(client, experiment_id, experiment.tags, study)
    return experiment_id


def _create(client: Any, name: str) -> Any:
    try:
        return client.get_experiment(client.create_experiment(name))
    except Exception:
        # Another follower may have been faster.
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return experiment


def _describe(client: Any, experiment_id: str, tags: dict[str, str], study: StudyRecord) -> None:
    """Set what MLflow's pages go by; without it they are still right."""
    key, view = saved_view(study)
    views = filtered_views({**tags, key: view})
    for name, value in {**EXPERIMENT_TAGS, **views}.items():
        if tags.get(name) == value or (name in tags and name in EXPERIMENT_TAGS):
            continue  # the user may have chosen another kind
        try:
            client.set_experiment_tag(experiment_id, name, value)
        except Exception:
            log.warning("the tag %s of the experiment could not be set", name, exc_info=True)
