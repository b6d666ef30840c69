"""One run of a study, from the first trial to the report."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hpo._interrupt import Interrupt
from hpo.backends._base import Budget
from hpo.backends._ledger import Ledger
from hpo.result import StudyResult
from hpo.study._conduct import conduct
from hpo.study._session import Session
from hpo.study._study import Study
from hpo.trackers import BaseTracker
from hpo.training._threads import devices, limit_threads
from hpo.training.refit import recommendation_of, refit
from hpo.training.scoring import Scoring
from hpo.trial import derive_seed

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
        end, if no trial is complete and nobody interrupted.
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
    """Refit the winner and open the sealed test part, once."""
    best = result.best_record
    result = replace(result, resolved_params=session.space.resolve(best.best_params))
    if not session.study.refit or interrupted:
        return result
    known = ledger.noted("refit") or {}
    if reuse and known.get("number") == best.number:
        return replace(result, **{k: v for k, v in known.items() if k != "number"})
    result = _refit(result, session)
    outcome = {
        name: getattr(result, name)
        for name in ("test_score", "refit_epochs", "refit_seconds", "recommendation")
    }
    ledger.note("refit", {"number": best.number, **outcome})
    return result


def _refit(result: StudyResult, session: Session) -> StudyResult:
    study, data = session.study, session.data
    all_rows = data.X_refit is None
    device = devices(study.device)[0]
    began = time.perf_counter()
    with limit_threads(study.n_threads):
        estimator = refit(
            study.estimator,
            result.resolved_params or {},
            data.X if all_rows else data.X_refit,
            data.y if all_rows else data.y_refit,
            n_steps=result.best_step,
            seed=derive_seed(study.seed, "refit"),
            epochs=study.epochs,
            eval_every=study.eval_every,
            fit_params=session.search.objective.fit_params if all_rows else {},
            device=device,
        )
        seconds = time.perf_counter() - began
        test_score = None
        if data.X_test is not None:
            scoring = Scoring(estimator, study.scoring, study.metric)
            scores = scoring(estimator, data.X_test, data.y_test)
            test_score = scores[scoring.main(scores)]
    return replace(
        result,
        estimator=estimator,
        refit_epochs=result.best_step,
        refit_seconds=seconds,
        test_score=test_score,
        recommendation=recommendation_of(estimator),
    )
