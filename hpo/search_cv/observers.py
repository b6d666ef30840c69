"""Observers of the trials of an `HPOSearchCV`: failing fast, and scikit-learn's callbacks."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any

from hpo._stop_signal import StopSignal
from hpo.exceptions import HpoError
from hpo.executors import BaseExecutor
from hpo.observer import BaseObserver
from hpo.training.files import TrialFiles
from hpo.training.fold import Fold
from hpo.training.indexing import index_fit_params, take
from hpo.training.objective import Objective
from hpo.trial import Trial, TrialRecord, TrialState

__all__ = ["CallbackTasks", "FailFast", "WatchedObjective"]


class FailFast(BaseObserver):
    """Ends the search at the first trial that raises.

    Parameters
    ----------
    interrupt : StopSignal
        Used to end the search.
    """

    def __init__(self, interrupt: StopSignal) -> None:
        self._interrupt = interrupt
        self.failed: TrialRecord | None = None

    def on_trial_end(self, record: TrialRecord) -> None:
        """End the search if the trial raised."""
        raised = record.state is TrialState.FAILED and record.error is not None
        if raised and self.failed is None:
            self.failed = record
            self._interrupt.request(f"trial {record.number} failed and error_score='raise'")

    def error(self, executor: BaseExecutor) -> BaseException:
        """Return the exception of the failed trial, or an error that describes it."""
        assert self.failed is not None
        trial = self.failed.trial
        note = f"Trial {trial.number} failed with the parameters {dict(trial.params)}."
        error = executor.errors.get(trial.number)
        if error is None:  # it could not be sent to this process
            return HpoError(f"{note} {self.failed.reason}\n{self.failed.error}")
        if error.__traceback__ is None:
            note = f"{note} In its own process:\n{self.failed.error}"
        with suppress(Exception):  # the user's exception classes may do anything
            error.add_note(note)
        return error


class CallbackTasks(BaseObserver):
    """Reports the search to scikit-learn's callbacks (`set_callbacks`) as a tree of tasks.

    The tasks and their names are those of ``GridSearchCV``: the fit consists of a search, with a
    task for each fold of each trial, and a refit. Before scikit-learn 1.9 there are no callbacks,
    and nothing happens.

    Parameters
    ----------
    search : BaseSearchCV
        The search that is being fitted.
    **data : object
        ``X``, ``y`` and ``metadata`` for the callbacks.
    """

    def __init__(self, search: Any, **data: Any) -> None:
        self._search = search
        self._data = data
        self._fit: Any = None
        self._trials: Any = None
        self._folds: list[dict[str, Any]] = []
        self._running: dict[int, list[Any]] = {}
        self._open_tasks: dict[int, ExitStack] = {}
        self._n_left = math.inf
        self.hands_on = False
        """Whether the folds are trained in this process and call `hand_on`."""

    @contextmanager
    def fit(self) -> Iterator[None]:
        """Report the block as the fit."""
        if hasattr(self._search, "_init_callback_context"):
            n_tasks = 1 + (self._search.refit is not False)
            self._fit = self._search._init_callback_context(max_subtasks=n_tasks)
        with self._task(self._fit):
            yield

    @contextmanager
    def trials(self, n_trials: int | None, objective: Objective) -> Iterator[None]:
        """Report the block as the search, the parent task of the folds of the trials."""
        if self._fit is not None:
            self._n_left = math.inf if n_trials is None else n_trials
            self._folds = [self._fold_data(objective, rows) for rows, _ in objective.splits]
            self._trials = self._fit.subcontext(
                "search",
                max_subtasks=None if n_trials is None else n_trials * len(self._folds),
                sequential_subtasks=False,
            )
        with self._task(self._trials):
            yield

    def _fold_data(self, objective: Objective, rows: Any) -> dict[str, Any]:
        """Return the data of a fold for the callbacks, which is indexed on demand."""
        all_metadata = self._data["metadata"]
        metadata = (
            None
            if all_metadata is None
            else lambda: index_fit_params(all_metadata, rows, objective.X)
        )
        return {
            "X": lambda: take(objective.X, rows),
            "y": lambda: take(objective.y, rows),
            "metadata": metadata,
        }

    @contextmanager
    def refit(self) -> Iterator[Callable[[Any], AbstractContextManager[Any]]]:
        """Report the block as the refit; yield the context to fit the estimator in."""
        if self._fit is None:
            yield nullcontext
            return
        context = self._fit.subcontext("refit-with-best-params")
        with ExitStack() as stack:

            @contextmanager
            def within(estimator: Any) -> Iterator[None]:
                stack.enter_context(context.propagate_callback_context(estimator))
                context.call_on_fit_task_begin(estimator=self._search, **self._data)
                yield

            yield within
        context.call_on_fit_task_end(estimator=self._search, **self._data)

    @contextmanager
    def _task(self, context: Any) -> Iterator[None]:
        if context is not None:
            context.call_on_fit_task_begin(estimator=self._search, **self._data)
        yield
        if context is not None:
            context.call_on_fit_task_end(estimator=self._search, **self._data)

    def on_trial_start(self, record: TrialRecord) -> None:
        """Start the tasks of the trial's folds, unless it was trained by another study."""
        if self._trials is None or record.ended is not None:
            return
        self._n_left -= 1
        if self._n_left < 0:
            return  # a retried trial, for which the tree has no task
        first = record.number * len(self._folds)
        self._running[record.number] = [
            self._trials.subcontext("candidate-split-evaluation", task_id=first + i)
            for i in range(len(self._folds))
        ]
        self._open_tasks[record.number] = ExitStack()
        if not self.hands_on:
            for i in range(len(self._folds)):
                self._begin(record.number, i)

    def hand_on(self, number: int, fold: int, estimator: Any) -> None:
        """Start the task of a fold and propagate the callbacks to its estimator."""
        if number not in self._running:
            return
        context = self._running[number][fold]
        self._open_tasks[number].enter_context(context.propagate_callback_context(estimator))
        self._begin(number, fold)

    def _begin(self, number: int, fold: int) -> None:
        context, data = self._running[number][fold], self._folds[fold]
        context.call_on_fit_task_begin(estimator=self._search, **data)
        self._open_tasks[number].callback(
            context.call_on_fit_task_end, estimator=self._search, **data
        )

    def on_trial_end(self, record: TrialRecord) -> None:
        """End the tasks of the trial's folds."""
        self._running.pop(record.number, None)
        open_tasks = self._open_tasks.pop(record.number, None)
        if open_tasks is not None:
            open_tasks.close()


class WatchedObjective(Objective):
    """An objective that propagates scikit-learn's callbacks to the estimators of its folds.

    In another process it behaves like `Objective`.
    """

    tasks: CallbackTasks | None = None

    def _fold(
        self,
        trial: Trial,
        params: Mapping[str, Any],
        i: int,
        device: str | None,
        files: TrialFiles,
    ) -> Fold:
        fold = super()._fold(trial, params, i, device, files)
        if self.tasks is not None:
            self.tasks.hand_on(trial.number, i, fold.estimator)
        return fold

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "tasks": None}
