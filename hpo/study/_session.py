"""A study made ready to run: everything checked, nothing created yet."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sklearn.base import is_classifier

from hpo._discovery import build, find
from hpo.backends._base import BaseBackend
from hpo.backends._ledger import Ledger, study_names
from hpo.backends._samplers import make_sampler
from hpo.data import StudyData
from hpo.exceptions import DataError, StudyError
from hpo.executors import BaseExecutor
from hpo.pruners import BasePruner
from hpo.space import SearchSpace
from hpo.study._environment import environment
from hpo.study._fingerprint import differences, fingerprint
from hpo.study._study import Study
from hpo.trackers import BaseTracker, StudyInfo
from hpo.training._adapters import net_prefix
from hpo.training._checks import check_estimator_kind
from hpo.training.objective import Objective, shuffled_folds

__all__ = ["Session", "generation"]


class Session:
    """A study made ready: everything checked, nothing created yet.

    Parameters
    ----------
    study : Study
    folder : Path or None
        Where relative paths of the search space start.
    """

    def __init__(self, study: Study, folder: Path | None = None) -> None:
        self.study = study
        self.folder = folder or Path.cwd()
        source = study.search_space
        if isinstance(source, str | Path) and not Path(source).is_absolute():
            source = self.folder / source
        self.space = SearchSpace.load(source)
        self.data = study.data() if callable(study.data) else study.data
        self.objective = self._objective()
        self.space.check(study.estimator)
        self.pruner = build("hpo.pruners", study.pruner, BasePruner)
        self.executor = self._executor()
        self.sampler = make_sampler(study.sampler, study.seed, parallel=self.executor.capacity > 1)
        self.grid = self.space.grid() if str(study.sampler).startswith("grid") else None
        self.backend = build("hpo.backends", study.backend, BaseBackend)

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
            fit_params=self._fit_params(),
            resolve=self.space.resolve,
        )

    def _fit_params(self) -> dict[str, Any]:
        if self.data.sample_weight is None:
            return {}
        return {f"{net_prefix(self.study.estimator)}sample_weight": self.data.sample_weight}

    def _executor(self) -> BaseExecutor:
        study = self.study
        several = study.n_jobs not in {None, 1}
        name = "process" if several and study.executor == "serial" else study.executor
        cls = find("hpo.executors", name, BaseExecutor)
        options = {"n_jobs": study.n_jobs, "n_threads": study.n_threads, "device": study.device}
        takes = inspect.signature(cls).parameters
        executor: BaseExecutor = cls(
            self.objective, **{k: v for k, v in options.items() if k in takes}
        )
        return executor

    @property
    def score_name(self) -> str:
        """What the trials' score is called: the scorer's name, or ``score`` if it has none."""
        scoring = self.study.scoring
        return scoring if isinstance(scoring, str) else self.objective.scoring.metric

    def ledger(self, *, fresh: bool = False) -> Ledger:
        """Open the study's storage, making the study if it is new.

        Raises
        ------
        StudyError
            If the study there was made with something that its scores depend on changed.
        """
        study = self.study
        ledger = Ledger(
            generation(study.name, study.storage, fresh=fresh),
            self.space,
            study.storage,
            sampler=self.sampler,
            seed=study.seed,
        )
        mark = fingerprint(self.objective, self.space.fingerprint, study.seed, study.scoring)
        old = ledger.noted("fingerprint")
        changed = differences(old, mark) if old else []
        if changed:
            raise StudyError(
                f"The study '{ledger.name}' in {study.storage} was made with another "
                f"{' and another '.join(changed)}, so its trials cannot be compared with new ones. "
                "Start anew under the same name with --fresh (run_study(study, fresh=True)): the "
                "old trials are kept. Or give this study another name."
            )
        if not old:
            ledger.note("fingerprint", mark)
            ledger.note("space", self.space.to_yaml())
            ledger.note("scoring", self.score_name)
        return ledger

    def tracker(self) -> BaseTracker:
        """Return the study's tracker."""
        tracker: BaseTracker = build(
            "hpo.trackers", self.study.tracker, BaseTracker, tracking_uri=self.study.tracking_uri
        )
        return tracker

    def info(self, ledger: Ledger, artifacts: Mapping[str, str]) -> StudyInfo:
        """Return what trackers are told of the study."""
        study = self.study
        params = {
            "backend": study.backend,
            "sampler": _name(study.sampler),
            "pruner": _name(study.pruner),
            "executor": type(self.executor).__name__.removesuffix("Executor").lower(),
            "seed": study.seed,
            "n_folds": self.objective.n_folds,
            "scoring": self.score_name,
            "estimator": type(study.estimator).__name__,
            "n_samples": len(self.objective.splits[0][0]) + len(self.objective.splits[0][1]),
        }
        return StudyInfo(
            name=ledger.name,
            key=ledger.key,
            params=params,
            tags=environment(self.folder),
            artifacts={"search_space.yaml": self.space.to_yaml(), **artifacts},
        )


def _name(spec: Any) -> str:
    return spec if isinstance(spec, str) else type(spec).__name__


def generation(name: str, storage: str | None, *, fresh: bool) -> str:
    """Return the name in the storage: ``name``, or ``name@2`` and so on after a fresh start."""
    if storage is None:
        return name
    names = set(study_names(storage))
    if name not in names:
        return name
    last = 1
    while f"{name}@{last + 1}" in names:
        last += 1
    number = last + 1 if fresh else last
    return name if number == 1 else f"{name}@{number}"
