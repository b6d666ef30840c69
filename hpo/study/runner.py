"""Run a search: notify observers, run the trials, finish the winner and write the report."""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from hpo._private_parts import missing_parts
from hpo._redaction import redact
from hpo._scratch import new_folder
from hpo._stop_signal import StopSignal
from hpo._trained_by import format_trained_by
from hpo.budget import Budget
from hpo.exceptions import RefitError, StorageError
from hpo.observer import BaseObserver, StudyInfo
from hpo.out_of_fold_files import OUT_OF_FOLD, OutOfFoldFiles
from hpo.result import StudyResult
from hpo.storage.drivers import at_work
from hpo.storage.study_facts import BEST_TRIAL, files_folder, mode_of_files
from hpo.storage.trial_store import TrialStore
from hpo.storage.unsaved import is_unsaved
from hpo.study._adding import describe_additions
from hpo.study._checkpoints import CheckpointKeeper, checkpoint_files, note_on_resumed
from hpo.study._corrected import CORRECTED, corrected, read_corrected
from hpo.study._first_failures import FirstFailures
from hpo.study._notes import note_on_baseline, note_on_lost_reports, note_on_majority
from hpo.study._tracking import Tracking
from hpo.study.artifacts import artifacts
from hpo.study.finisher import Elsewhere
from hpo.study.kept_files import KeptFiles
from hpo.study.load import ENDING
from hpo.study.search import SearchConfig
from hpo.trackers import BaseTracker
from hpo.trackers.mlflow import without_autologging
from hpo.training.checkpointing import Checkpointing
from hpo.training.objective import Objective
from hpo.training.row_scores import study_rows
from hpo.trial import TRAINED_BY, TrialRecord
from hpo.trial_manager import TrialManager

__all__ = ["run_search"]

Finish = Callable[[StudyResult, Elsewhere], StudyResult]


def run_search(
    search: SearchConfig,
    store: TrialStore,
    *,
    info: StudyInfo,
    observers: Sequence[BaseObserver],
    interrupt: StopSignal,
    budget: Budget,
    finish: Finish,
    any_may_win: bool = False,
    fail_fast: int | None = None,
    tracker: BaseTracker | None = None,
) -> StudyResult:
    """Run ``search`` to the end of its budget, or go on with it.

    Parameters
    ----------
    search : SearchConfig
    store : TrialStore
        The storage of the search's trials.
    info : StudyInfo
        What the storage and the observers are told of the study.
    observers : sequence of BaseObserver
        Notified in order, and closed at the end.
    interrupt : StopSignal
        The caller listens to it (`StopSignal.listening`) until this function returns.
    budget : Budget
    finish : callable
        Called when the trials are over, with the result and with the trials that other drivers
        run then. Returns the result completed with the refitted winner; if it raises, the study
        ends as failed.
    any_may_win : bool, default=False
        Whether ``finish`` may choose another complete trial than the best one.
    fail_fast : int or None
        See `Study`.
    tracker : BaseTracker or None
        Follows the study from a process of its own.

    Raises
    ------
    NoCompletedTrialError
        If the first trials have all failed with one error.
    RefitError
        If ``finish`` raised it; its result also has the notes of the executor and the tracker.
    """
    notes: list[str] = []
    state = "failed"
    failure: RefitError | None = None
    result = StudyResult(name=store.name, records=())
    saved = store.url is not None and not is_unsaved(store.url)
    kept_files = KeptFiles(
        store.key if saved else None,
        search.keep,
        any_may_win=any_may_win or search.choose != "best",
    )
    tracking = Tracking(tracker, store, info)
    try:
        for observer in observers:
            observer.on_study_start(info)
        try:
            failures = FirstFailures(interrupt, fail_fast, search.space, store.records())
            told = (*observers, failures)
            with store.beating(), without_autologging():
                with _current_folder_kept():
                    result, elsewhere = _trials(
                        search, store, told, interrupt, budget, kept_files=kept_files
                    )
                if failures.stopped:
                    raise failures.error(result)
                if not (elsewhere or any_may_win):
                    result = _with_corrected(result, store)
                settings = {**info.params, **info.tags}
                result = finish(replace(result, settings=settings), elsewhere)
            state = "interrupted" if interrupt.reason else "complete"
        except RefitError as error:
            failure, result = error, error.result
        finally:
            hurried = interrupt.at_once
            X = getattr(search.objective, "X", None)
            notes.append(_end_study(result, info, observers, tracking, state, X=X, hurried=hurried))
    finally:
        report_notes = (
            note for record in result.records for r in record.all_reports for note in r.notes
        )
        closing_notes = [observer.close() for observer in (*observers, kept_files)]
        closing_notes.append(tracking.close(interrupt))
        if search.objective.checkpointing is not None:
            notes.append(search.objective.checkpointing.off)
        notes += [*search.notes, *store.notes, result.winner_note(), *dict.fromkeys(report_notes)]
        notes.append(note_on_resumed(result.records))
        if not search.backend.prunes_itself:  # whose trials may skip a step of another's
            notes.append(note_on_lost_reports(result.records))
        notes += [
            *search.executor.notes,
            note_on_majority(result, search.objective),
            note_on_baseline(result, search.own_settings),
            *closing_notes,
        ]
        notes += missing_parts()
    result = replace(result, notes=tuple(redact(note) for note in dict.fromkeys(notes) if note))
    if saved:
        with suppress(StorageError):  # the study is over: what is told of it is in the result too
            store.set_attr(ENDING, {"stopped": result.stopped, "notes": list(result.notes)})
    if failure is not None:
        failure.result = result
        raise failure
    return result


@contextmanager
def _current_folder_kept() -> Iterator[None]:
    """Return to the current folder after the block: code of the user's may change it."""
    try:
        folder = Path.cwd()
    except OSError:  # it has been removed
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            os.chdir(folder)


def _trials(
    search: SearchConfig,
    store: TrialStore,
    trackers: Sequence[BaseObserver],
    interrupt: StopSignal,
    budget: Budget,
    *,
    kept_files: KeptFiles,
) -> tuple[StudyResult, Elsewhere]:
    """Run the trials; return what came of them, and which ones other drivers run then."""
    keeper = _checkpointed(search, store) if kept_files.is_saved else None
    stale = store.fail_stale_trials()
    added = [r for addition in search.additions for r in store.add(addition.records, addition.key)]
    note = describe_additions(search.additions, len(added))
    search.notes += [note] if note else []
    out_of_fold = _out_of_fold(search, store)
    search.objective.keeps_rows = out_of_fold is not None
    search.objective.races = search.races
    manager = TrialManager(
        store,
        search.pruner,
        budget,
        interrupt,
        observers=(kept_files, *([keeper] if keeper else []), *trackers),
        costs=search.costs,
        select=search.select,
        max_steps=search.objective.max_steps,
        out_of_fold=out_of_fold,
    )
    kept_files.begin(manager.records)
    search.objective.home, search.objective.keeps_all = kept_files.home, kept_files.keeps_all
    for record in stale:
        for tracker in trackers:
            tracker.on_trial_end(record)
    for record in added:
        _replay(record, trackers)
    store.enqueue(search.enqueue)
    if search.grid is not None:
        store.set_grid(search.grid)
    if keeper:
        keeper.sweep(store.records(running=True))
    began = time.perf_counter()
    with at_work(store.driver), search.executor as executor:
        executor.limits = manager.limits
        stopped = search.backend.run(manager, executor)
    # In this order: a trial that has ended elsewhere in between is among the records.
    elsewhere = Elsewhere(store)
    manager.learn()
    if keeper:
        keeper.sweep(store.records(running=True))
    seconds = store.get_attr("seconds") or 0.0
    if manager.n_begun or not seconds:  # to find that nothing is left to do is no searching
        seconds += time.perf_counter() - began
        store.set_attr("seconds", seconds)
    result = StudyResult(
        name=store.name,
        records=manager.records,
        seconds=seconds,
        stopped=stopped,
        key=store.key,
        fingerprint=search.safe_fingerprint,
        out_of_fold=out_of_fold,
        space=search.space,
        **search.shown,
    )
    search.notes += [out_of_fold.note] if out_of_fold and out_of_fold.note else []
    winner = result.winner.number if result.winner else None
    return replace(result, files=kept_files.finalize(manager.numbers, winner)), elsewhere


def _with_corrected(result: StudyResult, store: TrialStore) -> StudyResult:
    """Return the result with the corrected score of its winner, which is stored."""
    found = corrected(result)
    store.set_attr(CORRECTED, found if isinstance(found, str) else asdict(found))
    return replace(result, **read_corrected(found))


def _out_of_fold(search: SearchConfig, store: TrialStore) -> OutOfFoldFiles | None:
    """Return where the out-of-fold predictions are kept; None if they are not."""
    if not search.out_of_fold_mb or not isinstance(search.objective, Objective):
        return None
    saved = store.url is not None and not is_unsaved(store.url)
    folder, mode = (files_folder(store), mode_of_files(store)) if saved else (new_folder(), 0o700)
    return OutOfFoldFiles(
        folder / OUT_OF_FOLD,
        partial(study_rows, search.objective),
        mode=mode,
        budget=int(search.out_of_fold_mb * 1e6),
    )


def _checkpointed(search: SearchConfig, store: TrialStore) -> CheckpointKeeper | None:
    """Have the trainings of a search put aside on their way; return who removes the checkpoints."""
    if search.checkpoint_every is None:
        return None
    if search.backend.prunes_itself:
        search.notes.append(
            "no training is put aside on its way: Ray's schedulers begin anew with each run"
        )
        return None
    try:
        files = checkpoint_files(store, search.safe_fingerprint)
    except (OSError, ValueError) as error:
        search.notes.append(f"no training is put aside on its way: {error}")
        return None
    store.checkpoints = files
    every = search.checkpoint_every
    seconds = None if isinstance(every, str) else every
    search.objective.checkpointing = Checkpointing(files, seconds)
    return CheckpointKeeper(files)


def _replay(record: TrialRecord, trackers: Sequence[BaseObserver]) -> None:
    """Send all events of a trial that had ended before the trackers were notified of it."""
    for tracker in trackers:
        tracker.on_trial_start(record)
        for report in record.screening:
            tracker.on_screening(record, report)
        for report in record.reports:
            tracker.on_report(record, report)
        tracker.on_trial_end(record)


def _end_study(
    result: StudyResult,
    info: StudyInfo,
    observers: Sequence[BaseObserver],
    tracking: Tracking,
    state: str,
    *,
    X: Any,
    hurried: bool = False,
) -> str:
    """Tell the storage and the observers; return a note, empty if all files could be written."""
    metrics, params = _summary(result)
    keeps_artifacts = any(getattr(part, "keeps_artifacts", False) for part in observers)
    report = (keeps_artifacts or tracking.keeps_files) and not hurried
    model = report or (tracking.keeps_model and not hurried)
    with artifacts(result, info, X, report=report, model=model) as (files, note):
        tracking.end(metrics, params, files, state, finished=not result.finished_by)
        for observer in observers:
            observer.on_study_end(metrics, params, files, state=state)
    return note


def _summary(result: StudyResult) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the metrics and params of the study's parent run."""
    metrics = {
        "n_trials": result.n_trials,
        "n_complete": result.n_complete,
        "n_pruned": result.n_pruned,
        "n_failed": result.n_failed,
        "n_interrupted": result.n_interrupted,
        "epochs_saved_fraction": result.epochs_saved_fraction,
    }
    params: dict[str, Any] = {}
    if result.trained_by:
        params[TRAINED_BY] = format_trained_by(result.trained_by)
    if result.winner is None:
        return metrics, params
    metrics |= {"best_score": result.best_score, "best_score_se": result.best_score_se}
    if result.corrected is not None:
        low, high = result.corrected.interval
        metrics["corrected_score"] = result.corrected.value
        metrics |= {"corrected_score_low": low, "corrected_score_high": high}
    if result.nested:
        metrics |= {"nested_score": result.nested_score, "nested_score_se": result.nested_score_se}
    if result.test_score is not None:
        metrics["test_score"] = result.test_score
    if result.test_interval is not None and all(map(math.isfinite, result.test_interval)):
        low, high = result.test_interval
        metrics |= {"test_score_low": low, "test_score_high": high}
    for name, analysis in result.analyses.items():
        numbers = {key: value for key, value in analysis.items() if isinstance(value, int | float)}
        metrics |= {f"{name}_{key}": value for key, value in numbers.items()}
    params[BEST_TRIAL] = result.winner.number
    params |= {f"best_{name}": value for name, value in result.best_params.items()}
    return metrics, params
