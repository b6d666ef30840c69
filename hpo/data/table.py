"""Load a table or arrays of the user."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpo._discovery import did_you_mean
from hpo.data._base import StudyData
from hpo.data._npz import npz_names, read_npz
from hpo.data._partition import seal_part
from hpo.exceptions import DataError

__all__ = ["load_npz", "load_table"]

TASKS = ("classification", "regression")
MAX_CLASSES = 20
"""Maximum number of distinct integers of a target that is treated as classes."""
PARTS = (("X", "y", "X_test", "y_test"), ("x_train", "y_train", "x_test", "y_test"))


def load_table(
    table: Any,
    target: str,
    *,
    test_size: float = 0.2,
    seed: int = 0,
    task: str | None = None,
    categorical: Sequence[str] = (),
    drop: Sequence[str] = (),
) -> StudyData:
    """Return a table, with one of its columns as the target.

    It does not scale numbers or encode categories: `TableEncoder`, as the first step of a
    Pipeline, is fitted on the training part of each fold.

    Parameters
    ----------
    table : path or data frame
        A Parquet file (``.parquet``, ``.pq``), or a text file with names in its first line and
        commas between values (tabs for ``.tsv``), which may be compressed.
    target : str
        Name of the column to predict.
    test_size : float, default=0.2
        Share of the rows that is held out, between 0 and 1 exclusive, drawn at random, stratified
        by class.
    seed : int, default=0
        Seed of the choice of these rows.
    task : {"classification", "regression"}, optional
        If None, it depends on the target: numbers mean a regression, unless they are at most 20
        distinct integers; all other types mean classes.
    categorical : sequence of str, default=()
        Columns of numbers that are categories. Columns of strings, booleans and pandas'
        categorical type always are categories.
    drop : sequence of str, default=()
        Columns to leave out.

    Returns
    -------
    StudyData
        ``X`` is a data frame whose columns are float32 or categories. ``y`` is int64 of shape
        (n_samples,), indices in ``class_names``, or float32 of shape (n_samples, 1), as expected
        by skorch's regressors.

    Raises
    ------
    DataError
        If the file cannot be read, a column is missing or has dates, a target is missing,
        or an argument is out of range.
    ImportError
        If pandas needs a package to read the file (Parquet: pyarrow).
    """
    if task is not None and task not in TASKS:
        hint = did_you_mean(task, TASKS) or "."
        raise DataError(f"task must be one of: {', '.join(TASKS)}. Got '{task}' instead{hint}")
    frame, label = _read(table)
    for name in (target, *categorical, *drop):
        if name not in frame.columns:
            hint = did_you_mean(name, map(str, frame.columns)) or "."
            raise DataError(
                f"{label} has no column '{name}'{hint} It has: "
                f"{', '.join(map(str, frame.columns))}."
            )
    if n_missing := int(frame[target].isna().sum()):
        raise DataError(
            f"The target '{target}' is missing in {n_missing} of the {len(frame)} rows of "
            f"{label}. Remove these rows, or fill them."
        )
    X = _features(frame.drop(columns=[target, *drop]), categorical, label)
    return _hold_out(X, frame[target].to_numpy(), task, test_size, seed)


def load_npz(
    path: str | Path,
    *,
    test_size: float = 0.2,
    seed: int = 0,
    task: str | None = None,
    scale: float | None = None,
) -> StudyData:
    """Return the arrays of an ``.npz`` file (`numpy.savez`).

    Parameters
    ----------
    path : path
        File with ``X`` and ``y``, optionally with ``X_test`` and ``y_test``, which are then held
        out; or with ``x_train``, ``y_train``, ``x_test`` and ``y_test``.
    test_size, seed
        As in `load_table`, for files without a test part.
    task : {"classification", "regression"}, optional
        As in `load_table`.
    scale : float, optional
        Divisor of ``X`` (255 for images of bytes); the result is float32.

    Returns
    -------
    StudyData
        ``X`` has the shape of the file, and is float32 if it was floating point, else of the same
        type; ``y`` as from `load_table`.

    Raises
    ------
    DataError
        If the file cannot be read, lacks an array, or an argument is out of range.
    """
    file = Path(path).expanduser()
    available = npz_names(file)
    names = next((names for names in PARTS if names[0] in available), PARTS[0])
    held_out = names[2] in available
    arrays = list(read_npz(file, *(names if held_out else names[:2])))
    for i, X in enumerate(arrays[::2]):
        if scale is not None:
            arrays[2 * i] = X.astype(np.float32) / np.float32(scale)
        elif X.dtype.kind == "f":
            arrays[2 * i] = X.astype(np.float32)
    if not held_out:
        return _hold_out(arrays[0], arrays[1], task, test_size, seed)
    X, y, X_test, y_test = arrays
    targets, fields = _target(np.concatenate([y, y_test]), task)
    return StudyData(X=X, y=targets[: len(y)], X_test=X_test, y_test=targets[len(y) :], **fields)


def _read(table: Any) -> tuple[Any, str]:
    """Return a data frame, and its name for messages."""
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        return table, "The table"
    file = Path(table).expanduser()
    try:
        if file.suffix in {".parquet", ".pq"}:
            return pd.read_parquet(file), str(file)
        return pd.read_csv(file, sep="\t" if ".tsv" in file.suffixes else ","), str(file)
    except FileNotFoundError:
        raise DataError(f"There is no file {str(file)!r}.") from None
    except (OSError, EOFError, ValueError) as error:
        raise DataError(
            f"{file} cannot be read as a table ({type(error).__name__}: {error}). Give a Parquet "
            "file (.parquet), or a text with names in its first line and commas between values."
        ) from error


def _features(frame: Any, categorical: Sequence[str], label: str) -> Any:
    """Return a frame whose columns are float32 or categories."""
    from pandas.api import types

    for name, column in frame.items():
        if types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column):
            raise DataError(
                f"The column '{name}' of {label} holds times. Make numbers of them (year, day of "
                f"the week, ...), or leave it out: drop=['{name}']."
            )
        numeric = types.is_numeric_dtype(column) and not types.is_bool_dtype(column)
        frame[name] = column.astype(
            np.float32 if numeric and name not in categorical else "category"
        )
    if frame.shape[1] == 0:
        raise DataError(f"{label} has no column besides the target.")
    return frame


def _hold_out(
    X: Any, y: np.ndarray[Any, Any], task: str | None, size: float, seed: int
) -> StudyData:
    y, fields = _target(y, task)
    return seal_part(X, y, size, seed, stratify=y.dtype.kind == "i", **fields)


def _target(
    y: np.ndarray[Any, Any], task: str | None
) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    """Return the target in the format of a net, and the class names of a classification."""
    if (task or _likely_task(y)) == "classification":
        classes, places = np.unique(y, return_inverse=True)
        return places.astype(np.int64), {"class_names": tuple(map(str, classes))}
    try:
        return y.astype(np.float32).reshape(len(y), -1), {}
    except (TypeError, ValueError) as error:
        raise DataError(f"A regression needs a target of numbers ({error}).") from error


def _likely_task(y: np.ndarray[Any, Any]) -> str:
    if y.dtype.kind not in "iuf":
        return "classification"
    integers = y.ndim == 1 and np.array_equal(y, np.round(y))
    return "classification" if integers and len(np.unique(y)) <= MAX_CLASSES else "regression"
