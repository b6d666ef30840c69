"""Who else hears of the trials of an `HPOSearchCV`: the terminal, and scikit-learn's callbacks."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from hpo._interrupt import Interrupt
from hpo.exceptions import HpoError
from hpo.executors import BaseExecutor
from hpo.trackers import BaseTracker
from hpo.trial import Report, TrialRecord, TrialState

__all__ = ["CallbackTasks", "FailFast", "Printer"]


class Printer(BaseTracker):
    """Prints a line for each trial that ended.

    Parameters
    ----------
    n_trials : int or None
        How many there will be, if that is known.
    steps : bool
        Print each step too.
    """

    def __init__(self, n_trials: int | None, *, steps: bool) -> None:
        self._of = "" if n_trials is None else f"/{n_trials}"
        self._steps = steps

    def trial_reported(self, record: TrialRecord, report: Report) -> None:
        """Print the step."""
        if self._steps:
            print(f"[trial {record.number + 1}{self._of}] step {report.step}: {report.value:.4f}")

    def trial_ended(self, record: TrialRecord) -> None:
        """Print how the trial ended."""
        best = record.best_report
        told = [str(record.state)]
        if best is not None:
            told.append(f"score {best.value:.4f} at step {best.step}")
        if record.reason:
            told.append(f"({record.reason})")
        params = ", ".join(f"{name}={value}" for name, value in sorted(record.trial.params.items()))
        seconds = sum(report.seconds for report in record.reports)
        head = f"[trial {record.number + 1}{self._of}] {' '.join(told)}"
        print(f"{head}; {seconds:.1f} s; {params}")


class FailFast(BaseTracker):
    """Ends the search at the first trial that raises.

    Parameters
    ----------
    interrupt : Interrupt
        Asked to end it.
    """

    def __init__(self, interrupt: Interrupt) -> None:
        self._interrupt = interrupt
        self.failed: TrialRecord | None = None

    def trial_ended(self, record: TrialRecord) -> None:
        """Look at how the trial ended."""
        raised = record.state is TrialState.FAILED and record.error is not None
        if raised and self.failed is None:
            self.failed = record
            self._interrupt.request(f"trial {record.number} failed and error_score='raise'")

    def error(self, executor: BaseExecutor) -> BaseException:
        """Return what the failed trial raised, or an error that tells of it."""
        assert self.failed is not None
        trial = self.failed.trial
        told = f"Trial {trial.number} failed with the parameters {dict(trial.params)}."
        error = executor.errors.get(trial.number)
        if error is None:  # it cannot be carried here
            return HpoError(f"{told} {self.failed.reason}\n{self.failed.error}")
        if error.__traceback__ is None:
            told = f"{told} In its own process:\n{self.failed.error}"
        with suppress(Exception):  # an error of the user's may be of any make
            error.add_note(told)
        return error


class CallbackTasks(BaseTracker):
    """Tells scikit-learn's callbacks (`set_callbacks`) of the search as a tree of tasks.

    The fit has two: ``search``, in which each trial is one, and ``refit``. The callbacks are
    not handed on to the estimator, which is trained a step at a time and maybe elsewhere.
    Before scikit-learn 1.9 there are none, and nothing happens.

    Parameters
    ----------
    search : BaseSearchCV
        What is fitted.
    n_trials : int or None
    data : object
        ``X``, ``y`` and ``metadata``, as the callbacks are told them.
    """

    def __init__(self, search: Any, n_trials: int | None, **data: Any) -> None:
        self._search = search
        self._n_trials = n_trials
        self._data = data
        self._fit: Any = None
        self._trials: Any = None
        self._running: dict[int, Any] = {}

    @contextmanager
    def fit(self) -> Iterator[None]:
        """Take the block as the fit."""
        if hasattr(self._search, "_init_callback_context"):
            self._fit = self._search._init_callback_context(max_subtasks=2)
        with self._task(self._fit):
            yield

    @contextmanager
    def trials(self) -> Iterator[None]:
        """Take the block as the search, to which the trials belong."""
        if self._fit is not None:
            self._trials = self._fit.subcontext(
                "search", max_subtasks=self._n_trials, sequential_subtasks=False
            )
        with self._task(self._trials):
            yield

    @contextmanager
    def refit(self) -> Iterator[None]:
        """Take the block as the refit."""
        with self._task(None if self._fit is None else self._fit.subcontext("refit")):
            yield

    @contextmanager
    def _task(self, context: Any) -> Iterator[None]:
        if context is not None:
            context.call_on_fit_task_begin(estimator=self._search, **self._data)
        yield
        if context is not None:
            context.call_on_fit_task_end(estimator=self._search, **self._data)

    def trial_started(self, record: TrialRecord) -> None:
        """Begin the trial's task."""
        if self._trials is not None:
            task = self._trials.subcontext("trial", task_id=record.number)
            self._running[record.number] = task
            task.call_on_fit_task_begin(estimator=self._search, **self._data)

    def trial_ended(self, record: TrialRecord) -> None:
        """End the trial's task."""
        task = self._running.pop(record.number, None)
        if task is not None:
            task.call_on_fit_task_end(estimator=self._search, **self._data)
