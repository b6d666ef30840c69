"""Prepare a study to run: everything is checked, nothing is created yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sklearn.base import is_classifier
from skorch import NeuralNet

from hpo._discovery import build
from hpo.analyses import BaseAnalysis
from hpo.data import StudyData
from hpo.exceptions import DataError, StudyError
from hpo.observer import StudyInfo
from hpo.space import SearchSpace
from hpo.storage.trial_store import TrialStore
from hpo.study.definition import Study
from hpo.study.opening import Allowed
from hpo.study.search import SearchConfig
from hpo.trackers import BaseTracker
from hpo.training.adapters import last_step, net_prefix
from hpo.training.checks import check_estimator_kind
from hpo.training.objective import Objective, shuffled_folds

__all__ = ["PreparedStudy", "load_space"]

_DEFAULT = ("confusion", "features")


class PreparedStudy:
    """A study that is ready to run: everything is checked, nothing is created yet.

    Parameters
    ----------
    study : Study
    folder : Path or None
        Folder that relative paths of the search space start from.
    """

    def __init__(self, study: Study, folder: Path | None = None) -> None:
        self.study = study
        self.folder = folder or Path.cwd()
        self.space = load_space(study, self.folder)
        self.data = study.data() if callable(study.data) else study.data
        self.search = SearchConfig(
            self._objective(),
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
            select=study.select,
            keep=study.keep,
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
            raise StudyError(f"Study's 'analyses' names {', '.join(duplicates)} more than once.")
        return analyses

    def _objective(self) -> Objective:
        study, data = self.study, self.data
        if not isinstance(data, StudyData):
            raise StudyError(f"Study's data must be (or return) a StudyData. Got {type(data)}.")
        check_estimator_kind(study.estimator)
        cv = study.cv
        if isinstance(cv, int) and not isinstance(cv, bool):
            if cv < 2:
                raise DataError(f"cv must be at least 2 folds. Got {cv} instead.")
            cv = shuffled_folds(cv, study.seed, data.y, classifier=is_classifier(study.estimator))
        return Objective(
            study.estimator,
            data.X,
            data.y,
            cv=cv,
            scoring=study.scoring,
            metric=study.metric,
            groups=data.groups,
            epochs=study.epochs,
            eval_every=study.eval_every,
            fit_params=self._fit_params(),
            resolve=self.space.resolve,
        )

    def _fit_params(self) -> dict[str, Any]:
        if self.data.sample_weight is None:
            return {}
        return {f"{net_prefix(self.study.estimator)}sample_weight": self.data.sample_weight}

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
        return self.search.info(store, self.folder, artifacts)


def load_space(study: Study, folder: Path) -> SearchSpace:
    """Return the study's search space; a relative path starts at ``folder``."""
    source = study.search_space
    if isinstance(source, str | Path) and not Path(source).is_absolute():
        source = folder / source
    return SearchSpace.load(source)
