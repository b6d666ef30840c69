"""The search as a scikit-learn estimator."""

import copy
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_random_state, get_tags, indexable

from hpo._discovery import build
from hpo._stop_signal import StopSignal
from hpo.backends.base import BaseBackend
from hpo.budget import Budget
from hpo.data.datasets import from_dataset
from hpo.exceptions import DataError, RefitError, StudyError
from hpo.executors.serial import SerialExecutor
from hpo.observer import BaseObserver
from hpo.pruners import BasePruner
from hpo.result import StudyResult
from hpo.search_cv._sklearn_parts import (
    BaseSearchCV,
    best_row,
    check_refit,
    fit_context,
    inherited_constraints,
    interval,
    one_of,
    routed_params,
    scorers_of,
)
from hpo.search_cv.deprecations import (
    warn_of_cut_off,
    warn_of_failures,
    warn_of_notes,
    warn_of_scores,
)
from hpo.search_cv.html import ShownWithoutPasswords
from hpo.search_cv.observers import CallbackTasks, FailFast, Printer, WatchedObjective
from hpo.search_cv.table import rows_of, score_names
from hpo.space import SearchSpace
from hpo.study.kept_files import only
from hpo.study.opening import FOR_SEARCHES, Allowed
from hpo.study.refit_errors import refit_errors
from hpo.study.runner import run_search
from hpo.study.search import SearchConfig
from hpo.trackers import BaseTracker
from hpo.training.checks import check_estimator_kind
from hpo.training.refit import refit
from hpo.training.threads import devices, limit_threads
from hpo.trial import SELECT, TrialState, derive_seed

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
    backend : str or BaseBackend, default="optuna"
        The backend that runs the loop, with options.
    sampler : str or optuna.samplers.BaseSampler, default="tpe"
        tpe, gp, optuna_tpe, optuna_gp, random, grid, qmc, cmaes or ray, with options
        (``"tpe:random_share=0.2"``).
    pruner : str, BasePruner or None, default="median"
        A name with options (``"median:n_startup_trials=8"``, ``"halving:eta=3"``); ``"nop"`` or
        None stops no trial.
        An estimator that makes one step is never stopped.
    executor : str or None, default=None
        ``serial``, ``process``, ``fused`` (batches of trials in one loop) or ``auto`` (whichever of
        the two is faster), with options (``"serial:n_threads=4"``). None is ``process`` where
        ``n_jobs`` asks for several trials at a time, else ``serial``; ``serial`` itself refuses
        several. Torch and BLAS compute with one thread a trial unless told otherwise.
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
    tracking_uri : str or None, default=None
        MLflow's store, in which every trial becomes a run; None tracks nothing.
    scoring : str, callable, list, tuple, dict or None, default=None
        Greater is better. None is the estimator's own ``score``. Sampler and pruner use the score
        that ``refit`` names, or else the first one.
    refit : bool, str or callable, default=True
        Whether to train the winner on all data. With several scores, the name of the one that
        chooses the winner, or a function of ``cv_results_`` that returns the row. The function
        only gets the rows of complete trials, since the scores and times of pruned ones are
        partial. ``select`` determines the number of epochs of the refit.
    cv : int, splitter, iterable or None, default=None
        None is 5 folds; they are stratified for a classifier and not shuffled.
    n_jobs : int or None, default=None
        Trials at a time; -1 is one per core, or one per GPU. Without an executor each trial is
        trained in its own process.
    verbose : int, default=0
        1 prints a line for each trial, and notes at the end; 2 also a line for each step, 3 also a
        line for each fold.
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
    enqueue : sequence of mapping, default=()
        Parameters to try first, all of a trial's or some, as ``best_params_`` has them.
    add_trials : str, StudyResult, or sequence of them, default=()
        Other searches (their ``result_``, or their names in the storage) whose complete and pruned
        trials that fit the search space are added, and count as trials of this one. They must have
        been scored with the same data, folds and scoring.
    select : {"best", "last"}, default="best"
        Which step's score represents a trial. ``"best"``: the best one, and the winner is refitted
        for as many steps, so that cross-validation also chooses the number of epochs and the score
        is optimistic by the noise between epochs. ``"last"``: the last one, and the refit trains
        all steps, as in ``GridSearchCV``.
    keep : {"winner", "all"}, default="winner"
        The trials whose files, written by callbacks (``Checkpoint``, loggers), are kept. Each fold
        of each trial has its own folder for them; only the refit writes to the callbacks' paths.
        ``result_.files`` has the folders; without a storage they are removed with the process.

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

    _parameter_constraints = {  # noqa: RUF012
        **inherited_constraints(),
        "estimator": "no_validation",  # checked in fit, with a better message
        "search_space": "no_validation",
        "n_trials": interval(Integral, 1, closed="left"),
        "timeout": interval(Real, 0, closed="neither"),
        "backend": [str, BaseBackend],
        "sampler": "no_validation",
        "pruner": [str, BasePruner, None],
        "executor": [str, callable, None],
        "storage": [str, None],
        "study_name": [str, None],
        "extend": ["boolean"],
        "accept_code": ["boolean"],
        "tracking_uri": [str, None],
        "random_state": ["random_state"],
        "fail_fast": interval(Integral, 1, closed="left"),
        "epochs": interval(Integral, 1, closed="left"),
        "eval_every": interval(Integral, 1, closed="left"),
        "enqueue": "no_validation",
        "add_trials": "no_validation",
        "select": one_of(*SELECT),
        "keep": one_of("winner", "all"),
    }

    def __init__(
        self,
        estimator: Any,
        search_space: Any,
        *,
        n_trials: int | None = 50,
        timeout: float | None = None,
        backend: Any = "optuna",
        sampler: Any = "tpe",
        pruner: Any = "median",
        executor: Any = None,
        storage: str | None = None,
        study_name: str | None = None,
        extend: bool = False,
        accept_code: bool = False,
        tracking_uri: str | None = None,
        scoring: Any = None,
        refit: Any = True,
        cv: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        fail_fast: int | None = 3,
        epochs: int | None = None,
        eval_every: int | None = None,
        enqueue: Sequence[Mapping[str, Any]] = (),
        add_trials: Any = (),
        select: str = "best",
        keep: str = "winner",
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
        self.search_space = search_space
        self.n_trials = n_trials
        self.timeout = timeout
        self.backend = backend
        self.sampler = sampler
        self.pruner = pruner
        self.executor = executor
        self.storage = storage
        self.study_name = study_name
        self.extend = extend
        self.accept_code = accept_code
        self.tracking_uri = tracking_uri
        self.random_state = random_state
        self.fail_fast = fail_fast
        self.epochs = epochs
        self.eval_every = eval_every
        self.enqueue = enqueue
        self.add_trials = add_trials
        self.select = select
        self.keep = keep

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
        X : array-like, sparse matrix, data frame, tensor, dict of them, or torch dataset
            Of shape (n_samples, ...). A ``torch.utils.data.Dataset`` of pairs (x, y) needs no
            ``y``; its samples are loaded when they are trained on.
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
        X, y = from_dataset(X, y)
        scorers_of(self)  # raises if they do not fit the estimator
        if y is None and get_tags(self).target_tags.required:
            name = type(self.estimator).__name__
            raise DataError(f"{name} requires y to be passed, but the target y is None.")
        # skorch alone takes a dict or tuple of arrays as X; one kind of sparse matrix is a dict.
        if issparse(X) or not isinstance(X, Mapping | tuple):
            X, y = indexable(X, y)
        routed = routed_params(self, params)
        search = self._prepare(X, y, routed)
        weights = params.get("sample_weight")
        tasks = CallbackTasks(
            self,
            X=X,
            y=y,
            metadata=None if weights is None else {"sample_weight": weights},
        )
        with tasks.fit():
            try:
                self.result_ = self._run(search, tasks)
            except RefitError as error:
                self.result_ = error.result
                raise
        warn_of_notes(self.result_, self.verbose)
        return self

    def _prepare(self, X: Any, y: Any, routed: Any) -> SearchConfig:
        """Check everything without creating anything."""
        space = SearchSpace.load(self.search_space)
        several = not (self.scoring is None or isinstance(self.scoring, str))
        objective = WatchedObjective(
            self.estimator,
            X,
            y,
            cv=self.cv,
            scoring=self.scoring,
            metric=self.refit if several and isinstance(self.refit, str) else None,
            epochs=self.epochs,
            eval_every=self.eval_every,
            fit_params=routed.estimator.fit,
            score_params=routed.scorer.score,
            split_params=routed.splitter.split,
            return_train_score=self.return_train_score,
            resolve=lambda params: dict(sorted(space.resolve(params).items())),
        )
        search = SearchConfig(
            objective,
            space,
            seed=self._seed(),
            scoring=self.scoring,
            sampler=copy.deepcopy(self.sampler),
            pruner="nop" if self.pruner is None else self.pruner,
            backend=self.backend,
            executor=self.executor,
            enqueue=self.enqueue,
            add_trials=self.add_trials,
            n_trials=self.n_trials,
            n_jobs=self.n_jobs,
            select=self.select,
            keep=self.keep,
        )
        self._check_budget(search)
        return search

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        if self.random_state is None and self.storage is not None:
            return 0
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _check_budget(self, search: SearchConfig) -> None:
        n_points = search.n_points
        if n_points is None and self.n_trials is None and self.timeout is None:
            raise StudyError(
                "n_trials=None and timeout=None would search for ever: give one of them a value."
            )
        grid, n_trials = search.grid, self.n_trials
        if grid is not None and n_trials is not None and len(grid) > n_trials:
            warnings.warn(
                f"The grid has {len(grid)} points and n_trials={n_trials} tries the first "
                f"{n_trials} of them. Set n_trials=None to try all.",
                UserWarning,
                stacklevel=4,
            )

    def _run(self, search: SearchConfig, tasks: CallbackTasks) -> StudyResult:
        signals: list[bool] = []
        interrupt = StopSignal(on_signal=signals.append)
        failures = FailFast(interrupt)
        tracked = self.tracking_uri is not None
        trackers: list[BaseObserver] = [tasks]
        if tracked:
            uri = self.tracking_uri
            trackers.append(build("hpo.trackers", "mlflow", BaseTracker, tracking_uri=uri))
        if self.error_score == "raise":
            trackers.append(failures)
        n_trials = min((n for n in (self.n_trials, search.n_points) if n is not None), default=None)
        if self.verbose:
            trackers.append(Printer(n_trials, self.verbose))
        if (
            isinstance(search.objective, WatchedObjective)
            and type(search.executor) is SerialExecutor
        ):
            search.objective.tasks, tasks.hands_on = tasks, True
        name = self.study_name or (search.default_name() if self.storage else "HPOSearchCV")
        with interrupt.listening():
            store = search.begin(
                name,
                self.storage,
                allowed=self._allowed(),
                quotes=self.error_score != "raise",
            )
        with ExitStack() as searching:
            searching.enter_context(tasks.trials(n_trials, search.objective))

            def finish(result: StudyResult) -> StudyResult:
                searching.close()
                if failures.failed is not None:
                    raise failures.error(search.executor)
                if interrupt.reason and result.winner is None:
                    raise KeyboardInterrupt(f"{interrupt.reason}: no trial is complete.")
                warn_of_failures(result, self.error_score)
                warn_of_cut_off(result, interrupt.reason)
                result = self._set_attributes(result, search, tasks)
                if False in signals:  # skorch treats the exception as the end of training
                    raise KeyboardInterrupt
                return result

            return run_search(
                search,
                store,
                info=search.info(store, Path.cwd(), {}) if tracked else None,
                trackers=trackers,
                interrupt=interrupt,
                budget=Budget(self.n_trials, self.timeout),
                finish=finish,
                any_may_win=callable(self.refit),
                fail_fast=None if self.error_score == "raise" else self.fail_fast,
            )

    def _allowed(self) -> Allowed:
        """Return what may differ from the stored study."""
        if (self.extend or self.accept_code) and not (self.study_name and self.storage):
            raise StudyError(
                "extend and accept_code go on with a study under its name: give a storage and a "
                "study_name."
            )
        return Allowed(self.extend, self.accept_code, FOR_SEARCHES)

    def _set_attributes(
        self, result: StudyResult, search: SearchConfig, tasks: CallbackTasks
    ) -> StudyResult:
        """Set the results, choose a row and refit it."""
        objective = search.objective
        last_reports = [r.reports[-1] for r in (*result.top(1), *result.candidates) if r.reports]
        names = score_names(objective, last_reports[0] if last_reports else None)
        primary = objective.scoring.main(dict.fromkeys(names, 0.0))
        self.multimetric_ = bool(objective.scoring.names) or names != ("score",)
        if self.multimetric_:
            check_refit(self.refit, names)
        by_name = objective.scoring.by_name
        self.scorer_ = by_name if objective.scoring.names else by_name["score"]
        self.n_splits_ = objective.n_folds
        self.cv_results_ = result.cv_results(
            objective.resolve,
            scorers=names,
            primary=primary,
            n_splits=objective.n_folds,
            error_score=np.nan if self.error_score == "raise" else self.error_score,
            return_train_score=self.return_train_score,
        )
        warn_of_scores(result, self.cv_results_, names)
        best = result.best_record  # raises if there is none
        self.result_ = result = replace(result, resolved_params=objective.resolve(best.best_params))
        if not self.refit and self.multimetric_:
            return result
        return self._choose(result, search, primary, tasks)

    def _choose(
        self, result: StudyResult, search: SearchConfig, primary: str, tasks: CallbackTasks
    ) -> StudyResult:
        eligible = [r.state is TrialState.COMPLETE or r is result.winner for r in result.candidates]
        complete = np.flatnonzero(eligible)
        row = best_row(self.refit, primary, rows_of(self.cv_results_, complete))
        self.best_index_ = complete[row]
        if not callable(self.refit):
            self.best_score_ = self.cv_results_[f"mean_test_{primary}"][self.best_index_]
        self.best_params_ = self.cv_results_["params"][self.best_index_]
        winner = result.candidates[self.best_index_]
        if winner.best_params != winner.trial.params:  # changed while it trained
            self.best_params_ = search.objective.resolve(winner.best_params)
        self.n_steps_ = winner.refit_steps
        if callable(self.refit) and self.keep == "winner":
            result = replace(result, files=only(result.files, winner.number))
        result = replace(result, resolved_params=self.best_params_)
        return self._refit(result, search, tasks) if self.refit else result

    def _refit(
        self, result: StudyResult, search: SearchConfig, tasks: CallbackTasks
    ) -> StudyResult:
        number = result.candidates[self.best_index_].number
        self.__dict__.pop("best_estimator_", None)  # an earlier fit's
        began = time.perf_counter()
        with refit_errors(
            f"The refit of trial {number} on all the data", result, self._refit_note()
        ):
            self.best_estimator_ = self._fit_best(search, tasks)
        self.refit_time_ = time.perf_counter() - began
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_
        return replace(
            result,
            estimator=self.best_estimator_,
            refit_epochs=self.n_steps_,
            refit_seconds=self.refit_time_,
        )

    def _fit_best(self, search: SearchConfig, tasks: CallbackTasks) -> Any:
        objective = search.objective
        with tasks.refit() as within, limit_threads(search.n_threads):
            return refit(
                self.estimator,
                self.best_params_,
                objective.X,
                objective.y,
                n_steps=self.n_steps_,
                seed=derive_seed(search.seed, "refit"),
                epochs=self.epochs,
                eval_every=self.eval_every,
                fit_params=objective.fit_params,
                device=devices(search.device)[0],
                within=within,
            )

    def _refit_note(self) -> str:
        """Return a note for a failed refit: what is set and how to continue."""
        consequence = ", which trains no trial anew" if self.storage else ""
        return (
            "The search is kept: `result_`, `cv_results_` and `best_params_` are set. Mend what "
            f"failed and fit again{consequence}, or leave the refit out (refit=False)."
        )
