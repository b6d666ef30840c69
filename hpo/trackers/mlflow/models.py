"""The winner of a study as a model of MLflow: in a folder, with a run, in the registry."""

import json
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.storage.study_facts import MODEL, MODEL_FACTS

__all__ = ["ModelWriter", "build_model"]

NAME = "winner"
"""Name of the model in MLflow: ``runs:/RUN_ID/winner``."""

_MARK_TAG = "hpo.model"
_SCORES = {"best_score", "corrected_score", "test_score"}
_LOADER = Path(__file__).with_name("hpo_model.py")
_DATA = "hpo"


def build_model(files: Mapping[str, Path], target: Path, **about: Any) -> None:
    """Write a folder that `mlflow.pyfunc.load_model` reads; nothing is unpickled for it.

    The estimator is pickled by cloudpickle, for which MLflow's scikit-learn flavor stands too
    (`mlflow.sklearn.load_model` returns the estimator). As a pyfunc it is loaded by a module that
    travels along, because that flavor hands a frame, or float64, to nets that take neither.

    Parameters
    ----------
    files : mapping of str to Path
        See `model_files`.
    target : Path
        The folder; it must not exist.
    about : dict
        Further arguments of `mlflow.models.Model`.
    """
    os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")  # it would copy the user's project
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow about its own types, and about integers
        _build(files, target, about)


def _build(files: Mapping[str, Path], target: Path, about: Mapping[str, Any]) -> None:
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature

    facts = json.loads(files[MODEL_FACTS].read_text(encoding="utf-8"))
    versions = dict(each.split("==") for each in facts["requirements"])
    model = Model(**about, metadata={"hpo.trial": str(facts["trial"])})
    if "scikit-learn" in versions:
        model.add_flavor(
            "sklearn",
            pickled_model=f"data/{_DATA}/{MODEL}",
            sklearn_version=versions["scikit-learn"],
            serialization_format="cloudpickle",
            code="code",
        )
    signature = facts["signature"]
    if signature is not None:
        texts = {name: json.dumps(part) for name, part in signature.items()}
        signature = ModelSignature.from_dict(texts)
    with tempfile.TemporaryDirectory(prefix="hpo-model-", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / _DATA
        for name, path in files.items():
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, data / name)
        pyfunc.save_model(
            str(target),
            loader_module=_LOADER.stem,
            data_path=str(data),
            code_paths=[str(_LOADER)],
            mlflow_model=model,
            signature=signature,
            input_example=_example(facts["example"]),
            pip_requirements=facts["requirements"],
        )


def _example(example: Any) -> Any:
    import numpy as np
    import pandas as pd

    if example is None:
        return None
    if example["kind"] == "mapping":
        return {name: np.asarray(values) for name, values in example["values"].items()}
    if example["kind"] == "array":
        return np.asarray(example["data"], dtype=example["dtype"])
    frame = pd.DataFrame(example["data"], columns=example["columns"])
    if example["columns"] is None:
        return frame.astype("float64")
    for name, type_ in zip(example["columns"], example["types"], strict=True):
        if type_ == "double":
            frame[name] = frame[name].astype("float64")
        if type_ == "datetime":
            frame[name] = pd.to_datetime(frame[name])
    return frame


class ModelWriter:
    """Writes the model of a study to MLflow; writing it twice has the same effect as once.

    Parameters
    ----------
    client : MlflowClient
    experiment_id, run_id : str
        The study's own run.
    register : str or None
        Name in the model registry; None registers nothing.
    """

    def __init__(self, client: Any, experiment_id: str, run_id: str, register: str | None) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._run_id = run_id
        self._register = register

    def write(
        self,
        files: Mapping[str, Path],
        params: Mapping[str, str],
        metrics: Sequence[tuple[str, float, int, int]],
    ) -> None:
        """Write the model with its parameters and metrics, and register it if that is asked for.

        Raises
        ------
        Exception
            Whatever MLflow raises; what has been begun is begun anew by the next call.
        """
        facts = json.loads(files[MODEL_FACTS].read_text(encoding="utf-8"))
        mark = f"{facts['trial']} {facts['sha256'][:16]}"
        model_id = self._find(mark)
        if model_id is None:
            model_id = self._log(files, mark, facts["trial"], params)
        self._measure(model_id, metrics)
        if self._register:
            self._add_version(self._register, model_id, mark, facts["trial"])

    def _find(self, mark: str) -> str | None:
        """Return the model that is there, and remove what a killed writer has left of it."""
        found = self._client.search_logged_models(
            [self._experiment_id], filter_string=f"source_run_id = '{self._run_id}'"
        )
        same = [model for model in found if model.tags.get(_MARK_TAG) == mark]
        ready = [
            model for model in same if str(model.status) in {"READY", "LoggedModelStatus.READY"}
        ]
        for model in same:
            if model not in ready[:1]:
                self._client.delete_logged_model(model.model_id)
        return str(ready[0].model_id) if ready else None

    def _log(
        self, files: Mapping[str, Path], mark: str, trial: int, params: Mapping[str, str]
    ) -> str:
        from mlflow.entities import LoggedModelOutput

        client = self._client
        model = client.create_logged_model(
            self._experiment_id,
            name=NAME,
            source_run_id=self._run_id,
            tags={_MARK_TAG: mark, "best_trial": str(trial)},
            params={key: value[:250] for key, value in params.items()},
        )
        about = {"model_id": model.model_id, "run_id": self._run_id, "artifact_path": NAME}
        with tempfile.TemporaryDirectory(prefix="hpo-model-", ignore_cleanup_errors=True) as folder:
            target = Path(folder) / "model"
            build_model(files, target, **about)
            client.log_model_artifacts(model.model_id, str(target))
        client.finalize_logged_model(model.model_id, "READY")
        client.log_outputs(self._run_id, [LoggedModelOutput(model.model_id, 0)])
        return str(model.model_id)

    def _measure(self, model_id: str, metrics: Sequence[tuple[str, float, int, int]]) -> None:
        """Show scores of the study beside its model."""
        from mlflow.entities import Metric

        # The same score at another time, that of the last run, would look like another model's.
        known = self._client.get_logged_model(model_id).metrics or ()
        there = {(metric.key, metric.value, metric.step) for metric in known}
        of_model = [
            Metric(key, value, timestamp, step, model_id=model_id, run_id=self._run_id)
            for key, value, timestamp, step in metrics
            if key in _SCORES and math.isfinite(value) and (key, value, step) not in there
        ]
        if of_model:
            self._client.log_batch(self._run_id, metrics=of_model)

    def _add_version(self, name: str, model_id: str, mark: str, trial: int) -> None:
        client = self._client
        if not client.search_registered_models(filter_string=f"name = '{name}'"):
            client.create_registered_model(name)
        versions = client.search_model_versions(f"name = '{name}'")
        if any(version.tags.get(_MARK_TAG) == f"{mark} {model_id}" for version in versions):
            return
        client.create_model_version(
            name,
            source=f"models:/{model_id}",
            run_id=self._run_id,
            model_id=model_id,
            tags={_MARK_TAG: f"{mark} {model_id}", "best_trial": str(trial)},
            await_creation_for=0,
        )
