"""The attributes that a fit sets on an `HPOSearchCV`: the table, the winner, and its refit."""

from dataclasses import replace
from typing import Any

import numpy as np

from hpo.result import StudyResult
from hpo.search_cv._sklearn_parts import best_row, check_refit
from hpo.search_cv.deprecations import warn_of_scores
from hpo.search_cv.table import rows_of, score_names
from hpo.study.kept_files import only
from hpo.training.objective import Objective
from hpo.trial import TrialRecord, TrialState

__all__ = ["set_found", "set_refitted"]

_OF_REFIT = (
    "best_estimator_",
    "refit_time_",
    "feature_names_in_",
    "corrected_score_",
    "test_score_",
    "analyses_",
)
"""Attributes that an earlier fit may have left."""


def set_found(
    search: Any, result: StudyResult, objective: Objective
) -> tuple[StudyResult, TrialRecord | None]:
    """Set what the trials have found, and choose the winner.

    Parameters
    ----------
    search : HPOSearchCV
    result : StudyResult
        The result once the trials are over.
    objective : Objective

    Returns
    -------
    tuple of StudyResult and TrialRecord
        The result with the winner's parameters, and the winner; None if several scores have
        none.

    Raises
    ------
    NoCompletedTrialError
        If no trial is complete; the table is set.
    """
    for name in _OF_REFIT:
        search.__dict__.pop(name, None)
    last_reports = [r.reports[-1] for r in (*result.top(1), *result.candidates) if r.reports]
    names = score_names(objective, last_reports[0] if last_reports else None)
    primary = objective.scoring.main(dict.fromkeys(names, 0.0))
    search.multimetric_ = bool(objective.scoring.names) or names != ("score",)
    if search.multimetric_:
        check_refit(search.refit, names)
    by_name = objective.scoring.by_name
    search.scorer_ = by_name if objective.scoring.names else by_name["score"]
    search.n_splits_ = objective.n_folds
    search.cv_results_ = result.cv_results(
        objective.resolve,
        scorers=names,
        primary=primary,
        n_splits=objective.n_folds,
        error_score=np.nan if search.error_score == "raise" else search.error_score,
        return_train_score=search.return_train_score,
    )
    warn_of_scores(result, search.cv_results_, names)
    best = result.best_record  # raises if there is none
    if result.corrected is not None:
        search.corrected_score_ = result.corrected.value
    search.result_ = replace(result, resolved_params=objective.resolve(best.best_params))
    if not search.refit and search.multimetric_:
        return search.result_, None
    return _choose(search, search.result_, primary, objective)


def _choose(
    search: Any, result: StudyResult, primary: str, objective: Objective
) -> tuple[StudyResult, TrialRecord]:
    eligible = [r.state is TrialState.COMPLETE or r is result.winner for r in result.candidates]
    complete = np.flatnonzero(eligible)
    if search.choose == "best" or callable(search.refit):
        row = best_row(search.refit, primary, rows_of(search.cv_results_, complete))
        search.best_index_ = complete[row]
    else:
        search.best_index_ = result.candidates.index(result.best_record)
    if not callable(search.refit):
        search.best_score_ = search.cv_results_[f"mean_test_{primary}"][search.best_index_]
    winner = result.candidates[search.best_index_]
    search.best_params_ = objective.resolve(winner.best_params)
    search.n_steps_ = winner.refit_steps
    if callable(search.refit) and search.keep == "winner":
        result = replace(result, files=only(result.files, winner.number))
    return replace(result, resolved_params=search.best_params_), winner


def set_refitted(search: Any, result: StudyResult) -> None:
    """Set the refitted winner, if there is one, and what was made of it.

    Parameters
    ----------
    search : HPOSearchCV
    result : StudyResult
        The result at the end of the study, also if a step after the refit has failed.
    """
    search.result_ = result
    if result.refitted is None:
        return
    search.best_estimator_ = result.estimator
    search.refit_time_ = result.refit_seconds
    if hasattr(result.estimator, "feature_names_in_"):
        search.feature_names_in_ = result.estimator.feature_names_in_
    if result.test_score is not None:
        search.test_score_ = result.test_score
    if result.analyses:
        search.analyses_ = result.analyses
