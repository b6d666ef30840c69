"""One run of a study, from the first trial to the report."""

import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle

from hpo._interrupt import Interrupt
from hpo.backends._base import Budget
from hpo.backends._ledger import Ledger
from hpo.result import StudyResult
from hpo.review import write_report
from hpo.scheduler import TrialScheduler
from hpo.study._session import Session
from hpo.study._study import Study
from hpo.trackers import BaseTracker
from hpo.training._threads import devices, limit_threads
from hpo.training.refit import refit
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
    ledger = session.ledger(fresh=fresh)
    return _Run(session, ledger, observers, interrupt or Interrupt(), reuse_refit).go(
        artifacts or {}
    )


class _Run:
    """One run of a study, from the first trial to the report."""

    def __init__(
        self,
        session: Session,
        ledger: Ledger,
        observers: Sequence[BaseTracker],
        interrupt: Interrupt,
        reuse_refit: bool,
    ) -> None:
        self._session = session
        self._study = session.study
        self._ledger = ledger
        self._trackers = (session.tracker(), *observers)
        self._interrupt = interrupt
        self._reuse = reuse_refit

    def go(self, artifacts: Mapping[str, str]) -> StudyResult:
        """Run, and hand over what the trackers hold back, whatever happens."""
        notes: list[str] = []
        try:
            result = self._go(artifacts)
        finally:
            notes += [tracker.close() for tracker in self._trackers]
        return replace(result, notes=tuple(note for note in notes if note))

    def _go(self, artifacts: Mapping[str, str]) -> StudyResult:
        info = self._session.info(self._ledger, artifacts)
        for tracker in self._trackers:
            tracker.study_started(info)
        state = "failed"
        result = StudyResult(name=self._ledger.name, records=())
        try:
            with self._interrupt.listening():
                result = self._search()
                if not result.stopped or result.top(1):
                    result = self._finish(result)
            state = "interrupted" if self._interrupt.reason else "complete"
        finally:
            self._end(result, state)
        return result

    def _search(self) -> StudyResult:
        ledger, study = self._ledger, self._study
        settled = ledger.settle()
        scheduler = TrialScheduler(self._session.pruner, self._trackers, ledger.records())
        for record in settled:
            for tracker in self._trackers:
                tracker.trial_ended(record)
        ledger.enqueue(study.enqueue)
        if self._session.grid is not None:
            ledger.limit_to(self._session.grid)
        budget = Budget(study.n_trials, study.timeout, study.max_total_epochs)
        began = time.perf_counter()
        with self._session.executor as executor:
            stopped = self._session.backend.run(
                ledger, scheduler, executor, budget, self._interrupt
            )
        seconds = time.perf_counter() - began + (ledger.noted("seconds") or 0.0)
        ledger.note("seconds", seconds)
        return StudyResult(
            name=ledger.name,
            records=scheduler.records,
            scoring=self._session.score_name,
            seconds=seconds,
            stopped=stopped,
        )

    def _finish(self, result: StudyResult) -> StudyResult:
        """Refit the winner and open the sealed test part, once."""
        best = result.best_record
        result = replace(result, resolved_params=self._session.space.resolve(best.trial.params))
        if not self._study.refit or self._interrupt.reason:
            return result
        known = self._ledger.noted("refit") or {}
        if self._reuse and known.get("number") == best.number:
            return replace(result, **{k: v for k, v in known.items() if k != "number"})
        result = self._refit(result)
        outcome = {
            name: getattr(result, name) for name in ("test_score", "refit_epochs", "refit_seconds")
        }
        self._ledger.note("refit", {"number": best.number, **outcome})
        return result

    def _refit(self, result: StudyResult) -> StudyResult:
        session, study, data = self._session, self._study, self._session.data
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
                fit_params=session.objective.fit_params if all_rows else {},
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
        )

    def _report(self, result: StudyResult, folder: Path) -> dict[str, Path]:
        """Write the report and the plots; a study is not lost for want of a picture."""
        if not result.records:
            return {}
        info = self._session.info(self._ledger, {})
        try:
            return write_report(result, folder, settings={**info.params, **info.tags})
        except Exception:
            path = folder / "report_error.txt"
            path.write_text(traceback.format_exc())
            return {path.name: path}

    def _end(self, result: StudyResult, state: str) -> None:
        metrics, params = _summary(result)
        with tempfile.TemporaryDirectory(prefix="hpo-") as folder:
            files = self._report(result, Path(folder))
            if result.estimator is not None:
                path = Path(folder) / "model.pkl"
                path.write_bytes(cloudpickle.dumps(result.estimator))
                files["model.pkl"] = path
            for tracker in self._trackers:
                tracker.study_ended(metrics, params, files, state=state)


def _summary(result: StudyResult) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the metrics and params of the study's parent run."""
    metrics = {
        "n_trials": result.n_trials,
        "n_complete": result.n_complete,
        "n_pruned": result.n_pruned,
        "n_failed": result.n_failed,
        "epochs_saved_fraction": result.epochs_saved_fraction,
    }
    if not result.top(1):
        return metrics, {}
    metrics |= {"best_score": result.best_score, "best_score_se": result.best_score_se}
    if result.test_score is not None:
        metrics["test_score"] = result.test_score
    params = {f"best_{name}": value for name, value in result.best_params.items()}
    return metrics, params
