"""Nested cross-validation: whole searches, each scored once on rows that it has never seen."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from hpo._stop_signal import StopSignal
from hpo.data import StudyData
from hpo.exceptions import DataError, HpoError
from hpo.result import StudyResult
from hpo.storage.trial_store import TrialStore
from hpo.study.load import NESTED
from hpo.study.prepared import PreparedStudy
from hpo.training.indexing import take
from hpo.training.objective import make_splits, shuffled_folds
from hpo.trial import derive_seed

__all__ = ["check_nested", "with_nested"]

Run = Callable[..., StudyResult]


def with_nested(
    result: StudyResult,
    prepared: PreparedStudy,
    store: TrialStore,
    interrupt: StopSignal,
    *,
    run: Run,
) -> StudyResult:
    """Return ``result`` with the scores of nested cross-validation, if the study asks for it.

    Each outer fold is a study of its own, named ``NAME.outer-1-of-5``, with the same settings: it
    searches on the rows outside the fold, refits its winner on them, and scores it on the fold.
    In a storage these studies are resumed like any other.

    Parameters
    ----------
    result : StudyResult
    prepared : PreparedStudy
    store : TrialStore
    interrupt : StopSignal
        Ends this; the next run goes on.
    run : callable
        `run_study`.
    """
    study = prepared.study
    if not study.nested or interrupt.reason:
        return result
    scores = []
    for i, data in enumerate(_outer_data(prepared), 1):
        outer = study.replace(
            name=f"{store.name}.outer-{i}-of-{study.nested}".replace("@", "-"),
            data=data,
            nested=0,
            refit=True,
            tracker="null:keep_model=false",
            analyses=(),
            add_trials=(),
            compare=(),
            keep="winner",
            out_of_fold_mb=0,
        )
        try:
            found = run(
                outer,
                folder=prepared.folder,
                interrupt=interrupt,
                reuse_refit=True,
                progress="none",  # one picture at a time: that of the whole study
            )
        except HpoError as error:
            return _left_out(prepared, result, f"its outer fold {i} failed: {error}")
        if found.test_score is None:
            why = interrupt.reason or found.finished_by or "its winner has no score"
            return _left_out(prepared, result, f"outer fold {i} was not over: {why}")
        scores.append(found.test_score)
    store.set_attr(NESTED, scores)
    return replace(result, nested=tuple(scores))


def _left_out(prepared: PreparedStudy, result: StudyResult, why: str) -> StudyResult:
    prepared.search.notes.append(
        f"Nested cross-validation has no score, for {why}. Run the study again to go on with it."
    )
    return result


def check_nested(prepared: PreparedStudy) -> None:
    """Raise `DataError` if a study asks for outer folds that cannot be made."""
    if prepared.study.nested:
        _outer_folds(prepared)


def _outer_data(prepared: PreparedStudy) -> list[StudyData]:
    """Return the data of each outer fold's search, the fold being the held-out part."""
    data = prepared.data
    parts = []
    for train, held_out in _outer_folds(prepared):
        rows: Mapping[str, Any] = {
            name: take(getattr(data, name), train) for name in ("X", "y", "groups", "sample_weight")
        }
        parts.append(
            StudyData(
                **rows,
                X_test=take(data.X, held_out),
                y_test=take(data.y, held_out),
                class_names=data.class_names,
                source=data.source,
            )
        )
    return parts


def _outer_folds(prepared: PreparedStudy) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the outer folds: made as the study's own ones, as many as it asks for."""
    study, data = prepared.study, prepared.data
    classifier = is_classifier(study.estimator)
    cv, seed = study.cv, derive_seed(study.seed, NESTED) % 2**32
    params = {} if data.groups is None else {"groups": data.groups}
    if cv is None or isinstance(cv, int):
        cv = shuffled_folds(study.nested, seed, data.y, classifier=classifier)
    elif hasattr(cv, "split") and hasattr(cv, "n_splits"):
        cv = copy.deepcopy(cv)
        cv.n_splits = study.nested
    else:
        raise DataError(
            f"nested={study.nested} makes outer folds as the study makes its own, and cv={cv!r} "
            "has no number of folds that could be changed (n_splits): give a number, or a splitter "
            "that has one."
        )
    return make_splits(study.estimator, data.X, data.y, cv, params)
