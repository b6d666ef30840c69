"""What only the study's own run has: a description, params that may change, a winner."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from hpo.trackers.mlflow.plan import MAX_TAG, RunPlan

__all__ = ["WINNER_TAG", "complete_study_run", "log_data", "mark_winner"]

NOTE_TAG = "mlflow.note.content"
OWN_NOTE_TAG = "hpo.note"
"""A digest of the description that hpo has written: one that the user has changed is left alone."""
WINNER_TAG = "winner"
MAX_NAME = 500


def complete_study_run(client: Any, run_id: str, plan: RunPlan) -> dict[str, str]:
    """Add to the tags of a plan what depends on what its run holds, and return the new params.

    Params that have another value there become tags, as MLflow changes none.
    """
    data = client.get_run(run_id).data
    _describe(data.tags, plan)
    for key, value in plan.params_once.items():
        if data.params.get(key, value) != value:
            plan.tags[key] = value
            plan.tags["note"] = (
                "The study went on with other settings or another winner than at first. "
                "MLflow cannot change params: where a tag has a param's name, the tag holds."
            )
    return {key: value for key, value in plan.params_once.items() if key not in data.params}


def _describe(tags: Mapping[str, str], plan: RunPlan) -> None:
    """Add the description to the tags, unless the user has written another one."""
    note = plan.note if len(plan.note) <= MAX_TAG else f"{plan.note[: MAX_TAG - 3]}..."
    current = tags.get(NOTE_TAG, "")
    if note and (not current or _digest(current) == tags.get(OWN_NOTE_TAG)):
        plan.tags |= {NOTE_TAG: note, OWN_NOTE_TAG: _digest(note)}


def log_data(client: Any, run_id: str, data: Mapping[str, Any]) -> None:
    """Log the data of a study as an input of its run; once more has no effect."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    shape = list(data["shape"]) or [data["n_samples"]]
    schema: dict[str, Any] = {}
    if data["columns"]:
        columns = [{"type": "any", "name": name, "required": True} for name in data["columns"]]
        schema = {"mlflow_colspec": columns}
    profile = {"num_rows": data["n_samples"], "shape": shape}
    if "n_test" in data:
        profile["num_rows_test"] = data["n_test"]
    dataset = Dataset(
        name=str(data["name"])[:MAX_NAME],
        digest=str(data["digest"]) or "unknown",
        source_type="code",
        source=json.dumps({"tags": {"source": data["source"]} if data["source"] else {}}),
        schema=json.dumps(schema) if schema else None,
        profile=json.dumps(profile),
    )
    context = [InputTag("mlflow.data.context", "training")]
    client.log_inputs(run_id, [DatasetInput(dataset, context)])


def mark_winner(client: Any, winner: str, tagged: Iterable[Any]) -> None:
    """Tag the run of the winner, and no other.

    Parameters
    ----------
    client : MlflowClient
    winner : str
        Id of its run.
    tagged : iterable of Run
        Those that have the tag.
    """
    others = {run.info.run_id for run in tagged}
    for run_id in others - {winner}:
        client.delete_tag(run_id, WINNER_TAG)
    if winner not in others:
        client.set_tag(winner, WINNER_TAG, "yes")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
