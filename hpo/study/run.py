"""One run of a study, from the first trial to the report."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from hpo._redaction import redact
from hpo._stop_signal import StopSignal
from hpo.display.choose import display_for
from hpo.exceptions import NoCompletedTrialError, StudyError
from hpo.observer import BaseObserver
from hpo.result import StudyResult
from hpo.storage.drivers import name_of
from hpo.storage.study_facts import has_model
from hpo.storage.trial_store import TrialStore
from hpo.study.definition import Study
from hpo.study.finalists import with_finalists
from hpo.study.finisher import Elsewhere, Finisher
from hpo.study.load import nothing_scored
from hpo.study.nested import check_nested, with_nested
from hpo.study.opening import Allowed
from hpo.study.plan import plan_of
from hpo.study.prepared import PreparedStudy
from hpo.study.runner import run_search
from hpo.study.winner import finish_winner
from hpo.trial import TrialRecord

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
    progress: str = "auto",
    verbose: int = 1,
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
    progress : {"auto", "live", "lines", "none"}, default="auto"
        How the study is shown while it runs. ``"auto"``: live in a terminal and in a notebook, not
        at all anywhere else; ``"live"``: live, or with a line for each trial where that cannot be;
        ``"lines"``: a line for each trial.
    verbose : int, default=1
        0 shows nothing; 2 is lines, one for each epoch too.

    Returns
    -------
    StudyResult
        If other processes still run trials of the study, one of them refits the winner
        (`StudyResult.finished_by`).

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
    display = display_for(progress, verbose)
    prepared = PreparedStudy(study, folder)
    check_nested(prepared)
    tracker = prepared.tracker()
    # Without scores there is nothing that a change of the code could invalidate.
    unscored = retry_failed and nothing_scored(study.name, study.storage)
    allowed = Allowed(extend=extend, accept_code=accept_code or unscored)
    if display is not None:
        display.plan(plan_of(study, prepared.folder, fresh=fresh, retry_failed=retry_failed))
    interrupt = interrupt or StopSignal(on_signal=display.on_signal if display else None)
    with interrupt.listening():
        store = prepared.begin(fresh=fresh, allowed=allowed, tracked=bool(tracker.target))
    if retry_failed:
        store.retry_failed()

    keeps_model = study.storage is not None and tracker.keeps_model
    finish = _Finish(prepared, store, interrupt, reuse=reuse_refit, keeps_model=keeps_model)
    try:
        with display or nullcontext(), interrupt.listening():
            return run_search(
                prepared.search,
                store,
                info=prepared.info(store, artifacts or {}),
                observers=[*observers, *([display] if display else [])],
                tracker=tracker,
                interrupt=interrupt,
                budget=prepared.budget(),
                finish=finish,
                fail_fast=study.fail_fast,
            )
    except NoCompletedTrialError as error:
        if study.storage is None:
            raise
        raise NoCompletedTrialError(f"{error} {_RETRYING}") from error


class _Finish:
    """Refits the winner when the trials are over, unless another driver does.

    Parameters
    ----------
    prepared : PreparedStudy
    store : TrialStore
    interrupt : StopSignal
    reuse : bool
        See `run_study`.
    keeps_model : bool
        Whether the refitted winner is to be kept with the study.
    """

    def __init__(
        self,
        prepared: PreparedStudy,
        store: TrialStore,
        interrupt: StopSignal,
        *,
        reuse: bool,
        keeps_model: bool,
    ) -> None:
        self._prepared = prepared
        self._store = store
        self._interrupt = interrupt
        self._reuse = reuse
        self._keeps_model = keeps_model
        self._finisher = Finisher(store)

    def __call__(self, result: StudyResult, elsewhere: Elsewhere) -> StudyResult:
        """Return the result, completed."""
        if elsewhere and not self._interrupt.reason:
            self._note(elsewhere.note)
            return replace(
                result, finished_by=elsewhere.drivers, silent_trials=elsewhere.silent_trials
            )
        if result.stopped and result.winner is None:
            return result
        result = with_finalists(result, self._prepared, self._store, self._interrupt)
        best = result.best_record
        params = self._prepared.space.resolve(best.best_params)
        result = replace(result, resolved_params=params)
        if self._interrupt.reason:
            return result
        if self._prepared.study.refit:
            with self._finisher.claim(best.number) as (other, is_done):
                result = self._refitted(result, best, other, is_done=is_done)
        if result.finished_by:
            return result
        return with_nested(result, self._prepared, self._store, self._interrupt, run=run_study)

    def _refitted(
        self, result: StudyResult, best: TrialRecord, other: str, *, is_done: bool
    ) -> StudyResult:
        """Refit the winner, unless the driver ``other`` does or has done so."""
        if other:
            who = name_of(other)
            self._note(f"{who.capitalize()} finishes the study, once for all.")
            result = replace(result, finished_by=who)
            if not is_done:
                return result
        is_kept = not self._keeps_model or has_model(self._store, best.number)
        return finish_winner(
            result,
            best,
            self._prepared,
            self._store,
            interrupt=self._interrupt,
            advice=_advice(self._prepared.study),
            reuse=is_done or (self._reuse and is_kept),
        )

    def _note(self, text: str) -> None:
        self._prepared.search.notes.append(text)


def _advice(study: Study) -> str:
    """Return for a failed refit where the trials are, and how to continue."""
    if study.storage is None:
        return (
            "The trials are in this error's `result`. Mend what failed and run the study again, "
            "or leave the refit out (refit=False)."
        )
    return (
        f"The trials are kept in {redact(study.storage)}; `hpo show {study.name}` has the "
        "traceback. Mend what failed and run the study again: no trial is made anew, only the "
        "refit. Or leave it out (refit=False)."
    )
