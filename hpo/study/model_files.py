"""The winner as files that become a model of MLflow: pickled, with what another process must know.

``model.pkl`` is the fitted estimator, and ``model.json`` tells of it: the trial, the signature in
MLflow's form, a few rows, the packages that it needs. MLflow is not loaded for them, and nobody has
to load the estimator in order to make a model of them.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from hpo.storage.study_facts import MODEL, MODEL_FACTS
from hpo.study._model_pickle import pickled_by_value, requirements_of
from hpo.training.refit import save_artifacts

__all__ = ["N_ROWS", "write_model"]

N_ROWS = 5
"""Rows of the example of a model."""
_MOST_COLUMNS = 4096
_METHOD = {"name": "predict_method", "type": "string", "default": "predict", "shape": None}


def write_model(estimator: Any, rows: Any, number: int | None, folder: Path) -> dict[str, Path]:
    """Write the model's files, and return their paths by name.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    rows : rows of X, or None
        A few of those that it was trained on: the example of the model.
    number : int
        The trial that it is the refit of.
    folder : Path
    """
    content, modules, missing = pickled_by_value(estimator)
    (folder / MODEL).write_bytes(content)
    own = folder / "own"
    own.mkdir()
    saved = {f"{file.relative_to(own)}": file for file in save_artifacts(estimator, own)}
    facts = {
        "trial": number,
        "sha256": hashlib.sha256(content).hexdigest(),
        "files": sorted(saved),
        "requirements": requirements_of(modules),
        "missing_modules": missing,
        **_described(estimator, rows),
    }
    (folder / MODEL_FACTS).write_text(json.dumps(facts), encoding="utf-8")
    return {MODEL: folder / MODEL, MODEL_FACTS: folder / MODEL_FACTS, **saved}


def _described(estimator: Any, rows: Any) -> dict[str, Any]:
    """Return what rows the estimator takes and what it returns, with an example."""
    parts = _input_of(rows)
    if parts is None:
        return {"input": {"kind": "other"}, "signature": None, "example": None}
    kind, schema, example = parts
    with suppress(Exception):  # the estimator's own code
        outputs = _schema_of_outputs(np.asarray(estimator.predict(rows)))
        signature = {"inputs": schema, "outputs": outputs, "params": [_METHOD]}
        return {"input": kind, "signature": signature, "example": example}
    return {"input": kind, "signature": {"inputs": schema, "params": [_METHOD]}, "example": example}


def _input_of(rows: Any) -> tuple[dict[str, Any], Any, Any] | None:
    """Return the kind of rows, their schema in MLflow's form, and an example; None if unknown."""
    if hasattr(rows, "columns") and hasattr(rows, "iloc"):
        return _frame(rows)
    if isinstance(rows, Mapping):
        arrays = {str(name): _array(value) for name, value in rows.items()}
        if not arrays or any(array is None for array in arrays.values()):
            return None
        kind = {"kind": "mapping", "parts": {n: _kind(a) for n, a in arrays.items()}}
        schema = [{"name": name, **_tensor(array)} for name, array in arrays.items()]
        values = {name: array.tolist() for name, array in arrays.items() if array is not None}
        return kind, schema, {"kind": "mapping", "values": values}
    array = _array(rows)
    if array is None:
        return None
    kind = {"kind": "array", **_kind(array)}
    if array.ndim == 2 and array.dtype.kind == "f" and array.shape[1] <= _MOST_COLUMNS:
        # Columns of doubles take frames and all types of floats; a tensor takes one type alone.
        columns = [{"type": "double", "required": True}] * array.shape[1]
        return kind, columns, {"kind": "frame", "columns": None, "data": _plain(array)}
    example = {"kind": "array", "dtype": str(array.dtype), "data": _plain(array)}
    return kind, [_tensor(array)], example


def _array(rows: Any) -> Any:
    """Return rows as an array of numbers, or None if they are none."""
    if hasattr(rows, "detach"):  # a torch tensor; NumPy has no bfloat16
        rows = rows.detach().cpu()
        rows = (rows.float() if str(rows.dtype) == "torch.bfloat16" else rows).numpy()
    try:
        array = np.asarray(rows)
    except (TypeError, ValueError):
        return None
    return array if array.dtype.kind in "fiub" and array.ndim else None


def _kind(array: Any) -> dict[str, str]:
    return {"dtype": str(array.dtype)}


def _tensor(array: Any) -> dict[str, Any]:
    shape = [-1, *array.shape[1:]]
    return {"type": "tensor", "tensor-spec": {"dtype": str(array.dtype), "shape": shape}}


def _frame(rows: Any) -> tuple[dict[str, Any], Any, Any] | None:
    """Describe a frame; its columns must have names."""
    names = [str(name) for name in rows.columns]
    if len(set(names)) < len(names) or names != list(rows.columns):
        return None
    types = [_column_type(rows[name].dtype) for name in names]
    if any(type_ is None for type_ in types):
        return None
    schema = [
        {"name": name, "type": type_, "required": True}
        for name, type_ in zip(names, types, strict=True)
    ]
    categories = {
        name: (rows[name].cat.categories.tolist(), bool(rows[name].cat.ordered))
        for name in names
        if str(rows[name].dtype) == "category"
    }
    floats = {
        name: str(rows[name].dtype)
        for name in names
        if getattr(rows[name].dtype, "kind", "") == "f" and str(rows[name].dtype) != "float64"
    }
    plain = [rows[name].astype(object).where(rows[name].notna(), None).tolist() for name in names]
    data = [[_plain_value(value) for value in row] for row in zip(*plain, strict=True)]
    example = {"kind": "frame", "columns": names, "types": types, "data": data}
    return {"kind": "frame", "categories": categories, "floats": floats}, schema, example


def _column_type(dtype: Any) -> str | None:
    """Return MLflow's word for the type of a column, or None if it has none."""
    if str(dtype) == "category":
        inner = _column_type(dtype.categories.dtype)
        return inner if inner in {"string", "long", "double"} else None
    # The widest of a kind takes the others; the model casts floats back.
    return {
        "b": "boolean",
        "i": "long",
        "u": "long",
        "f": "double",
        "O": "string",
        "U": "string",
        "T": "string",
        "M": "datetime",
    }.get(getattr(dtype, "kind", "O"))


def _schema_of_outputs(predictions: Any) -> Any:
    if predictions.dtype.kind in "fiub":
        return [_tensor(predictions)]
    return [{"type": "string", "required": True}]


def _plain(array: Any) -> Any:
    return [_plain(each) if getattr(each, "ndim", 0) else _plain_value(each) for each in array]


def _plain_value(value: Any) -> Any:
    """Return a value as JSON has it; None stands for nan and what is missing."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
