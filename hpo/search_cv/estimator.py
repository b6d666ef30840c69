"""The search as a scikit-learn estimator."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils import get_tags

from hpo.exceptions import RefitError
from hpo.search_cv._constraints import CONSTRAINTS
from hpo.search_cv._data import data_of
from hpo.search_cv._fitting import prepare, run
from hpo.search_cv._found import set_refitted
from hpo.search_cv._sklearn_parts import BaseSearchCV, fit_context, routed_params, scorers_of
from hpo.search_cv.deprecations import warn_of_notes
from hpo.search_cv.html import ShownWithoutPasswords
from hpo.search_cv.observers import CallbackTasks
from hpo.training.checks import check_estimator_kind

__all__ = ["HPOSearchCV"]


class HPOSearchCV(ShownWithoutPasswords, BaseSearchCV):  # type: ignore[misc]  # scikit-learn has no types
    """Search for the hyperparameters of an estimator, with cross-validation and pruning.

    Used like `sklearn.model_selection.GridSearchCV`, with all its attributes. The folds of a trial
    advance together, one step at a time (an epoch of a skorch net), and a trial that falls behind
    is stopped. The score of a net is that of its best epoch, whereas a grid search uses the last
    one: with ``sampler="grid"``, ``pruner="nop"`` and ``select="last"`` the results are those of
    ``GridSearchCV`` (``select`` has no effect on estimators without epochs).

    Parameters
    ----------
    estimator : estimator
        A skorch net, a Pipeline that ends in one, or any scikit-learn estimator.
    search_space : mapping, list of mappings, str, Path or SearchSpace
        Names of the estimator's parameters to their ranges or choices, also in the formats of
        ``GridSearchCV`` and ``RandomizedSearchCV``; see `SearchSpace.load`.
    n_trials : int or None, default=50
        Number of trials; None tries all points of a finite space, or as many as ``timeout``
        allows. No point of a finite space is tried twice.
    timeout : float or None, default=None
        Seconds after which all trials are stopped; the best complete trial wins. If there is none,
        the best report of an interrupted trial wins, with a warning.
    trial_timeout : float or None, default=None
        Seconds of training after which a trial is ended, even within a step. It has failed and
        has ``error_score``; with ``error_score="raise"`` it has nan, for it has raised nothing. In
        a thread other than the main one, only the executor ``process`` can do it.
    max_total_epochs : int or None, default=None
        Steps (epochs, unless ``eval_every`` says otherwise) of all trials together, after which
        the search ends as by ``timeout``.
    backend : str or BaseBackend, default="optuna"
        The backend that runs the loop, with options.
    sampler : str or optuna.samplers.BaseSampler, default="auto"
        tpe, gp, optuna_tpe, optuna_gp, random, grid, qmc, cmaes or ray, with options
        (``"tpe:random_share=0.2"``). ``auto`` is gp for nets that are trained one at a time on a
        space of mostly numbers, once ten trials are complete, and tpe otherwise.
    pruner : str, BasePruner or None, default="median"
        A name with options (``"median:n_warmup_steps=5"``, ``"halving:eta=3"``); ``"nop"`` or
        None stops no trial.
        An estimator that makes one step is never stopped.
    executor : str or None, default=None
        ``serial``, ``process``, ``fused`` (batches of trials in one loop) or ``auto`` (whichever of
        the two is faster), with options (``"serial:n_threads=4"``). None is ``process`` where
        ``n_jobs`` asks for several trials at a time, else ``serial``; ``serial`` itself refuses
        several.
    n_threads : int, default=1
        Threads of torch and BLAS for each trial in flight, and for the refit.
    device : str or None, default=None
        Torch device (``"cpu"``, ``"cuda:1"``) of nets that name none. None is all GPUs, else the
        CPU.
    storage : str or None, default=None
        Optuna storage URL of the study, so that a later fit of the same search to the same data
        continues where this one ended. None keeps it in memory.
    study_name : str or None, default=None
        Name of the study in the storage and in MLflow. With a storage, None derives a name from
        everything the scores depend on: estimator, data, folds, space, scoring and seed. If a
        study with a given name depends on something else, ``fit`` raises.
    extend : bool, default=False
        With a ``study_name``: continue although the search space has changed. The old trials that
        fit the new one count; see `run_study`.
    accept_code : bool, default=False
        With a ``study_name``: continue although the code of a class or function has changed.
    tracker : str, BaseTracker or None, default=None
        ``mlflow``, in which every trial becomes a run, ``tensorboard``, ``wandb``, ``null``, or
        one of your own. None is ``mlflow`` where there is a ``tracking_uri``, and else ``null``.
    tracking_uri : str or None, default=None
        MLflow's store; None is ``$MLFLOW_TRACKING_URI``, else ``sqlite:///mlflow.db``.
    scoring : str, callable, list, tuple, dict or None, default=None
        Greater is better. None is the estimator's own ``score``. Sampler and pruner use the score
        that ``refit`` names, or else the first one.
    costs : list of str, default=()
        What the sampler minimizes while it maximizes the score: ``"seconds"``, or metrics that
        trials report (``"train_loss"``). ``result_.pareto_front()`` has the trials that are best
        in score and costs; ``best_params_`` and the refit are those of the best score.
    refit : bool, str or callable, default=True
        Whether to train the winner on all data. With several scores, the name of the one that
        chooses the winner, or a function of ``cv_results_`` that returns the row. The function
        only gets the rows of complete trials, since the scores and times of pruned ones are
        partial. ``select`` determines the number of epochs of the refit.
    cv : int, splitter, iterable or None, default=None
        None is 5 folds; they are stratified for a classifier and not shuffled.
    repeats : int, default=1
        Sets of such folds on which trials are trained. With several, each is shuffled.
    n_jobs : int or None, default=None
        Trials at a time; -1 is one per core, or one per GPU. Without an executor each trial is
        trained in its own process.
    verbose : int, default=0
        1 prints a line for each trial, as ``hpo run`` does, and notes and the result at the end; 2
        also a line for each epoch, 3 also one for each fold.
    random_state : int, RandomState or None, default=None
        Seeds the sampler, the random streams of the folds and the refit. None differs from fit to
        fit, but is 0 with a ``storage``, because the study could not be resumed otherwise.
    error_score : "raise" or float, default=nan
        Score, on every fold, of a trial that raised. ``"raise"`` ends the search with the error, or
        with an `HpoError` that describes it if it was raised in another process and cannot be
        sent to this one.
    return_train_score : bool, default=False
        Score the training parts too, after every step.
    fail_fast : int or None, default=3
        Stop the search if its first ``fail_fast`` trials all fail with the same error; None never
        stops it. It continues as long as these trials share a parameter value that may be the
        cause.
    epochs : int or None, default=None
        Steps of a trial. None takes a net's ``max_epochs``, and fits everything else once; with a
        number, an estimator with ``partial_fit`` is trained by it, one call per step.
    eval_every : int or None, default=None
        For a net: number of optimizer steps that count as one step here, instead of an epoch.
    enqueue : list of mapping, default=()
        Parameters to try first, in this order, all of a trial's or some, as ``best_params_`` has
        them.
    baseline : bool, default=True
        Whether the estimator's own settings are the first trial, as a point to compare with, if
        they lie in the search space, which has no conditions, and neither ``enqueue`` nor a
        ``default`` of the space says what to try first. A grid is tried in its own order.
    add_trials : str, StudyResult, or sequence of them, default=()
        Other searches (their ``result_``, or their names in the storage) whose complete and pruned
        trials that fit the search space are added, and count as trials of this one. They must have
        been scored with the same data, folds and scoring.
    select : {"best", "last"}, default="best"
        Which step's score represents a trial. ``"best"``: the best one, and the winner is refitted
        for as many steps, so that cross-validation also chooses the number of epochs and the score
        is optimistic by the noise between epochs. ``"last"``: the last one, and the refit trains
        all steps, as in ``GridSearchCV``.
    choose : {"best", "one_se", "finalists"}, default="best"
        Which trial wins unless ``refit`` is a function: the one with the greatest score; the
        cheapest of those within one standard error of it (the fewest epochs, then the least
        seconds); or, of the five best, which are trained again on fresh folds, the one with the
        greatest mean of both scores.
    folds : {"auto", "race", "all"}, default="auto"
        ``all`` trains all folds of a trial; ``race`` trains the first fold before the others, which
        only the better half of the trials that are not pruned there get; of an estimator without
        epochs the better quarter. The winner is one of those with all folds; ``cv_results_`` has
        nan for a fold that was not trained, and their number in ``n_folds``. ``auto`` is ``race``
        where there are three folds or more and the pruner is ``median`` or ``halving`` at rungs,
        unless a grid is searched, values are compared or there are costs.
    keep : {"winner", "all"}, default="winner"
        The trials whose files, written by callbacks (``Checkpoint``, loggers), are kept. Each fold
        of each trial has its own folder for them; only the refit writes to the callbacks' paths.
        ``result_.files`` has the folders; without a storage they are removed with the process.
    out_of_fold_mb : float, default=500
        Megabytes that the out-of-fold predictions of the trials may take (``result_.oof``); those
        of the trials with the smallest scores are removed first. 0 keeps none.
    checkpoint_every : float, "auto" or None, default="auto"
        Seconds from one checkpoint of a training to the next, from which the next fit with the same
        storage goes on. ``"auto"`` is as often as costs at most 2 % of the time; None and 0 make
        none. A search without a storage has none either.
    compare : list of str or None, default=None
        Parameters whose values the report compares: the best complete trial of each combination
        represents it (``hpo.review.compare(result_)``). None is all parameters of a grid, and none
        in any other search.
    watch : list of str, default=()
        Further columns of that comparison: metrics that trials report.
    analyses : list of str or BaseAnalysis, or None, default=None
        Analyses of the refitted winner: ``"confusion"``, ``"features"`` or ``"ensemble"``, with
        options (``"ensemble:k=7"``), which need a held-out test part (`StudyData`). None is
        confusion and features for a net that is a classifier, if there is a test part.

    Attributes
    ----------
    cv_results_ : dict of str to array or list
        A row per trial, in the order in which they started, with the scores and times at the
        trial's best step, or at its last one (``select``). Complete trials rank first, then pruned
        ones, then failed ones: those that raised have ``error_score`` on every fold, those with a
        non-finite score have the scores of their last step. Trials that were interrupted by Ctrl-C
        or the timeout are left out. It is also set if no trial is complete.
    best_index_, best_score_, best_params_, best_estimator_, refit_time_, scorer_, n_splits_, \
multimetric_, classes_, n_features_in_, feature_names_in_
        As in ``GridSearchCV``. ``best_index_`` is the row of ``result_.best_record``, unless
        ``refit`` is a function.
    corrected_score_ : float
        What the winner would score on new rows: ``best_score_`` without the luck of having been
        chosen. ``result_.corrected`` has its interval. Missing where it cannot be told
        (``result_.uncorrected`` says why), or ``refit`` is a function.
    test_score_ : float
        Score of ``best_estimator_`` on the held-out test part, if ``fit`` was given one.
    analyses_ : dict of str to dict
        What each of the ``analyses`` found, by its name, if there are any; an ``"error"`` if it
        failed.
    n_steps_ : int
        Steps (epochs) of the refit: up to the winner's best step, or all.
    result_ : StudyResult
        Every trial with every report.

    Raises
    ------
    SpaceError, PluginError, StudyError, DataError
        By ``fit``, before anything is trained; each is a ValueError.
    StorageError
        By ``fit``, if the storage cannot be used.
    NoCompletedTrialError
        By ``fit``, if no trial is complete; a ValueError.
    RefitError
        By ``fit``, if the refit raises; the original error is the ``__cause__``. All results of the
        search are set.

    Notes
    -----
    The first Ctrl-C ends the search: complete trials are kept, a warning is issued, and the winner
    is refitted. The second one raises `KeyboardInterrupt`.

    scikit-learn's callbacks (``set_callbacks``) are called for the search, for each fold of each
    trial and for the refit. They are propagated to the estimator (the last step of a Pipeline) if
    trials are trained in this process, and to the refit.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from hpo import HPOSearchCV
    >>> space = {"C": {"type": "float", "low": 0.01, "high": 10.0, "log": True}}
    >>> search = HPOSearchCV(LogisticRegression(max_iter=500), space, n_trials=5, random_state=0)
    >>> search.fit(*load_iris(return_X_y=True)).best_score_ > 0.9
    np.True_
    """

    _parameter_constraints = CONSTRAINTS

    def __init__(
        self,
        estimator: Any,
        search_space: Any,
        *,
        n_trials: int | None = 50,
        timeout: float | None = None,
        trial_timeout: float | None = None,
        max_total_epochs: int | None = None,
        backend: Any = "optuna",
        sampler: Any = "auto",
        pruner: Any = "median",
        executor: Any = None,
        n_threads: int = 1,
        device: str | None = None,
        storage: str | None = None,
        study_name: str | None = None,
        extend: bool = False,
        accept_code: bool = False,
        tracker: Any = None,
        tracking_uri: str | None = None,
        scoring: Any = None,
        costs: Sequence[str] = (),
        refit: Any = True,
        cv: Any = None,
        repeats: int = 1,
        n_jobs: int | None = None,
        verbose: int = 0,
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        fail_fast: int | None = 3,
        epochs: int | None = None,
        eval_every: int | None = None,
        enqueue: Sequence[Mapping[str, Any]] = (),
        baseline: bool = True,
        add_trials: Any = (),
        select: str = "best",
        choose: str = "best",
        folds: str = "auto",
        keep: str = "winner",
        out_of_fold_mb: float = 500,
        checkpoint_every: float | str | None = "auto",
        compare: Sequence[str] | None = None,
        watch: Sequence[str] = (),
        analyses: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(
            estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        del self.pre_dispatch  # joblib's
        self.repeats = repeats
        self.search_space = search_space
        self.n_trials = n_trials
        self.timeout = timeout
        self.trial_timeout = trial_timeout
        self.max_total_epochs = max_total_epochs
        self.backend = backend
        self.sampler = sampler
        self.pruner = pruner
        self.executor = executor
        self.n_threads = n_threads
        self.device = device
        self.storage = storage
        self.study_name = study_name
        self.extend = extend
        self.accept_code = accept_code
        self.tracker = tracker
        self.tracking_uri = tracking_uri
        self.costs = costs
        self.random_state = random_state
        self.fail_fast = fail_fast
        self.epochs = epochs
        self.eval_every = eval_every
        self.enqueue = enqueue
        self.baseline = baseline
        self.add_trials = add_trials
        self.select = select
        self.choose = choose
        self.folds = folds
        self.keep = keep
        self.out_of_fold_mb = out_of_fold_mb
        self.checkpoint_every = checkpoint_every
        self.compare = compare
        self.watch = watch
        self.analyses = analyses

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags = copy.deepcopy(get_tags(self.estimator).target_tags)
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there is a winner to predict with, or results if ``refit`` is False."""
        return hasattr(self, "best_estimator_" if self.refit else "cv_results_")

    @fit_context()
    def fit(self, X: Any, y: Any = None, **params: Any) -> "HPOSearchCV":
        """Search, and refit the winner.

        Parameters
        ----------
        X : array-like, sparse matrix, data frame, tensor, dict of them, torch dataset or StudyData
            Of shape (n_samples, ...). A ``torch.utils.data.Dataset`` of pairs (x, y) needs no
            ``y``; its samples are loaded when they are trained on. A `StudyData` has its own
            ``y``, groups and weights, and a held-out test part, if it has one: the refitted
            winner is scored on it once.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
        **params : dict
            For the estimator's ``fit``, the scorers and the splitter (``groups``), as in
            ``GridSearchCV.fit``: routed as requested if metadata routing is enabled. Arrays
            with an entry per row are split into folds.

        Returns
        -------
        HPOSearchCV
            Itself.
        """
        check_estimator_kind(self.estimator)
        scorers_of(self)  # raises if they do not fit the estimator
        data = data_of(self, X, y, params)
        prepared = prepare(self, data, routed_params(self, params))
        weights = params.get("sample_weight")
        tasks = CallbackTasks(
            self,
            X=data.X,
            y=data.y,
            metadata=None if weights is None else {"sample_weight": weights},
        )
        with tasks.fit():
            try:
                result = run(self, prepared, tasks)
            except RefitError as error:
                set_refitted(self, error.result)
                raise
            set_refitted(self, result)
        warn_of_notes(self.result_, self.verbose)
        return self
