"""Where a study is in MLflow's web interface: addresses, and the columns of its table of trials.

MLflow 3 opens an experiment with its pages for language models unless the address says otherwise.
Columns and order of a table are no part of an address; they stand in a *saved view*, which is a tag
of the experiment, and the address names that. A version of MLflow that has no saved views shows
the table as it is.
"""

import json
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from hpo._redaction import redact
from hpo.storage.study_facts import StudyRecord

__all__ = [
    "EXPERIMENT_TAGS",
    "RunIds",
    "filtered_views",
    "saved_view",
    "saved_view_of",
    "study_url",
    "trials_url",
    "view_key",
]

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Tells MLflow that the experiment is about machine learning, not about language models."""

_VIEW = "mlflow.sharedViewState."
_TRAINING = "workflowType=machine_learning"
_ALWAYS = ("attributes.`Run Name`", "runDateAndNestInfo")
"""Columns that each table of MLflow has: the run's name, and when it was made."""
_FIRST = {
    "metrics.`best_score`": 100,
    "tags.`state`": 90,
    "tags.`winner`": 80,
    "tags.`reason`": 200,
}
"""Columns that each study has, with their widths in pixels."""
_MAX_PARAMS = 20
_MAX_TAG = 5000
_ROOM = 200
"""Characters that are kept for a filter."""


class RunIds(NamedTuple):
    """The ids of a study in MLflow.

    Parameters
    ----------
    experiment_id, run_id : str
        The experiment, and the study's own run.
    view : str
        Key of the saved view of its trials; empty if there is none.
    """

    experiment_id: str
    run_id: str
    view: str = ""


def view_key(study_key: str) -> str:
    """Return the key of a study's saved view."""
    return f"hpo-{study_key}"


def saved_view(study: StudyRecord) -> tuple[str, str]:
    """Return the tag of an experiment, key and value, that is the view of a study's trials.

    The table has the best score of each trial first, then its state, why it was stopped, and the
    searched parameters; the best trials come first.
    """
    n_params = min(len(study.searched), _MAX_PARAMS)
    while True:
        params = [f"params.`{name}`" for name in study.searched[:n_params]]
        columns = [*_FIRST, *params]
        state = {
            "orderByKey": "metrics.`best_score`",
            "orderByAsc": False,
            "selectedColumns": columns,
            "columnOrder": [*_ALWAYS, *columns],
            "columnWidths": _FIRST,
        }
        view = {
            "name": f"{study.name}: best trials first"[:100],
            "createdAt": int(study.started * 1000),
            "state": json.dumps(state),
        }
        value = json.dumps(view)
        if len(value) <= _MAX_TAG - _ROOM or n_params == 0:
            return _VIEW + view_key(study.key), value
        n_params -= 1


def filtered_views(views: Mapping[str, str]) -> dict[str, str]:
    """Return the views of several studies of one experiment, each of its own study alone.

    The only study of an experiment needs no filter, which stands in the search field of the page.
    """
    ours = {key: text for key, text in views.items() if key.startswith(f"{_VIEW}hpo-")}
    if len(ours) < 2:
        return ours
    filtered = {}
    for key, text in ours.items():
        try:
            view = json.loads(text)
            state = json.loads(view["state"])
        except (ValueError, KeyError, TypeError):
            continue  # the user has made something else of it
        study_key = key.removeprefix(f"{_VIEW}hpo-")
        state["searchFilter"] = f"tags.`hpo.study_key` = '{study_key}'"
        filtered[key] = json.dumps({**view, "state": json.dumps(state)})
    return filtered


def saved_view_of(tags: Mapping[str, str], study_key: str) -> str:
    """Return the key of a study's saved view among the tags of an experiment, if it is there."""
    key = view_key(study_key)
    return key if _VIEW + key in tags else ""


def trials_url(address: str, ids: RunIds) -> str:
    """Return the web address of the table of a study's trials on the server at ``address``."""
    if ids.view:
        query = f"viewStateShareKey={quote(ids.view)}"
    else:
        query = f"orderByKey={quote('metrics.`best_score`')}&orderByAsc=false"
    return f"{_experiment(address, ids)}/runs?{_TRAINING}&{query}"


def study_url(address: str, ids: RunIds) -> str:
    """Return the web address of a study's own run on the server at ``address``."""
    return f"{_experiment(address, ids)}/runs/{ids.run_id}?{_TRAINING}"


def _experiment(address: str, ids: RunIds) -> str:
    return f"{redact(address).rstrip('/')}/#/experiments/{ids.experiment_id}"
