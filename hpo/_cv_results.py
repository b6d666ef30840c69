"""Convert trial records to scikit-learn's ``cv_results_``."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo.trial import Report, TrialRecord, TrialState

__all__ = ["cv_results"]

FloatArray = npt.NDArray[np.float64]

_PRIORITY = {TrialState.COMPLETE: 0, TrialState.PRUNED: 1, TrialState.INTERRUPTED: 0}
"""First ranking criterion of trials: pruned ones rank below complete ones whatever their score.

An interrupted trial is only included if it is the winner because no trial is complete.
"""


def cv_results(
    records: Sequence[TrialRecord],
    params: Sequence[Mapping[str, Any]],
    *,
    scorers: Sequence[str],
    primary: str,
    n_splits: int | None,
    error_score: float,
    return_train_score: bool,
) -> dict[str, Any]:
    """Return a row per record, with the keys, dtypes and statistics of ``GridSearchCV``.

    Parameters
    ----------
    records, params : sequences of equal length
        The trials, and their parameters as the estimator takes them.
    scorers, primary, n_splits, error_score, return_train_score
        See `StudyResult.cv_results`.
    """
    reports = [_scored_report(record) for record in records]
    raced = [record for record in records if record.screening]
    width = n_splits or max((len(r.fold_values) for r in reports if r), default=1)
    results: dict[str, Any] = {}
    for key, name in (("fit_time", "fit_seconds"), ("score_time", "score_seconds")):
        times = [getattr(_timed_report(record), name, ()) for record in records]
        _store(results, key, _rows(times, width, 0.0))
    if raced:
        results["n_folds"] = np.array([_n_trained(report) for report in reports], dtype=np.int64)
    results.update(_param_columns(params))
    results["params"] = list(params)
    priority = [_priority(record) for record in records]
    for scorer in scorers:
        scores = [_scores(report, scorer, primary) for report in reports]
        test = _rows(scores, width, error_score)
        _store(results, f"test_{scorer}", test, splits=True)
        results[f"rank_test_{scorer}"] = _rank(test.mean(axis=1), priority)
        if return_train_score:
            training = [
                report.metrics.get(f"train_{scorer}", ()) if report else () for report in reports
            ]
            _store(results, f"train_{scorer}", _rows(training, width, error_score), splits=True)
    return results


def _n_trained(report: Report | None) -> int:
    """Return the number of folds that a report is of."""
    if report is None:
        return 0
    return 1 if report.screening else len(report.fold_values)


def _priority(record: TrialRecord) -> int:
    return _PRIORITY.get(record.state, len(_PRIORITY))


def _scored_report(record: TrialRecord) -> Report | None:
    """Return the report whose scores represent the trial; None for a trial that raised.

    A trial that failed because its score is not finite is represented by its last step.
    """
    if record.state is TrialState.FAILED:
        return record.last_reported if record.without_score else None
    return record.furthest.best_report or record.last_reported


def _timed_report(record: TrialRecord) -> Report | None:
    # a failed trial has times too, like a failed fit in GridSearchCV
    return _scored_report(record) or record.last_reported


def _scores(report: Report | None, scorer: str, primary: str) -> Sequence[float]:
    if report is None:
        return ()
    return report.fold_values if scorer == primary else report.metrics.get(scorer, ())


def _rows(values: Sequence[Sequence[float]], width: int, fill: float) -> FloatArray:
    """Return ``values`` as rows of ``width`` columns, filled up with ``fill``."""
    rows = np.full((len(values), width), fill, dtype=np.float64)
    for row, row_values in zip(rows, values, strict=True):
        row[: len(row_values)] = row_values
    return rows


def _store(results: dict[str, Any], key: str, rows: FloatArray, *, splits: bool = False) -> None:
    if splits:
        for i in range(rows.shape[1]):
            results[f"split{i}_{key}"] = rows[:, i]
    results[f"mean_{key}"] = rows.mean(axis=1)
    with np.errstate(invalid="ignore"):  # an infinite error_score
        results[f"std_{key}"] = rows.std(axis=1)


def _rank(means: FloatArray, priority: Sequence[int]) -> npt.NDArray[np.int32]:
    """Return ranks from 1, by priority and then by descending mean; ties share the lowest rank.

    nan ranks last within its priority, or 1 if all means are nan.
    """
    if np.isnan(means).all():
        return np.ones(len(means), dtype=np.int32)
    filled = np.where(np.isnan(means), np.nanmin(means) - 1, means)
    keys = list(zip(priority, (-filled).tolist(), strict=True))
    ordered = sorted(keys)
    return np.array([bisect_left(ordered, key) + 1 for key in keys], dtype=np.int32)


def _param_columns(params: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a masked array for each parameter, masked for trials that do not have it."""
    names = dict.fromkeys(name for row in params for name in row)
    columns: dict[str, Any] = {}
    for name in names:
        present = {i: row[name] for i, row in enumerate(params) if name in row}
        column = np.ma.MaskedArray(np.empty(len(params), _dtype(list(present.values()))), mask=True)
        for i, value in present.items():
            column[i] = value
        columns[f"param_{name}"] = column
    return columns


def _dtype(values: list[Any]) -> np.dtype[Any]:
    """Return the dtype that holds ``values``: numpy's choice, but object for text and sequences."""
    try:
        array = np.array(values)
    except ValueError:  # sequences of different lengths
        return np.dtype(object)
    return array.dtype if array.ndim == 1 and array.dtype.kind != "U" else np.dtype(object)
