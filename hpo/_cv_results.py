"""Trial records in the form of scikit-learn's ``cv_results_``."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo.trial import Report, TrialRecord, TrialState

__all__ = ["cv_results"]

FloatArray = npt.NDArray[np.float64]

_STANDING = {TrialState.COMPLETE: 0, TrialState.PRUNED: 1, TrialState.INTERRUPTED: 0}
"""Trials rank by this first: a pruned one may have been ahead for a while and is no candidate.

An interrupted one is there only as the winner that the budget did not last for: none is complete.
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
    """Return one row a record, with the keys, dtypes and statistics of ``GridSearchCV``.

    Parameters
    ----------
    records, params : sequences of equal length
        The trials, and their parameters as the estimator takes them.
    scorers, primary, n_splits, error_score, return_train_score
        See `StudyResult.cv_results`.
    """
    reports = [_scored_report(record) for record in records]
    width = n_splits or max((len(r.fold_values) for r in reports if r), default=1)
    results: dict[str, Any] = {}
    for key, name in (("fit_time", "fit_seconds"), ("score_time", "score_seconds")):
        times = [getattr(_timed_report(record), name, ()) for record in records]
        _store(results, key, _rows(times, width, 0.0))
    results.update(_param_columns(params))
    results["params"] = list(params)
    standing = [_standing(record) for record in records]
    for scorer in scorers:
        scores = [_scores(report, scorer, primary) for report in reports]
        test = _rows(scores, width, error_score)
        _store(results, f"test_{scorer}", test, splits=True)
        results[f"rank_test_{scorer}"] = _rank(test.mean(axis=1), standing)
        if return_train_score:
            training = [
                report.metrics.get(f"train_{scorer}", ()) if report else () for report in reports
            ]
            _store(results, f"train_{scorer}", _rows(training, width, error_score), splits=True)
    return results


def _standing(record: TrialRecord) -> int:
    return _STANDING.get(record.state, len(_STANDING))


def _scored_report(record: TrialRecord) -> Report | None:
    """Return the report whose scores stand for the trial; None for one that raised.

    A trial that failed for a score that is not finite keeps those of its last step.
    """
    if record.state is TrialState.FAILED:
        return _last_report(record) if record.without_score else None
    return record.best_report or _last_report(record)


def _timed_report(record: TrialRecord) -> Report | None:
    # a failed trial has taken time too, as a failed fit has in GridSearchCV
    return _scored_report(record) or _last_report(record)


def _last_report(record: TrialRecord) -> Report | None:
    return record.reports[-1] if record.reports else None


def _scores(report: Report | None, scorer: str, primary: str) -> Sequence[float]:
    if report is None:
        return ()
    return report.fold_values if scorer == primary else report.metrics.get(scorer, ())


def _rows(values: Sequence[Sequence[float]], width: int, fill: float) -> FloatArray:
    """Return ``values`` as rows of ``width`` columns; what is missing is ``fill``."""
    rows = np.full((len(values), width), fill, dtype=np.float64)
    for row, given in zip(rows, values, strict=True):
        row[: len(given)] = given
    return rows


def _store(results: dict[str, Any], key: str, rows: FloatArray, *, splits: bool = False) -> None:
    if splits:
        for i in range(rows.shape[1]):
            results[f"split{i}_{key}"] = rows[:, i]
    results[f"mean_{key}"] = rows.mean(axis=1)
    with np.errstate(invalid="ignore"):  # an infinite error_score
        results[f"std_{key}"] = rows.std(axis=1)


def _rank(means: FloatArray, standing: Sequence[int]) -> npt.NDArray[np.int32]:
    """Return ranks from 1 for the greatest of the least standing; equals share the least of theirs.

    nan ranks last of its standing, or 1 where there is nothing else.
    """
    if np.isnan(means).all():
        return np.ones(len(means), dtype=np.int32)
    filled = np.where(np.isnan(means), np.nanmin(means) - 1, means)
    keys = list(zip(standing, (-filled).tolist(), strict=True))
    ordered = sorted(keys)
    return np.array([bisect_left(ordered, key) + 1 for key in keys], dtype=np.int32)


def _param_columns(params: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a masked array for each parameter, masked where a trial does not have it."""
    names = dict.fromkeys(name for row in params for name in row)
    columns: dict[str, Any] = {}
    for name in names:
        given = {i: row[name] for i, row in enumerate(params) if name in row}
        column = np.ma.MaskedArray(np.empty(len(params), _dtype(list(given.values()))), mask=True)
        for i, value in given.items():
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
