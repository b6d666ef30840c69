"""Refit the winner, score it on the held-out test part, analyse it, and store the outcome."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from hpo._failures import message_of
from hpo._stop_signal import StopSignal, is_signal
from hpo.analyses import CLASS, Winner
from hpo.exceptions import RefitError
from hpo.result import StudyResult
from hpo.storage.trial_store import TrialStore
from hpo.study._fingerprint import mark_of_data, summary
from hpo.study.prepared import PreparedStudy
from hpo.study.refit_errors import refit_errors
from hpo.training.held_out import held_out_score
from hpo.training.indexing import index_fit_params, take
from hpo.training.refit import recommendation_of, refit
from hpo.training.scoring import Scoring
from hpo.training.threads import devices, limit_threads
from hpo.trial import TrialRecord, derive_seed

__all__ = ["finish_winner"]

Within = Callable[[Any], AbstractContextManager[Any]]

_OUTCOME = (
    "test_score",
    "test_interval",
    "refit_epochs",
    "refit_seconds",
    "recommendation",
    "analyses",
)
"""Fields of a `StudyResult` that are stored with a refit."""


def finish_winner(
    result: StudyResult,
    record: TrialRecord,
    prepared: PreparedStudy,
    store: TrialStore,
    *,
    interrupt: StopSignal,
    advice: str,
    reuse: bool = False,
    keeps: bool = True,
    within: Within = nullcontext,
) -> StudyResult:
    """Refit a trial, score it once on the held-out test part, analyse it, and store the outcome.

    Parameters
    ----------
    result : StudyResult
    record : TrialRecord
        The trial to refit.
    prepared : PreparedStudy
    store : TrialStore
    interrupt : StopSignal
        A second Ctrl-C ends the refit.
    advice : str
        For a `RefitError`: where the trials are, and how to continue.
    reuse : bool, default=False
        Return what is stored of an equal refit, without the estimator, instead of another one.
    keeps : bool, default=True
        Store the outcome; False if another driver does.
    within : callable
        ``within(estimator)`` returns a context manager in which the estimator is fitted.

    Returns
    -------
    StudyResult
        ``result``, completed.

    Raises
    ------
    RefitError
        If the estimator's own code raises. Its result has what was finished before.
    """
    previous = store.get_attr("refit") or {}
    requested = {analysis.name for analysis in prepared.analyses}
    mark = _mark(prepared) if prepared.study.storage is not None else ""
    same = previous.get("number") == record.number and previous.get("mark") == mark
    if reuse and same and requested <= set(previous.get("analyses", ())):
        return replace(result, **{name: previous[name] for name in _OUTCOME if name in previous})

    @contextmanager
    def fitting(estimator: Any) -> Iterator[None]:
        with within(estimator):
            yield
        interrupt.raise_again()

    try:
        result = _refitted(result, record, prepared, advice, fitting)
    except RefitError as error:
        if keeps:
            store.set_attr(
                "refit_error", {"number": record.number, "text": error.result.refit_error}
            )
        raise
    result = _analysed(result, record, prepared)
    if not keeps:
        return result
    outcome = {name: getattr(result, name) for name in _OUTCOME}
    made = {"number": record.number, "mark": mark, "driver": store.driver}
    store.set_attr("refit", made | outcome)
    if store.get_attr("refit_error"):
        store.set_attr("refit_error", None)
    return result


def _mark(prepared: PreparedStudy) -> str:
    """Return a hash of what a refit and its test score depend on besides the trial."""
    data = prepared.data
    data_mark = mark_of_data(data.X_test, data.y_test, data.X_refit, data.y_refit)
    return f"{summary(prepared.search.fingerprint)} {data_mark}"


def _refitted(
    result: StudyResult, record: TrialRecord, prepared: PreparedStudy, advice: str, within: Within
) -> StudyResult:
    """Return ``result`` with the trial refitted and scored on the held-out test part."""
    number = record.number
    began = time.perf_counter()
    seed, own_files = derive_seed(prepared.study.seed, "refit"), not prepared.study.is_small
    with refit_errors(f"The refit of trial {number} on all the data", result, advice):
        estimator = _fit(prepared, record, seed, own_files=own_files, within=within)
    seconds = time.perf_counter() - began
    epochs = record.refit_steps
    result = replace(
        result,
        refitted=estimator,
        refit_trial=number,
        refit_epochs=epochs,
        refit_seconds=seconds,
    )
    what = f"The scoring of the refitted trial {number} on the held-out test part"
    with refit_errors(what, result, advice):
        result = _scored(result, estimator, prepared)
    with refit_errors(f"The recommendation of the refitted trial {number}", result, advice):
        return replace(result, recommendation=recommendation_of(estimator))


def _scored(result: StudyResult, estimator: Any, prepared: PreparedStudy) -> StudyResult:
    study, data = prepared.study, prepared.data
    if data.X_test is None:
        return result
    with limit_threads(prepared.search.n_threads):
        scoring = Scoring(estimator, study.scoring, study.metric)
        score, interval = held_out_score(estimator, scoring, data.X_test, data.y_test)
    return replace(result, test_score=score, test_interval=interval)


def _fit(
    prepared: PreparedStudy,
    record: TrialRecord,
    seed: int,
    rows: np.ndarray | None = None,
    *,
    own_files: bool = False,
    within: Within = nullcontext,
) -> Any:
    """Return the study's estimator fitted with a trial's parameters, for as many steps."""
    study, search = prepared.study, prepared.search
    X, y, fit_params = prepared.refit_data
    if rows is not None:
        fit_params = index_fit_params(fit_params, rows, X)
        X, y = take(X, rows), take(y, rows)
    with limit_threads(search.n_threads):
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
            device=devices(search.device)[0],
            own_files=own_files,
            within=within,
        )


def _analysed(result: StudyResult, record: TrialRecord, prepared: PreparedStudy) -> StudyResult:
    """Return ``result`` with the study's analyses of its refitted winner.

    The result of an analysis that fails is its error message.
    """
    analyses: dict[str, Any] = {}
    for analysis in prepared.analyses:
        winner = _winner(result, record, prepared, analysis.name)
        try:
            with limit_threads(prepared.search.n_threads):
                analyses[analysis.name] = json.loads(json.dumps(analysis.compute(winner)))
        except BaseException as error:
            if is_signal(error):
                raise
            analyses[analysis.name] = {"error": message_of(error)}
        if analysis.reference != analysis.name:
            analyses[analysis.name][CLASS] = analysis.reference
    return replace(result, analyses=analyses)


def _winner(result: StudyResult, record: TrialRecord, prepared: PreparedStudy, name: str) -> Winner:
    study, data = prepared.study, prepared.data
    X, y, _ = prepared.refit_data
    counter = itertools.count()

    def refitter(record: TrialRecord, rows: np.ndarray | None) -> Any:
        seed = derive_seed(study.seed, "refit", name, next(counter))
        return _fit(prepared, record, seed, rows)

    others = [other for other in result.top(result.n_trials) if other.number != record.number]
    return Winner(
        estimator=result.estimator,
        ranked=[record, *others],
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
        oof=result.oof,
    )
