"""Refit the winner, score it on the held-out test part, and analyse it."""

import itertools
import json
import time
from dataclasses import replace
from typing import Any

import numpy as np

from hpo._failures import message_of
from hpo._redaction import redact
from hpo._stop_signal import is_ctrl_c
from hpo.analyses import CLASS, Winner
from hpo.result import StudyResult
from hpo.study.prepared import PreparedStudy
from hpo.study.refit_errors import refit_errors
from hpo.training.indexing import index_fit_params, take
from hpo.training.refit import recommendation_of, refit
from hpo.training.scoring import Scoring
from hpo.training.threads import devices, limit_threads
from hpo.trial import TrialRecord, derive_seed

__all__ = ["analysed", "refitted"]


def refitted(result: StudyResult, prepared: PreparedStudy) -> StudyResult:
    """Return ``result`` with its winner refitted and scored on the held-out test part.

    Raises
    ------
    RefitError
        If the estimator's own code raises.
    """
    best, trials_note = result.best_record, _trials_note(prepared)
    began = time.perf_counter()
    seed, own_files = derive_seed(prepared.study.seed, "refit"), not prepared.study.is_small
    with refit_errors(f"The refit of trial {best.number} on all the data", result, trials_note):
        estimator = _fit(prepared, best, seed, own_files=own_files)
    seconds = time.perf_counter() - began
    epochs = best.refit_steps
    result = replace(result, estimator=estimator, refit_epochs=epochs, refit_seconds=seconds)
    what = f"The scoring of the refitted trial {best.number} on the held-out test part"
    with refit_errors(what, result, trials_note):
        result = replace(result, test_score=_test_score(estimator, prepared))
    what = f"The recommendation of the refitted trial {best.number}"
    with refit_errors(what, result, trials_note):
        return replace(result, recommendation=recommendation_of(estimator))


def _trials_note(prepared: PreparedStudy) -> str:
    """Return a note for a failed refit: where the trials are and how to continue."""
    storage = prepared.study.storage
    if storage is None:
        return (
            "The trials are in this error's `result`. Mend what failed and run the study again, "
            "or leave the refit out (refit=False)."
        )
    return (
        f"The trials are kept in {redact(storage)}; `hpo show {prepared.study.name}` has the "
        "traceback. Mend what failed and run the study again: no trial is made anew, only the "
        "refit. Or leave it out (refit=False)."
    )


def _test_score(estimator: Any, prepared: PreparedStudy) -> float | None:
    study, data = prepared.study, prepared.data
    if data.X_test is None:
        return None
    with limit_threads(study.n_threads):
        scoring = Scoring(estimator, study.scoring, study.metric)
        scores = scoring(estimator, data.X_test, data.y_test)
        return scores[scoring.main(scores)]


def _fit(
    prepared: PreparedStudy,
    record: TrialRecord,
    seed: int,
    rows: np.ndarray | None = None,
    *,
    own_files: bool = False,
) -> Any:
    """Return the study's estimator fitted with a trial's parameters, for as many steps."""
    study = prepared.study
    X, y, fit_params = prepared.refit_data
    if rows is not None:
        fit_params = index_fit_params(fit_params, rows, X)
        X, y = take(X, rows), take(y, rows)
    with limit_threads(study.n_threads):
        return refit(
            study.estimator,
            prepared.space.resolve(record.best_params),
            X,
            y,
            n_steps=record.refit_steps,
            seed=seed,
            epochs=study.epochs,
            eval_every=study.eval_every,
            fit_params=fit_params,
            device=devices(study.device)[0],
            own_files=own_files,
        )


def analysed(result: StudyResult, prepared: PreparedStudy) -> StudyResult:
    """Return ``result`` with the study's analyses of its refitted winner.

    The result of an analysis that fails is its error message.
    """
    analyses: dict[str, Any] = {}
    for analysis in prepared.analyses:
        winner = _winner(result, prepared, analysis.name)
        try:
            with limit_threads(prepared.study.n_threads):
                analyses[analysis.name] = json.loads(json.dumps(analysis.compute(winner)))
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            analyses[analysis.name] = {"error": message_of(error)}
        if analysis.reference != analysis.name:
            analyses[analysis.name][CLASS] = analysis.reference
    return replace(result, analyses=analyses)


def _winner(result: StudyResult, prepared: PreparedStudy, name: str) -> Winner:
    study, data = prepared.study, prepared.data
    X, y, _ = prepared.refit_data
    counter = itertools.count()

    def refitter(record: TrialRecord, rows: np.ndarray | None) -> Any:
        seed = derive_seed(study.seed, "refit", name, next(counter))
        return _fit(prepared, record, seed, rows)

    return Winner(
        estimator=result.estimator,
        ranked=result.top(result.n_trials),
        X=X,
        y=y,
        X_test=data.X_test,
        y_test=data.y_test,
        classes=prepared.search.objective.classes,
        class_names=data.class_names,
        scoring=result.scoring,
        seed=derive_seed(study.seed, "analysis", name) % 2**32,
        take=take,
        refitter=refitter,
    )
