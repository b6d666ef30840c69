"""Loads the winner of a study as a model of MLflow; it travels with the model, without hpo."""

import json
import pickle
from pathlib import Path
from typing import Any

__all__ = ["StudyModel"]

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform")


def _load_pyfunc(path: str) -> "StudyModel":
    """Return the model in a folder, as MLflow calls it."""
    return StudyModel(Path(path))


class StudyModel:
    """A fitted estimator that takes what MLflow hands on: frames, and arrays of any float type.

    Parameters
    ----------
    folder : Path
        It holds ``model.pkl`` and ``model.json``.
    """

    def __init__(self, folder: Path) -> None:
        self._input = json.loads((folder / "model.json").read_text(encoding="utf-8"))["input"]
        with (folder / "model.pkl").open("rb") as file:
            self.estimator = pickle.load(file)

    def get_raw_model(self) -> Any:
        """Return the estimator."""
        return self.estimator

    def predict(self, data: Any, params: Any = None) -> Any:
        """Return the predictions for a frame or an array.

        Parameters
        ----------
        data : frame, array or mapping of str to array
            Rows like those that the estimator was trained on.
        params : mapping of str to str or None
            ``predict_method`` names another method of the estimator: ``predict_proba``.

        Raises
        ------
        ValueError
            If there is no such method.
        """
        method = (params or {}).get("predict_method", "predict")
        if method not in METHODS or not hasattr(self.estimator, method):
            available = [name for name in METHODS if hasattr(self.estimator, name)]
            raise ValueError(f"predict_method must be one of {available}. Got {method!r} instead.")
        return getattr(self.estimator, method)(self._as_trained(data))

    def _as_trained(self, data: Any) -> Any:
        """Return rows as the estimator was trained on them: an array of its type, or a frame."""
        kind = self._input["kind"]
        if kind == "frame":
            return self._with_types(data)
        if kind == "array":
            return _cast(data.to_numpy() if hasattr(data, "to_numpy") else data, self._input)
        if kind == "mapping":
            parts = self._input["parts"]
            return {name: _cast(data[name], part) for name, part in parts.items()}
        return data

    def _with_types(self, frame: Any) -> Any:
        """Return a frame with the categories and the types of floats of the training."""
        if not hasattr(frame, "columns"):
            return frame
        from pandas import CategoricalDtype

        categories = self._input["categories"].items()
        types = {name: CategoricalDtype(values, ordered) for name, (values, ordered) in categories}
        return frame.astype({**types, **self._input["floats"]})


def _cast(data: Any, part: Any) -> Any:
    """Return an array, its floats as in the training; integers stay as they are."""
    import numpy as np

    array = np.asarray(data)
    trained = np.dtype(part["dtype"])
    if array.dtype == trained or trained.kind not in "fc":
        return array
    return array.astype(trained)
