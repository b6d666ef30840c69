"""One run of a study, from the first trial to the report."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hpo._stop_signal import StopSignal
from hpo.budget import Budget
from hpo.exceptions import NoCompletedTrialError, RefitError, StudyError
from hpo.observer import BaseObserver
from hpo.result import StudyResult
from hpo.storage.trial_store import TrialStore
from hpo.study._fingerprint import mark_of_data, summary
from hpo.study.definition import Study
from hpo.study.load import nothing_scored
from hpo.study.opening import Allowed
from hpo.study.prepared import PreparedStudy
from hpo.study.runner import run_search
from hpo.study.winner import analysed, refitted

__all__ = ["run_study"]

_RETRYING = (
    "Once that is mended, try the failed trials again with --retry-failed "
    "(run_study(study, retry_failed=True))."
)


def run_study(
    study: Study,
    *,
    folder: Path | None = None,
    fresh: bool = False,
    extend: bool = False,
    accept_code: bool = False,
    observers: Sequence[BaseObserver] = (),
    interrupt: StopSignal | None = None,
    artifacts: Mapping[str, str] | None = None,
    reuse_refit: bool = False,
    retry_failed: bool = False,
) -> StudyResult:
    """Run a study to the end of its budget, or go on with it, and name its winner.

    Parameters
    ----------
    study : Study
    folder : Path or None
        Where relative paths start; by default the current folder.
    fresh : bool, default=False
        Start anew under the same name; the old trials stay in the storage.
    extend : bool, default=False
        Continue although the search space has changed: the old trials that fit the new one count,
        in a new study under the same name. A trial fits if what it trained can be expressed in
        the new space; a parameter that is new there must allow the estimator's default value. A
        note of the result says how many trials fit, and why others do not.
    accept_code : bool, default=False
        Continue although the user's own code has changed (a class or function of the same name),
        or something cannot be compared with its former state: old trials count as they are.
    observers : sequence of BaseObserver
        Notified of everything in addition to the study's own tracker (a progress display).
    interrupt : StopSignal or None
        Ends the study early on request; Ctrl-C is such a request.
    artifacts : mapping of str to str
        Further texts for the tracker (the study's file).
    reuse_refit : bool, default=False
        Do not refit a winner that has been refitted and scored before; the result then has
        its scores and no estimator.
    retry_failed : bool, default=False
        Try the parameters of failed trials again, replacing these, after the cause has been
        fixed. If the cause was in the user's own code and other trials have scores,
        ``accept_code`` must confirm that these are still valid.

    Returns
    -------
    StudyResult

    Raises
    ------
    HpoError
        Before anything is created, if the study is invalid, differs from the one that the storage
        has under its name, or cannot be trained on one batch of a fold; `NoCompletedTrialError`
        at the end, if no trial is complete and the study was not interrupted, or once the first
        trials have all failed with the same error; `RefitError`, with the result, if the winner
        cannot be refitted or scored.
    """
    if fresh and extend:
        raise StudyError("fresh starts anew and extend goes on: choose one of them.")
    prepared = PreparedStudy(study, folder)
    tracker = prepared.tracker()
    # Without scores there is nothing that a change of the code could invalidate.
    unscored = retry_failed and nothing_scored(study.name, study.storage)
    allowed = Allowed(extend=extend, accept_code=accept_code or unscored)
    interrupt = interrupt or StopSignal()
    with interrupt.listening():
        store = prepared.begin(fresh=fresh, allowed=allowed)
    if retry_failed:
        store.retry_failed()

    def finish(result: StudyResult) -> StudyResult:
        if result.stopped and result.winner is None:
            return result
        return _finish(
            result, prepared, store, interrupted=bool(interrupt.reason), reuse=reuse_refit
        )

    try:
        return run_search(
            prepared.search,
            store,
            info=prepared.info(store, artifacts or {}),
            trackers=(tracker, *observers),
            interrupt=interrupt,
            budget=Budget(study.n_trials, study.timeout, study.max_total_epochs),
            finish=finish,
            fail_fast=study.fail_fast,
        )
    except NoCompletedTrialError as error:
        if study.storage is None:
            raise
        raise NoCompletedTrialError(f"{error} {_RETRYING}") from error


def _finish(
    result: StudyResult,
    prepared: PreparedStudy,
    store: TrialStore,
    *,
    interrupted: bool,
    reuse: bool,
) -> StudyResult:
    """Refit the winner, score it once on the held-out test part, and analyse it."""
    best = result.best_record
    result = replace(result, resolved_params=prepared.space.resolve(best.best_params))
    if not prepared.study.refit or interrupted:
        return result
    previous = store.get_attr("refit") or {}
    requested = {analysis.name for analysis in prepared.analyses}
    mark = _mark(prepared) if prepared.study.storage is not None else ""
    same = previous.get("number") == best.number and previous.get("mark") == mark
    if reuse and same and requested <= set(previous.get("analyses", ())):
        return replace(result, **{k: v for k, v in previous.items() if k not in {"number", "mark"}})
    try:
        result = analysed(refitted(result, prepared), prepared)
    except RefitError as error:
        store.set_attr("refit_error", {"number": best.number, "text": error.result.refit_error})
        raise
    names = ("test_score", "refit_epochs", "refit_seconds", "recommendation", "analyses")
    outcome = {name: getattr(result, name) for name in names}
    store.set_attr("refit", {"number": best.number, "mark": mark, **outcome})
    if store.get_attr("refit_error"):
        store.set_attr("refit_error", None)
    return result


def _mark(prepared: PreparedStudy) -> str:
    """Return a hash of what a refit and its test score depend on besides the trial."""
    data = prepared.data
    data_mark = mark_of_data(data.X_test, data.y_test, data.X_refit, data.y_refit)
    return f"{summary(prepared.search.fingerprint)} {data_mark}"
