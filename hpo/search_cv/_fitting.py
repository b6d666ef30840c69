"""One fit of an `HPOSearchCV`: prepare its study, run it, and refit the winner."""

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from hpo._stop_signal import StopSignal
from hpo._winner import N_FINALISTS
from hpo.data import StudyData
from hpo.exceptions import StudyError
from hpo.executors.serial import SerialExecutor
from hpo.observer import BaseObserver
from hpo.result import StudyResult
from hpo.search_cv._definition import definition_of
from hpo.search_cv._found import set_found
from hpo.search_cv.deprecations import warn_of_cut_grid, warn_of_cut_off, warn_of_failures
from hpo.search_cv.observers import CallbackTasks, FailFast, WatchedObjective
from hpo.storage.drivers import name_of
from hpo.storage.trial_store import TrialStore
from hpo.study.finalists import with_finalists
from hpo.study.finisher import Elsewhere, Finisher
from hpo.study.opening import FOR_SEARCHES, Allowed
from hpo.study.prepared import FitSettings, PreparedStudy
from hpo.study.runner import run_search
from hpo.study.winner import finish_winner
from hpo.trial import TrialState

__all__ = ["prepare", "run"]


def prepare(search: Any, data: StudyData, routed: Any) -> PreparedStudy:
    """Return the study of a search; everything is checked, nothing is created.

    Parameters
    ----------
    search : HPOSearchCV
    data : StudyData
    routed : Bunch
        The parameters of ``fit`` for the estimator, the splitter and the scorer.
    """
    settings = FitSettings(
        fit_params=routed.estimator.fit,
        score_params=routed.scorer.score,
        split_params=routed.splitter.split,
        return_train_score=search.return_train_score,
        shuffle=False,
        objective_class=WatchedObjective,
    )
    prepared = PreparedStudy(definition_of(search, data), settings=settings)
    _check_budget(prepared)
    return prepared


def _check_budget(prepared: PreparedStudy) -> None:
    study, grid = prepared.study, prepared.search.grid
    limits = (prepared.search.n_points, study.n_trials, study.timeout, study.max_total_epochs)
    if all(limit is None for limit in limits):
        raise StudyError(
            "n_trials=None, timeout=None and max_total_epochs=None would search for ever: give one "
            "of them a value."
        )
    if grid is not None and study.n_trials is not None and len(grid) > study.n_trials:
        warn_of_cut_grid(len(grid), study.n_trials)


def run(search: Any, prepared: PreparedStudy, tasks: CallbackTasks) -> StudyResult:
    """Run the study of a search, set what is found as its attributes, and refit the winner.

    Parameters
    ----------
    search : HPOSearchCV
    prepared : PreparedStudy
    tasks : CallbackTasks
        Reports the trials and the refit to scikit-learn's callbacks.

    Raises
    ------
    NoCompletedTrialError, RefitError
    """
    study, config = prepared.study, prepared.search
    interrupt = StopSignal()
    failures = FailFast(interrupt)
    raises = search.error_score == "raise"
    tracker = None if study.tracker == "null" else prepared.tracker()
    observers: list[BaseObserver] = [tasks]
    if raises:
        observers.append(failures)
    n_trials = min((n for n in (study.n_trials, config.n_points) if n is not None), default=None)
    objective = config.objective
    if isinstance(objective, WatchedObjective) and type(config.executor) is SerialExecutor:
        objective.tasks, tasks.hands_on = tasks, True
    with interrupt.listening():
        tracked = tracker is not None and bool(tracker.target)
        store = _begin(search, prepared, quotes=not raises, tracked=tracked)
    if search.verbose:
        observers.append(_printer(search, prepared, store, n_trials))
    finisher = Finisher(store)
    with ExitStack() as searching, interrupt.listening():
        searching.enter_context(tasks.trials(n_trials, objective))

        def finish(result: StudyResult, elsewhere: Elsewhere) -> StudyResult:
            searching.close()
            if failures.failed is not None:
                raise failures.error(config.executor)
            if interrupt.reason and result.winner is None:
                raise KeyboardInterrupt(f"{interrupt.reason}: no trial is complete.")
            warn_of_failures(result, search.error_score)
            warn_of_cut_off(result, interrupt.reason)
            result = with_finalists(result, prepared, store, interrupt)
            result, record = set_found(search, result, config.objective)
            if elsewhere:
                config.notes.append(elsewhere.note_of_search)
                result = replace(result, finished_by=elsewhere.drivers)
            if record is None or not study.refit:
                return result
            with ExitStack() as refitting:
                if not elsewhere:
                    other, _ = refitting.enter_context(finisher.claim(record.number))
                    result = replace(result, finished_by=name_of(other) if other else "")
                return finish_winner(
                    result,
                    record,
                    prepared,
                    store,
                    interrupt=interrupt,
                    advice=_advice(search),
                    keeps=not result.finished_by,
                    within=refitting.enter_context(tasks.refit()),
                )

        return run_search(
            config,
            store,
            info=prepared.info(store, {}),
            observers=observers,
            tracker=tracker,
            interrupt=interrupt,
            budget=prepared.budget(),
            finish=finish,
            any_may_win=callable(search.refit),
            fail_fast=study.fail_fast,
        )


def _printer(
    search: Any, prepared: PreparedStudy, store: TrialStore, n_trials: int | None
) -> BaseObserver:
    """Return what prints the trials; it needs rich, which silent searches do not load."""
    from hpo.display.progress import Plan
    from hpo.search_cv.printer import Printer

    study = prepared.study
    earlier = tuple(r for r in store.records() if r.state is not TrialState.RUNNING)
    n_finalists = N_FINALISTS if study.choose == "finalists" else 0
    plan = Plan(
        n_trials, study.timeout, study.max_total_epochs, earlier, bool(study.refit), n_finalists
    )
    return Printer(plan, search.verbose)


def _begin(search: Any, prepared: PreparedStudy, *, quotes: bool, tracked: bool) -> TrialStore:
    """Open the search's storage; see `SearchConfig.begin`."""
    study, config = prepared.study, prepared.search
    if (search.extend or search.accept_code) and not (search.study_name and search.storage):
        raise StudyError(
            "extend and accept_code go on with a study under its name: give a storage and a "
            "study_name."
        )
    derived = search.storage and not search.study_name
    return config.begin(
        config.default_name() if derived else study.name,
        study.storage,
        allowed=Allowed(search.extend, search.accept_code, FOR_SEARCHES),
        quotes=quotes,
        tracked=tracked,
    )


def _advice(search: Any) -> str:
    """Return for a failed refit what is set, and how to continue."""
    consequence = ", which trains no trial anew" if search.storage else ""
    return (
        "The search is kept: `result_`, `cv_results_` and `best_params_` are set. Mend what "
        f"failed and fit again{consequence}, or leave the refit out (refit=False)."
    )
