"""The result of a study: its trials, the best one, and its refit."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import le
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo._cv_results import cv_results
from hpo._endings import failure_summary, none_completed
from hpo._result_shown import html_of, text_of
from hpo._stored_model import MissingModel, StoredModel
from hpo._trained_by import count_ways
from hpo._winner import winner_of
from hpo.exceptions import NoCompletedTrialError
from hpo.out_of_fold import OutOfFold
from hpo.out_of_fold_files import OutOfFoldFiles
from hpo.statistics.paired import corrected_resampled_se
from hpo.statistics.selection_bias import CorrectedScore
from hpo.trial import TRAINED_BY, TrialRecord, TrialState

if TYPE_CHECKING:
    import pandas as pd

    from hpo.space import SearchSpace

__all__ = ["StudyResult"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StudyResult:
    """The outcome of a study, finished or still running.

    Parameters
    ----------
    name : str
        Name of the study.
    records : tuple of TrialRecord
        Every trial, in the order of their numbers.
    scoring : str, default="score"
        Name of the score, for tables and plots.
    resolved_params : mapping of str to object or None, default=None
        The winner's parameters as the estimator takes them (classes instead of dotted
        paths); None until the driver has resolved them.
    refitted : object, default=None
        The winner refitted, or a `StoredModel` that loads it; see `estimator`.
    refit_trial : int or None, default=None
        Number of the trial that was refitted in this run; None without a refit.
    refit_epochs : int or None, default=None
        Maximal epochs of the refit; early stopping may have ended it before.
    refit_seconds : float or None, default=None
        Wall time of the refit.
    refit_error : str, default=""
        Traceback if the refit, or a step after it, failed; empty otherwise.
    test_score : float or None, default=None
        The refitted winner's score on the held-out test part; None without one.
    test_interval : (float, float) or None, default=None
        Interval of 95 % of ``test_score``, over the rows of the held-out test part; nan where it
        is not known.
    recommendation : str, default=""
        How to use the refitted winner, as it describes itself (a line of code).
    seconds : float or None, default=None
        Wall time of the search, without the refit, over all its runs.
    stopped : str, default=""
        Why the search ended before all trials of its budget were run; empty if it did not.
    notes : tuple of str, default=()
        Notes of the trials, the executor and the trackers.
    costs : tuple of str, default=()
        What was minimized while the score was maximized; see `TrialRecord.cost`.
    compare, watch : tuple of str, default=()
        Parameters whose values are compared, and metrics that are displayed with the score.
    fold_sizes : tuple of (int, int), default=()
        Training and validation samples of each fold.
    analyses : mapping of str to dict, default={}
        Result of each analysis of the refitted winner by name; an ``error`` if it failed.
    enqueued : tuple of mapping, default=()
        Parameters that were tried first; see `enqueued_trials`.
    key : str, default=""
        Distinguishes the study from others of the same name.
    fingerprint : mapping, default={}
        What the scores depend on, part by part; empty if unknown.
    files : mapping of int to Path, default={}
        Folders with the files that callbacks wrote (``fold_0/params.pt``), by the trial's number:
        the winner's, or all that the study keeps. Without a storage they are removed with the
        process. Empty if nothing was written, or on another machine.
    choose : {"best", "one_se", "finalists"}, default="best"
        How the winner is chosen; see `Study`.
    finalists : mapping of int to sequence of float, default={}
        Scores of the best trials on fresh folds, by number; empty unless they choose the winner.
    corrected : CorrectedScore or None, default=None
        What the winner would score on new rows, corrected for having been chosen; see
        `hpo.statistics.selection_bias`. None if it cannot be told.
    uncorrected : str, default=""
        Why there is no ``corrected``.
    nested : tuple of float, default=()
        Scores of the outer folds of nested cross-validation; see `Study`.
    out_of_fold : OutOfFoldFiles or None, default=None
        Where the out-of-fold predictions are; see `oof`.
    finished_by : str, default=""
        The other processes to one of which this one has left the refit of the winner, because
        they run trials of the same study; empty if this one has finished the study.
    silent_trials : tuple of int, default=()
        Numbers of the trials that run on machines of which there was no sign for minutes.
    space : SearchSpace or None, default=None
        The space that was searched; None if it is not known.
    settings : mapping of str to object, default={}
        Settings of the study (backend, sampler, pruner, seed, ...) and the versions that it was
        run with.
    """

    name: str
    records: tuple[TrialRecord, ...]
    scoring: str = "score"
    resolved_params: Mapping[str, Any] | None = None
    refitted: Any = None
    refit_trial: int | None = None
    refit_epochs: int | None = None
    refit_seconds: float | None = None
    refit_error: str = ""
    test_score: float | None = None
    test_interval: tuple[float, float] | None = None
    recommendation: str = ""
    seconds: float | None = None
    stopped: str = ""
    notes: tuple[str, ...] = ()
    costs: tuple[str, ...] = ()
    compare: tuple[str, ...] = ()
    watch: tuple[str, ...] = ()
    fold_sizes: tuple[tuple[int, int], ...] = ()
    analyses: Mapping[str, Any] = field(default_factory=dict)
    enqueued: tuple[Mapping[str, Any], ...] = ()
    files: Mapping[int, Path] = field(default_factory=dict)
    key: str = ""
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    choose: str = "best"
    finalists: Mapping[int, Sequence[float]] = field(default_factory=dict)
    corrected: CorrectedScore | None = None
    uncorrected: str = ""
    nested: tuple[float, ...] = ()
    out_of_fold: OutOfFoldFiles | None = None
    finished_by: str = ""
    silent_trials: tuple[int, ...] = ()
    space: "SearchSpace | None" = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return text_of(self)

    def _repr_html_(self) -> str:
        return html_of(self)

    @cached_property
    def estimator(self) -> Any:
        """The winner refitted; None if this run has not refitted it.

        Of a study that was read back, it is loaded now, from the pickle beside the storage: that
        runs the code in it, and takes what the estimator takes, such as torch.

        Raises
        ------
        StorageError
            If a study that was read back has kept no model here (the message says why and what
            to do), its pickle cannot be loaded, or another user may have written it.
        """
        refitted = self.refitted
        is_stored = isinstance(refitted, StoredModel | MissingModel)
        return refitted.load() if is_stored else refitted

    @cached_property
    def winner(self) -> TrialRecord | None:
        """The complete trial with the greatest score, the earliest in a tie; None without one.

        Another rule may choose it; see `choose`.

        If no trial is complete, it is the best one that ended because the budget was spent.
        """
        winner = winner_of(self.top(len(self.records)), self.choose, self.finalists)
        if winner is not None:
            return winner
        cut_off = [r for r in self.records if r.out_of_budget and r.best_report]
        return min(cut_off, key=lambda record: (-record.value, record.number), default=None)

    @property
    def best_record(self) -> TrialRecord:
        """The `winner`.

        Raises
        ------
        NoCompletedTrialError
            If there is none; the message says how the trials ended.
        """
        winner = self.winner
        if winner is None:
            raise NoCompletedTrialError(none_completed(self.name, self.records))
        return winner

    def winner_note(self) -> str:
        """Return a note if the `winner` is not complete; empty if it is."""
        winner = self.winner
        if winner is None or winner.state is TrialState.COMPLETE:
            return ""
        total = f" of its {winner.max_steps}" if winner.max_steps else ""
        return (
            f"No trial is complete: {winner.reason}. The "
            f"winner, trial {winner.number}, made {winner.last_step}{total} steps: the best of "
            "them is taken. Give more time."
        )

    @property
    def best_params(self) -> dict[str, Any]:
        """The winner's parameters as the storage keeps them."""
        return self.best_record.best_params

    @property
    def best_score(self) -> float:
        """The winner's cross-validated score: the mean over folds at `best_step`."""
        return self.best_record.value

    @property
    def best_step(self) -> int:
        """The step (epoch) whose score represents the winner: its best one, or its last.

        See `select`. How long a refit trains is `TrialRecord.refit_steps`.
        """
        report = self.best_record.best_report
        return report.step if report else 0

    @property
    def select(self) -> str:
        """Which step's score represents a trial: ``"best"`` or ``"last"``."""
        return self.records[0].select if self.records else "best"

    @property
    def best_score_se(self) -> float:
        """Standard error of `best_score` over the folds: ``std(ddof=1) / sqrt(n_folds)``.

        nan with one fold. Training parts of folds overlap, so it is somewhat too small
        (Bengio and Grandvalet 2004).
        """
        report = self.best_record.best_report
        values = report.fold_values if report else ()
        if len(values) < 2:
            return math.nan
        return float(np.std(values, ddof=1) / math.sqrt(len(values)))

    @property
    def nested_score(self) -> float:
        """Mean score of the outer folds of nested cross-validation; nan without them."""
        return sum(self.nested) / len(self.nested) if self.nested else math.nan

    @property
    def nested_score_se(self) -> float:
        """Standard error of `nested_score`; nan without outer folds.

        The outer folds share training rows, which is corrected for (Nadeau and Bengio 2003).
        """
        return corrected_resampled_se(self.nested)

    @property
    def corrected_score(self) -> float:
        """What the winner would score on new rows; nan if that cannot be told. See `corrected`."""
        return math.nan if self.corrected is None else self.corrected.value

    def oof(self, number: int | None = None) -> OutOfFold:
        """Return the out-of-fold predictions of a complete trial, by default the winner's.

        Raises
        ------
        KeyError
            If they are not kept: the trial is not complete, or was run on another machine, or its
            predictions were removed in favour of better trials' (``out_of_fold_mb``).
        """
        number = self.best_record.number if number is None else number
        if self.out_of_fold is None:
            raise KeyError("No out-of-fold predictions are kept of this study.")
        return self.out_of_fold.load(number)

    @property
    def n_trials(self) -> int:
        """Number of trials as a budget counts them: running ones too, but not interrupted ones."""
        return len(self.records) - self.n_interrupted

    @property
    def n_complete(self) -> int:
        """Number of trials that completed all steps."""
        return self._count(TrialState.COMPLETE)

    @property
    def n_pruned(self) -> int:
        """Number of trials that the pruner stopped."""
        return self._count(TrialState.PRUNED)

    @property
    def n_failed(self) -> int:
        """Number of trials that raised or had no finite score, without interrupted ones."""
        return self._count(TrialState.FAILED)

    @property
    def n_interrupted(self) -> int:
        """Number of trials that were interrupted, by Ctrl-C or by a worker that died."""
        return self._count(TrialState.INTERRUPTED)

    def _count(self, state: TrialState) -> int:
        return sum(record.state is state for record in self.records)

    @property
    def trained_by(self) -> dict[str, int]:
        """Number of trials by how they were trained, most frequent first, without interrupted ones.

        See `TrialRecord.trained_by`.
        """
        return dict(count_ways(self.records).most_common())

    @property
    def epochs_run(self) -> float:
        """Steps (epochs) that were made in all trials together; those of one fold are a share."""
        return sum(record.n_made for record in self.records)

    @property
    def epochs_saved_fraction(self) -> float:
        """Fraction of the epochs of complete and pruned trials that pruning saved.

        It is the number of epochs that pruned trials did not train, divided by the number that
        complete and pruned trials would have trained without pruning; 0 without such trials.
        """
        ended = [
            record
            for record in self.records
            if record.state in {TrialState.COMPLETE, TrialState.PRUNED}
        ]
        planned = sum(record.max_steps or 0 for record in ended)
        saved = sum(
            max(0.0, record.max_steps - record.n_steps)
            for record in ended
            if record.state is TrialState.PRUNED and record.max_steps
        )
        return saved / planned if planned else 0.0

    def top(self, n: int = 10) -> list[TrialRecord]:
        """Return the ``n`` best complete trials, best first, the earlier first among equals."""
        return self._ranked[:n]

    @cached_property
    def _ranked(self) -> list[TrialRecord]:
        """All complete trials that have a score, best first; asked for again and again."""
        scored = [
            (-record.value, record.number, record)
            for record in self.records
            if record.state is TrialState.COMPLETE and record.best_report
        ]
        return [record for _, _, record in sorted(scored)]

    def enqueued_trials(self) -> list[tuple[int | None, TrialRecord]]:
        """Return the trials of the `enqueued` points, with their rank among the complete ones.

        Returns
        -------
        list of (int or None, TrialRecord)
            In the order of their numbers. The best complete trial has rank 1; the rank of a trial
            that is not complete is None.
        """
        ranks = {r.number: rank for rank, r in enumerate(self.top(self.n_trials), start=1)}
        return [
            (ranks.get(record.number), record)
            for record in self.records
            if not record.interrupted
            and any(point.items() <= record.trial.params.items() for point in self.enqueued)
        ]

    def pareto_front(self) -> list[TrialRecord]:
        """Return the complete trials that no other one dominates, best score first.

        A trial dominates another one if its score is at least as great and all its `costs` are at
        most as large, and one of them is better. Without costs the front is the winner.
        """
        front: list[tuple[list[float], TrialRecord]] = []
        costs = {r.number: self._costs_of(r) for r in self.top(self.n_trials)}
        ranked = sorted(self.top(self.n_trials), key=lambda r: (-r.value, costs[r.number]))
        for record in ranked:  # a dominating trial comes first
            own_costs = costs[record.number]
            if not any(all(map(le, other, own_costs)) for other, _ in front):
                front.append((own_costs, record))
        return [record for _, record in front]

    def _costs_of(self, record: TrialRecord) -> list[float]:
        costs = [record.cost(name) for name in self.costs]
        return [math.inf if math.isnan(cost) else cost for cost in costs]

    def failure_summary(self, *, raised: bool = False) -> str:
        """Return how many trials failed with which errors; empty if none did.

        Parameters
        ----------
        raised : bool, default=False
            Whether to count only trials that raised, not those with a non-finite score.
        """
        return failure_summary(self.records, raised=raised)

    def to_frame(self) -> "pd.DataFrame":
        """Return the trials as a data frame, one row each.

        Returns
        -------
        DataFrame
            ``number``, ``state``, ``value`` (nan without a finite one), ``step`` (that of the
            value, see `select`), ``last_step``, ``reason``, ``seconds`` (of all its steps),
            ``trained_by`` and ``trained_by_reason`` (see `TrialRecord`) and a column
            ``params_<name>`` for each parameter; missing where a trial has no such parameter.
        """
        import pandas as pd

        rows = [_row(record) for record in self.records]
        columns = ["number", "state", "value", "step", "last_step", "reason", "seconds"]
        columns += [TRAINED_BY, f"{TRAINED_BY}_reason"]
        params = dict.fromkeys(key for row in rows for key in row if key.startswith("params_"))
        frame = pd.DataFrame(rows, columns=[*columns, *params])
        return frame.astype({"step": "Int64"})

    @property
    def candidates(self) -> tuple[TrialRecord, ...]:
        """Rows of `cv_results`: all ended trials that were not interrupted, and the `winner`."""
        winner = self.winner
        return tuple(
            record
            for record in self.records
            if record is winner
            or (record.state is not TrialState.RUNNING and not record.interrupted)
        )

    def cv_results(
        self,
        resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
        *,
        scorers: Sequence[str] = ("score",),
        primary: str | None = None,
        n_splits: int | None = None,
        error_score: float = math.nan,
        return_train_score: bool = False,
    ) -> dict[str, Any]:
        """Return the `candidates` in the form of scikit-learn's ``cv_results_``.

        Parameters
        ----------
        resolve : callable, default=dict
            Turns stored parameters into what the estimator takes.
        scorers : sequence of str, default=("score",)
            Names of the scores, as in ``mean_test_<name>``.
        primary : str, optional
            The one of ``scorers`` that trials report as their value; None means the first.
        n_splits : int, optional
            Number of folds; None reads it from the reports (1 if there is none).
        error_score : float, default=nan
            Score of a trial that raised.
        return_train_score : bool, default=False
            Whether to include training scores; the reports must have them.

        Returns
        -------
        dict of str to array or list
            The keys, dtypes and meaning of ``GridSearchCV.cv_results_``. A row has the scores and
            times of the step that represents the trial (`select`). Complete trials rank before
            pruned ones, whose scores are partial, and these before failed ones. A failed trial
            that raised has ``error_score``; one with a non-finite score has the scores of its
            last step.
        """
        return cv_results(
            self.candidates,
            [dict(resolve(record.trial.params)) for record in self.candidates],
            scorers=scorers,
            primary=scorers[0] if primary is None else primary,
            n_splits=n_splits,
            error_score=error_score,
            return_train_score=return_train_score,
        )


def _row(record: TrialRecord) -> dict[str, Any]:
    best = record.best_report
    return {
        "number": record.number,
        "state": str(record.state),
        "value": record.value,
        "step": best.step if best else None,
        "last_step": record.last_step,
        "reason": record.reason,
        "seconds": record.seconds,
        TRAINED_BY: record.trained_by,
        f"{TRAINED_BY}_reason": record.trained_by_reason,
        **{f"params_{name}": value for name, value in record.trial.params.items()},
    }
