"""One run of a study, from the first trial to the report."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hpo._interrupt import Interrupt
from hpo.backends._base import Budget
from hpo.backends._ledger import Ledger
from hpo.exceptions import RefitError
from hpo.result import StudyResult
from hpo.study._conduct import conduct
from hpo.study._session import Session
from hpo.study._study import Study
from hpo.study._winner import analysed, refitted
from hpo.trackers import BaseTracker

__all__ = ["run_study"]


def run_study(
    study: Study,
    *,
    folder: Path | None = None,
    fresh: bool = False,
    observers: Sequence[BaseTracker] = (),
    interrupt: Interrupt | None = None,
    artifacts: Mapping[str, str] | None = None,
    reuse_refit: bool = False,
) -> StudyResult:
    """Run a study to the end of its budget, or go on with it, and name its winner.

    Parameters
    ----------
    study : Study
    folder : Path or None
        Where relative paths start; by default the current folder.
    fresh : bool, default=False
        Start anew under the same name; the old trials stay in the storage.
    observers : sequence of BaseTracker
        Told of everything beside the study's own tracker (a progress display).
    interrupt : Interrupt or None
        Ends the study early when asked; Ctrl-C asks.
    artifacts : mapping of str to str
        Further texts for the tracker (the study's file).
    reuse_refit : bool, default=False
        Do not refit a winner that has been refitted and scored before; the result then has
        its scores and no estimator.

    Returns
    -------
    StudyResult

    Raises
    ------
    HpoError
        Before anything is created, if the study is wrong; `NoCompletedTrialError` at the
        end, if no trial is complete and nobody interrupted; `RefitError`, with the result, if
        the winner cannot be refitted or scored.
    """
    session = Session(study, folder)
    tracker = session.tracker()
    ledger = session.ledger(fresh=fresh)
    interrupt = interrupt or Interrupt()

    def finish(result: StudyResult) -> StudyResult:
        if result.stopped and not result.top(1):
            return result
        return _finish(
            result, session, ledger, interrupted=bool(interrupt.reason), reuse=reuse_refit
        )

    return conduct(
        session.search,
        ledger,
        info=session.info(ledger, artifacts or {}),
        trackers=(tracker, *observers),
        interrupt=interrupt,
        budget=Budget(study.n_trials, study.timeout, study.max_total_epochs),
        finish=finish,
    )


def _finish(
    result: StudyResult, session: Session, ledger: Ledger, *, interrupted: bool, reuse: bool
) -> StudyResult:
    """Refit the winner, open the sealed test part, once, and analyse what came of it."""
    best = result.best_record
    result = replace(result, resolved_params=session.space.resolve(best.best_params))
    if not session.study.refit or interrupted:
        return result
    known = ledger.noted("refit") or {}
    asked = {analysis.name for analysis in session.analyses}
    if reuse and known.get("number") == best.number and asked <= set(known.get("analyses", ())):
        return replace(result, **{k: v for k, v in known.items() if k != "number"})
    try:
        result = analysed(refitted(result, session), session)
    except RefitError as error:
        ledger.note("refit_error", {"number": best.number, "text": error.result.refit_error})
        raise
    names = ("test_score", "refit_epochs", "refit_seconds", "recommendation", "analyses")
    outcome = {name: getattr(result, name) for name in names}
    ledger.note("refit", {"number": best.number, **outcome})
    if ledger.noted("refit_error"):
        ledger.note("refit_error", None)
    return result
