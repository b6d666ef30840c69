"""Prepare a study to run: everything is checked, nothing is created yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sklearn.base import is_classifier
from skorch import NeuralNet

from hpo._discovery import build
from hpo.analyses import BaseAnalysis
from hpo.budget import Budget
from hpo.data import StudyData
from hpo.exceptions import DataError, StudyError
from hpo.observer import StudyInfo
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.study._settings import asked_for, facts_of_data
from hpo.study.definition import Study
from hpo.study.opening import Allowed
from hpo.study.search import SearchConfig
from hpo.trackers import BaseTracker
from hpo.training.adapters import last_step, net_prefix
from hpo.training.checks import check_estimator_kind
from hpo.training.objective import Objective, shuffled_folds

__all__ = ["FitSettings", "PreparedStudy", "load_space"]

_DEFAULT = ("confusion", "features")


@dataclass(frozen=True, kw_only=True, eq=False)
class FitSettings:
    """What scikit-learn's ``fit`` adds to the definition of a study.

    Parameters
    ----------
    fit_params, score_params, split_params : mapping
        Passed to the estimator's ``fit``, to the scorers and to the splitter; see `Objective`.
    return_train_score : bool, default=False
        Whether to score the training parts too.
    shuffle : bool, default=True
        Whether a ``cv`` that is a number means shuffled folds.
    objective_class : subclass of Objective
    """

    fit_params: Mapping[str, Any] = field(default_factory=dict)
    score_params: Mapping[str, Any] = field(default_factory=dict)
    split_params: Mapping[str, Any] = field(default_factory=dict)
    return_train_score: bool = False
    shuffle: bool = True
    objective_class: type[Objective] = Objective


class PreparedStudy:
    """A study that is ready to run: everything is checked, nothing is created yet.

    Parameters
    ----------
    study : Study
    folder : Path or None
        Folder that relative paths of the search space start from.
    settings : FitSettings or None
        What the ``fit`` of an `HPOSearchCV` adds.

    Raises
    ------
    HpoError
        If something is invalid, or does not fit together.
    """

    def __init__(
        self, study: Study, folder: Path | None = None, settings: FitSettings | None = None
    ) -> None:
        self.study = study
        self._settings = settings or FitSettings()
        self.folder = folder or Path.cwd()
        self.space = load_space(study, self.folder)
        self.data = study.data() if callable(study.data) else study.data
        self.search = SearchConfig(
            self.objective(),
            self.space,
            seed=study.seed,
            scoring=study.scoring,
            sampler=study.sampler,
            pruner=study.pruner,
            backend=study.backend,
            executor=study.executor,
            costs=study.costs,
            compare=study.compare,
            watch=study.watch,
            enqueue=study.enqueue,
            add_trials=study.add_trials,
            n_trials=study.n_trials,
            timeout=study.timeout,
            trial_timeout=study.trial_timeout,
            select=study.select,
            choose=study.choose,
            folds=study.folds,
            baseline=study.baseline,
            keep=study.keep,
            out_of_fold_mb=study.out_of_fold_mb,
            checkpoint_every=study.checkpoint_every,
            n_jobs=study.n_jobs,
            n_threads=study.n_threads,
            device=study.device,
        )

        self.analyses = self._analyses()

    @property
    def refit_data(self) -> tuple[Any, Any, Mapping[str, Any]]:
        """X and y that the winner is fitted on, and their fit parameters."""
        data = self.data
        if data.X_refit is not None:
            return data.X_refit, data.y_refit, {}
        return data.X, data.y, self.search.objective.fit_params

    def _analyses(self) -> list[BaseAnalysis]:
        """Return the analyses of the winner; see `Study`."""
        specs, estimator = self.study.analyses, self.study.estimator
        if specs is None:
            net = isinstance(last_step(estimator), NeuralNet) and is_classifier(estimator)
            labelled = self.search.objective.classes is not None
            specs = _DEFAULT if net and labelled and self.data.X_test is not None else ()
        analyses = [build("hpo.analyses", spec, BaseAnalysis) for spec in specs]
        names = [analysis.name for analysis in analyses]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        if duplicates:
            raise StudyError(f"'analyses' names {', '.join(duplicates)} more than once.")
        if self.study.analyses and not self.study.refit:
            raise StudyError(
                "'analyses' are made of the refitted winner, and refit=False leaves that out: "
                "choose one of them."
            )
        needy = [analysis.name for analysis in analyses if analysis.needs_test_part]
        if needy and self.data.X_test is None:
            raise StudyError(
                f"'analyses' names {', '.join(needy)}, made on the held-out test part, and there "
                "is none: give one (StudyData(X=..., y=..., X_test=..., y_test=...)), or leave "
                "them out."
            )
        return analyses

    def objective(self, seed: int | None = None) -> Objective:
        """Return the objective, its folds shuffled by ``seed``, by default the study's."""
        fresh = seed is not None
        seed = self.study.seed if seed is None else seed
        study, data = self.study, self.data
        if not isinstance(data, StudyData):
            raise StudyError(f"Study's data must be (or return) a StudyData. Got {type(data)}.")
        check_estimator_kind(study.estimator)
        cv, settings = study.cv, self._settings
        if cv is None and study.choose == "finalists":
            cv = 5  # what None means in scikit-learn
        if isinstance(cv, int) and not isinstance(cv, bool):
            if cv < 2:
                raise DataError(f"cv must be at least 2 folds. Got {cv} instead.")
            if settings.shuffle or study.repeats > 1 or fresh:
                cv = shuffled_folds(
                    cv,
                    seed,
                    data.y,
                    classifier=is_classifier(study.estimator),
                    repeats=study.repeats,
                )
        elif study.choose == "finalists":
            raise DataError(
                f"choose='finalists' trains again on fresh folds, and cv={cv!r} makes its own: "
                "give a number of folds."
            )
        elif study.repeats > 1:
            raise DataError(
                f"repeats={study.repeats} reshuffles folds, and cv={cv!r} makes its own: give a "
                "number of folds, or a splitter that repeats itself (RepeatedKFold)."
            )
        return settings.objective_class(
            study.estimator,
            data.X,
            data.y,
            cv=cv,
            scoring=study.scoring,
            metric=study.metric,
            groups=data.groups,
            epochs=study.epochs,
            eval_every=study.eval_every,
            fit_params={**self._weights(), **settings.fit_params},
            score_params=settings.score_params,
            split_params=settings.split_params,
            return_train_score=settings.return_train_score,
            resolve=self.space.resolve,
        )

    def _weights(self) -> dict[str, Any]:
        if self.data.sample_weight is None:
            return {}
        return {f"{net_prefix(self.study.estimator)}sample_weight": self.data.sample_weight}

    def budget(self) -> Budget:
        """Return the study's budget, whose time begins now."""
        study = self.study
        return Budget(study.n_trials, study.timeout, study.max_total_epochs, study.trial_timeout)

    def begin(
        self, *, fresh: bool = False, allowed: Allowed | None = None, tracked: bool = False
    ) -> TrialStore:
        """Rehearse the study, and open its storage; see `SearchConfig.begin`."""
        study = self.study
        return self.search.begin(
            study.name, study.storage, fresh=fresh, allowed=allowed, tracked=tracked
        )

    def store(self, *, fresh: bool = False, allowed: Allowed | None = None) -> TrialStore:
        """Open the study's storage; see `SearchConfig.store`."""
        return self.search.store(self.study.name, self.study.storage, fresh=fresh, allowed=allowed)

    def tracker(self) -> BaseTracker:
        """Return the study's tracker."""
        tracker: BaseTracker = build(
            "hpo.trackers", self.study.tracker, BaseTracker, tracking_uri=self.study.tracking_uri
        )
        return tracker

    def info(self, store: TrialStore, artifacts: Mapping[str, str]) -> StudyInfo:
        """Return the description of the study for trackers."""
        info = self.search.info(store, self.folder, artifacts)
        return replace(
            info,
            params={**asked_for(self.study, self.space), **info.params},
            data=facts_of_data(self.study, self.data, self.search.safe_fingerprint),
        )


def load_space(study: Study, folder: Path) -> SearchSpace:
    """Return the study's search space; a relative path starts at ``folder``.

    Raises
    ------
    SpaceError
        With all its mistakes, names that the study's estimator does not have included.
    """
    source = study.search_space
    if isinstance(source, str | Path) and not Path(source).is_absolute():
        source = folder / source
    return SearchSpace.load(source, study.estimator)
