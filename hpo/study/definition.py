"""The definition of a study: the search space, the data and how to search."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import pydantic

from hpo.data import StudyData
from hpo.exceptions import StudyError
from hpo.storage.urls import default_storage
from hpo.study._field_errors import field_errors
from hpo.study._shown import html_of, text_of

__all__ = ["Study"]

_PLAIN = (str, bool, int, float, tuple, type(None))


class Study(pydantic.BaseModel):
    """Everything that defines a search; frozen, keyword-only.

    Parameters
    ----------
    name : str
        Name of the study in the storage and in MLflow; running the same name again resumes it.
    estimator : estimator
        A skorch net, a Pipeline that ends in one, or any scikit-learn estimator.
    data : StudyData or callable
        The data, or a function without arguments that loads it.
    search_space : mapping, list of mappings, str, Path or SearchSpace
        See `SearchSpace.load`; a relative path starts at the study's file. No point of a finite
        space is tried twice.
    scoring : str, callable, list, dict or None, default=None
        As in scikit-learn, greater is better; None is the estimator's own ``score``.
    metric : str or None, default=None
        Which of several scorers is the trial's score; by default the first.
    costs : sequence of str, default=()
        What to minimize while the score is maximized: ``seconds``, or metrics that trials
        report. The study then ends with the Pareto front too; pruning looks at the score.
    cv : int, splitter or iterable, default=5
        A number means that many folds, stratified for a classifier, shuffled by ``seed``.
    repeats : int, default=1
        Sets of such folds, each shuffled anew: trials are trained on all of them, which tells
        smaller differences apart.
    epochs : int or None, default=None
        Epochs a trial; None takes a net's ``max_epochs``.
    eval_every : int or None, default=None
        Optimizer steps of a net between two reports, if an epoch is too long: whatever counts
        epochs (``epochs``, ``max_total_epochs``, the pruner) then counts these intervals.
    select : {"best", "last"}, default="best"
        Which epoch's score represents a trial. ``"best"``: the best one, and the winner is
        refitted for as many epochs, so that cross-validation also chooses the number of epochs.
        ``"last"``: the last one, and the refit trains all epochs, as in scikit-learn's searches.
    choose : {"best", "one_se", "finalists"}, default="best"
        Which complete trial wins. ``"best"``: the one with the greatest score. ``"one_se"``: of
        those within one standard error of the best score, the cheapest: the fewest epochs, then
        the least seconds. ``"finalists"``: the five best are trained again on fresh folds, and
        the greatest mean of both scores wins.
    nested : int, default=0
        Outer folds of a nested cross-validation after the search, as a check of the corrected
        score: a whole search for each of them, whose winner is scored once on rows that nothing
        of it has seen (`StudyResult.nested`). It costs as many times the study.
    n_trials : int or None, default=50
        Trials of the whole study, over all runs.
    timeout : float or None, default=None
        Seconds of wall time of one run, without the refit. At their end the running trials are
        interrupted, even within an epoch.
    trial_timeout : float or None, default=None
        Seconds that a trial may be in training, not counting what it waits for. One that takes
        longer is ended, even within an epoch, and is FAILED with the cause ``timeout``; it is not
        tried again. docs/executors.md says what each executor can end.
    max_total_epochs : int or None, default=None
        Epochs of all trials together.
    folds : {"auto", "race", "all"}, default="auto"
        ``all`` trains all folds of a trial in lock-step. ``race`` trains the first fold before the
        others: the pruner judges it against the same fold of the other trials, and only the better
        half of the trials that make all their steps there get the other folds; of an estimator
        without epochs the better quarter. The winner is one of those with all folds. ``auto`` is
        ``race`` where there are three folds or more and the pruner is ``median`` or ``halving`` at
        rungs, unless a grid is searched, values are compared or there are costs: there all trials
        count.
    pruner : str, BasePruner or None, default="median"
        A name with options (``"median:n_warmup_steps=5"``, ``"halving:eta=3"``); None and
        ``"nop"`` stop no trial. Your own class, here and wherever a name is accepted, is
        ``"module:Class"`` with options, or an object.
    sampler : str or optuna sampler, default="auto"
        tpe, gp, optuna_tpe, optuna_gp, random, grid, qmc, cmaes or ray, with options. ``auto`` is
        gp for nets that are trained one at a time on a space of mostly numbers, once ten trials are
        complete, and tpe otherwise; the study says which, and why.
    backend : str or BaseBackend, default="optuna"
    executor : str, BaseExecutor class, callable or None, default=None
        ``serial``, ``process``, ``fused`` (batches of trials in one loop) or ``auto`` (whichever of
        the two is faster), with options. None is ``process`` where ``n_jobs`` asks for several
        trials at a time, else ``serial``; ``serial`` itself refuses several. A callable is
        given the objective and returns an executor.
    n_jobs : int or None, default=None
        Trials at a time; -1 is one per core, or one per GPU.
    n_threads : int, default=1
        Threads of torch and BLAS for each trial in flight.
    device : str or None, default=None
        Torch device for nets that name none; None is all GPUs, else the CPU.
    seed : int, default=0
        All random numbers of the study follow from it.
    storage : str or None, default="journal:///hpo.journal"
        ``journal:///FILE``, any storage URL of Optuna (``sqlite:///FILE``,
        ``postgresql://...``), or None for memory. The default is ``sqlite:///hpo.db`` in a folder
        where a version before 0.3 has made that file.
    checkpoint_every : float, "auto" or None, default="auto"
        Seconds from one checkpoint of a training to the next. The next run of the study goes on
        with interrupted trials from there. ``"auto"`` is as often as costs at most 2 % of the
        time, and no more often than every 5 seconds; None and 0 make none. A study in memory has
        none either.
    tracker : str or BaseTracker, default="mlflow"
        ``mlflow``, ``tensorboard``, ``wandb``, ``null``, or one of your own.
    tracking_uri : str or None, default=None
        MLflow's store; None is ``$MLFLOW_TRACKING_URI``, else ``sqlite:///mlflow.db``.
    fail_fast : int or None, default=3
        Stop the study if its first ``fail_fast`` trials all fail with the same error; None never
        stops it. It continues as long as these trials share a parameter value that may be the
        cause.
    refit : bool, default=True
        Train the winner on all data at the end, and score it on the held-out test part.
    add_trials : str, StudyResult, or sequence of them, default=()
        Other studies, by their names in the same storage or by their results. Their complete and
        pruned trials that fit the search space are added and count as trials of this study. They
        must have been scored with the same data, folds, scoring, estimator and epochs; the
        parameters of other trials can be enqueued.
    keep : {"winner", "all"}, default="winner"
        The trials whose files, written by callbacks (``Checkpoint``, loggers), are kept. Each fold
        of each trial has its own folder for them; only the refit writes to the callbacks' paths.
        `StudyResult.files` has the folders.
    out_of_fold_mb : float, default=500
        Megabytes that the out-of-fold predictions of the trials may take
        (`StudyResult.oof`); those of the trials with the smallest scores are removed first. 0
        keeps none, and the score of the winner is not corrected.
    enqueue : sequence of mapping, default=()
        Parameters to try first, all of a trial's or some: values as the estimator takes them (as
        in ``best_params_``) or as the storage has them.
    baseline : bool, default=True
        Whether the estimator's own settings are the first trial, as a point to compare with, if
        they lie in the search space, which has no conditions, and neither ``enqueue`` nor a
        ``default`` of the space says what to try first. A grid is tried in its own order.
    compare : sequence of str or None, default=None
        Parameters whose values are compared at the end: the best complete trial of each
        combination represents it. None is all parameters of a grid, and none in any other
        search.
    watch : sequence of str, default=()
        Further columns of a comparison: metrics that trials report (``train_accuracy``, or
        whatever a callback records).
    analyses : sequence of str or BaseAnalysis, or None, default=None
        Analyses of the winner: confusion, features, calibration, ensemble_selection, ensemble,
        learning_curve, weights or data, with options (``"ensemble:k=7"``). None is confusion and
        features for a net that is a classifier, if there is a held-out test part.

    Raises
    ------
    StudyError
        If a field is unknown, missing or of the wrong type.
    """

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, protected_namespaces=()
    )

    name: str = pydantic.Field(min_length=1, pattern=r"^[\w.@ -]+$")
    estimator: Any
    data: StudyData | Callable[[], StudyData]
    search_space: Any
    scoring: Any = None
    metric: str | None = None
    costs: Sequence[str] = ()
    cv: Any = 5
    repeats: int = pydantic.Field(default=1, ge=1)
    epochs: int | None = pydantic.Field(default=None, ge=1)
    eval_every: int | None = pydantic.Field(default=None, ge=1)
    select: Literal["best", "last"] = "best"
    choose: Literal["best", "one_se", "finalists"] = "best"
    nested: int = pydantic.Field(default=0, ge=0)
    n_trials: int | None = pydantic.Field(default=50, ge=1)
    timeout: float | None = pydantic.Field(default=None, gt=0)
    trial_timeout: float | None = pydantic.Field(default=None, gt=0)
    max_total_epochs: int | None = pydantic.Field(default=None, ge=1)
    folds: Literal["auto", "race", "all"] = "auto"
    pruner: Any = "median"
    sampler: Any = "auto"
    backend: Any = "optuna"
    executor: Any = None
    n_jobs: int | None = None
    n_threads: int = pydantic.Field(default=1, ge=1)
    device: str | None = None
    seed: int = pydantic.Field(default=0, ge=0)
    storage: str | None = pydantic.Field(default_factory=default_storage)
    checkpoint_every: Literal["auto"] | float | None = pydantic.Field(default="auto")
    tracker: Any = "mlflow"
    tracking_uri: str | None = None
    fail_fast: int | None = pydantic.Field(default=3, ge=1)
    refit: bool = True
    add_trials: Any = ()
    keep: Literal["winner", "all"] = "winner"
    out_of_fold_mb: float = pydantic.Field(default=500, ge=0)
    enqueue: Sequence[Mapping[str, Any]] = ()
    baseline: bool = True
    compare: Sequence[str] | None = None
    watch: Sequence[str] = ()
    analyses: Sequence[Any] | None = None
    _is_small: bool = pydantic.PrivateAttr(default=False)
    _owner: ClassVar[str] = "Study"
    """What messages call the owner of the fields."""

    @pydantic.field_validator("pruner", mode="before")
    @classmethod
    def _no_pruner(cls, pruner: Any) -> Any:
        return "nop" if pruner is None else pruner

    @pydantic.field_validator("nested")
    @classmethod
    def _some_folds(cls, nested: int) -> int:
        if nested == 1:
            raise ValueError("must be 0 or at least 2 outer folds")
        return nested

    @pydantic.field_validator("checkpoint_every")
    @classmethod
    def _not_negative(cls, seconds: Any) -> Any:
        if seconds is not None and seconds != "auto" and not 0 <= seconds < math.inf:
            raise ValueError("must be 'auto', None or seconds, 0 or more")
        return seconds or None

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except pydantic.ValidationError as error:
            raise StudyError(field_errors(error.errors(), fields, self._owner, _names())) from None

    def __repr__(self) -> str:
        return text_of(self._owner, self._given())

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        return html_of(self._owner, self._given())

    def _given(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, or have none."""
        return {
            name: value
            for name, field in type(self).model_fields.items()
            if not _is_default(value := getattr(self, name), field)
        }

    def replace(self, **changes: Any) -> "Study":
        """Return a copy with some fields changed, checked like a new one."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        changed = Study(**{**fields, **changes})
        changed._is_small = self._is_small
        return changed

    @property
    def is_small(self) -> bool:
        """Whether this was returned by `smoke`, or is a changed copy of such a study."""
        return self._is_small

    def smoke(self) -> "Study":
        """Return a copy that tests in seconds whether everything works.

        It has one trial of one epoch (for estimators that have epochs) on about 200 samples of
        each part of the data, with every class among them, in two folds unless a splitter has its
        own rule. It runs in this process, without storage, tracker or analyses of the winner.
        Callbacks do not write to their own paths, not even in the refit.
        """
        from hpo.study._smoke import smoke_changes

        small = self.replace(
            **smoke_changes(self.estimator, self.data, self.cv, self.epochs, self.eval_every)
        )
        small._is_small = True
        return small


def _is_default(value: Any, field: Any) -> bool:
    if field.is_required():
        return False
    default = field.get_default(call_default_factory=True)
    is_flag = isinstance(value, bool) or isinstance(default, bool)  # which equals 0 or 1
    same_kind = not is_flag or type(value) is type(default)
    return same_kind and isinstance(value, _PLAIN) and bool(value == default)


def _names() -> list[str]:
    return list(Study.model_fields)
