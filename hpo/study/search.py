"""Configure a search: its parts are built from their names, nothing is created yet."""

import math
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hpo._discovery import build, parse_spec
from hpo._redaction import redact
from hpo._time_limits import TimeIsUp, can_interrupt, time_limit
from hpo.backends.base import BaseBackend
from hpo.exceptions import PluginError, StudyError
from hpo.executors import BaseExecutor, make_executor
from hpo.observer import StudyInfo
from hpo.pruners import BasePruner
from hpo.pruners.halving import HalvingPruner
from hpo.pruners.median import MedianPruner
from hpo.samplers.auto import choice
from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.space.likely_points import rehearsed_points
from hpo.storage.finite_points import MOST_POINTS
from hpo.storage.studies import study_names, versioned_name
from hpo.storage.trial_store import TrialStore
from hpo.storage.unsaved import unsaved_storage
from hpo.storage.urls import is_there
from hpo.study._adding import Addition, read_additions
from hpo.study._comparing import compared
from hpo.study._differences import SPACE
from hpo.study._environment import environment
from hpo.study._extending import extended
from hpo.study._fingerprint import fingerprint, summary
from hpo.study._notes import note_on_train_split
from hpo.study._own_values import own_point
from hpo.study.opening import Allowed, opened, remember
from hpo.training.adapters import steps_of
from hpo.training.objective import Objective
from hpo.training.rehearsal import rehearse
from hpo.training.threads import check_device, devices
from hpo.trial import TrialRecord

__all__ = ["SearchConfig"]

_ENUMERATING = {"BruteForceSampler", "GridSampler"}

_RANKING = (MedianPruner, HalvingPruner)
"""Pruners by which folds are raced unless the study says: those of the measurements. One that does
not compare trials might stop each of them on its first fold."""

_ALIKE = 1.25
"""Times that a fold may have as many training rows as another, for one to stand for all."""

_FEWEST_FOLDS = 3
"""Folds from which on they are raced, unless the study says."""

_SINGLE_OBJECTIVE = {"CheckedCmaEsSampler", "CmaEsSampler", "RaySampler"}


class SearchConfig:
    """The configuration of a search.

    Parameters
    ----------
    objective : Objective
    space : SearchSpace
    seed : int
    scoring : str, callable, list, dict or None
        The scoring as it was passed to the objective.
    sampler, pruner, backend : str or object
        Names with options, or objects.
    executor : str or None
        A name with options; None is ``process`` where ``n_jobs`` asks for several trials at a
        time, else ``serial``.
    costs : sequence of str
        See `TrialRecord.cost`.
    compare, watch : sequence of str
        See `Study`; they only affect what is displayed.
    enqueue : sequence of mapping
        Parameters to try first; see `SearchSpace.points`.
    baseline : bool
        Whether to try the estimator's own settings first; see `Study`.
    add_trials : str, StudyResult, or sequence of them
        Other studies whose finished trials are added; see `Study`.
    n_trials : int or None
        Number of trials to run, if known; a finite space gets no more trials than it has points.
    timeout, trial_timeout : float or None
        Limits of the run and of a trial in seconds; the rehearsal takes no longer either.
    select : {"best", "last"}
        Which report represents a trial; see `Study`.
    choose : {"best", "one_se", "finalists"}
        How the winner is chosen; see `Study`.
    folds : {"auto", "race", "all"}
        Whether trials train their first fold before the others; see `Study`.
    keep : {"winner", "all"}
        The trials whose files, written by callbacks, are kept.
    out_of_fold_mb : float
        See `Study`.
    checkpoint_every : float, "auto" or None
        How often trainings are put aside; see `Study`.
    n_jobs, n_threads, device
        Passed to executors that accept them, unless their options set them.

    Raises
    ------
    SpaceError, PluginError
    StudyError
        If the executor cannot end a trial after ``trial_timeout``.
    """

    def __init__(
        self,
        objective: Objective,
        space: SearchSpace,
        *,
        seed: int,
        scoring: Any = None,
        sampler: Any = "auto",
        pruner: Any = "median",
        backend: Any = "optuna",
        executor: Any = None,
        costs: Sequence[str] = (),
        compare: Sequence[str] | None = (),
        watch: Sequence[str] = (),
        enqueue: Sequence[Mapping[str, Any]] = (),
        baseline: bool = True,
        add_trials: Any = (),
        n_trials: int | None = None,
        timeout: float | None = None,
        trial_timeout: float | None = None,
        select: str = "best",
        choose: str = "best",
        folds: str = "auto",
        keep: str = "winner",
        out_of_fold_mb: float = 500,
        checkpoint_every: float | str | None = "auto",
        n_jobs: int | None = None,
        n_threads: int = 1,
        device: str | None = None,
    ) -> None:
        space.check(objective.estimator)
        self.objective = objective
        self.space = space
        self.seed = seed
        self.scoring = scoring
        self.costs = tuple(costs)
        self.backend: BaseBackend = build(
            "hpo.backends",
            backend,
            BaseBackend,
            max_concurrent=None if n_jobs == -1 else n_jobs,
            cpus_per_trial=n_threads,
            device=device,
        )
        if self.backend.prunes_itself:
            pruner = "nop"
        self.pruner: BasePruner = build("hpo.pruners", pruner, BasePruner)
        if self.backend.runs_trials_itself:
            executor, n_jobs = "serial", None  # it only holds the objective
        if executor is None:
            executor = "serial" if n_jobs in {None, 1} else "process"
        executor_options = parse_spec(executor)[1] if isinstance(executor, str) else {}
        self._options = {"n_threads": n_threads, "device": device, **executor_options}
        check_device(self.device, here=not self.backend.runs_trials_itself)
        self.executor = make_executor(
            executor, objective, n_jobs=n_jobs, n_threads=n_threads, device=device, seed=seed
        )
        if trial_timeout is not None and not self.backend.runs_trials_itself:
            _check_trial_timeout(self.executor)
        self._rehearsal_seconds = min(timeout or math.inf, trial_timeout or math.inf)
        parallel = self.backend.is_parallel(self.executor)
        sampler, described = self._suited(sampler, parallel=parallel)
        self.sampler = make_sampler(sampler, seed, parallel=parallel, space=space)
        sampler_name = _name(sampler).partition(":")[0].strip()
        self.grid, self.n_points = _points(space, sampler_name, n_trials)
        _check_costs(self.costs, self.sampler)
        self.out_of_fold_mb = out_of_fold_mb
        self.choose = choose
        self.compare = compared(compare, space, grid=sampler_name == "grid")
        self.races = self._races(folds, is_grid=sampler_name == "grid")
        self.watch = tuple(watch)
        self.enqueue, self.own_settings = self._first_points(enqueue, baseline=baseline)
        self._add_trials = add_trials
        self.additions: list[Addition] = []
        """Trials of other studies to add once the trial store is open."""
        self.notes = _note_on_size(n_trials, self.n_points) if sampler_name != "grid" else []
        self.notes += [note] if (note := note_on_train_split(objective.estimator, space)) else []
        """Notes for the user on how the study was opened, and how it will be searched."""
        self.copied: tuple[TrialRecord, ...] | None = None
        """Trials that were copied into it; None if it has not just been extended."""
        self.select = select
        self.keep = keep
        self.checkpoint_every = checkpoint_every
        self._names = {
            "backend": _name(backend),
            "sampler": described,
            "pruner": _name(pruner),
        }
        if not self.backend.runs_trials_itself:
            self._names["executor"] = type(self.executor).__name__.removesuffix("Executor").lower()

    def _first_points(
        self, enqueue: Sequence[Mapping[str, Any]], *, baseline: bool
    ) -> tuple[tuple[dict[str, Any], ...], dict[str, Any] | None]:
        """Return what is tried first, and the estimator's own settings if they are."""
        space = self.space
        first = (*space.points(space.defaults, "default"), *space.points(enqueue, "enqueue"))
        if first or not baseline or self.grid is not None or self._enumerates:
            return first, None
        own = own_point(self.objective.estimator, space)
        return own, next(iter(own), None)

    @property
    def _enumerates(self) -> bool:
        """Whether the sampler is one of Optuna's that tries each point of a grid."""
        return type(getattr(self.sampler, "inner", self.sampler)).__name__ in _ENUMERATING

    def _races(self, folds: str, *, is_grid: bool) -> bool:
        """Return whether trials train their first fold before the others."""
        n_folds = self.objective.n_folds
        against = {
            "there is one fold alone": n_folds == 1,
            "the scheduler of the backend stops trials, by scores of all folds": (
                self.backend.prunes_itself
            ),
        }
        for reason, holds in against.items():
            if folds == "race" and holds:
                raise StudyError(f"folds='race' is not possible: {reason}. Leave folds out.")
        if folds != "auto" or any(against.values()):
            return folds == "race"
        everything = is_grid or self._enumerates or self.compare or self.costs
        sizes = [len(train) for train, _ in self.objective.splits]
        if max(sizes) > _ALIKE * min(
            sizes
        ):  # the first fold of a time series says little of others
            return False
        at_rungs = getattr(self.pruner, "at", "rungs") == "rungs"
        ranks = type(self.pruner) in _RANKING and at_rungs
        return n_folds >= _FEWEST_FOLDS and ranks and not everything

    def _suited(self, sampler: Any, *, parallel: bool) -> tuple[Any, str]:
        """Return the sampler with what ``auto`` has to know, and how it is described."""
        name, options = parse_spec(sampler) if isinstance(sampler, str) else ("", {})
        if name != "auto":
            return sampler, _name(sampler)
        trains_in_epochs = steps_of(self.objective.estimator, {}, self.objective.epochs) > 1
        known = {"slow": trains_in_epochs, "n_objectives": 1 + len(self.costs), **options}
        chosen, why = choice(
            self.space,
            slow=known["slow"],
            parallel=parallel,
            n_objectives=known["n_objectives"],
        )
        spec = ",".join(f"{key}={value}" for key, value in known.items())
        return f"auto:{spec}", f"auto ({chosen}: {why})"

    @property
    def n_threads(self) -> int:
        """Number of threads for a trial, and for the refit."""
        return int(self._options["n_threads"])

    @property
    def device(self) -> str | None:
        """The requested torch device; None if none was requested."""
        device: str | None = self._options["device"]
        return device

    @property
    def score_name(self) -> str:
        """Name of the trials' score: the scorer's name, or ``score`` if it has none."""
        return self.scoring if isinstance(self.scoring, str) else self.objective.scoring.metric

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What the scores depend on; see `fingerprint`."""
        return fingerprint(
            self.objective,
            self.space,
            self.seed,
            self.scoring,
            costs=self.costs,
            select=self.select,
        )

    @property
    def safe_fingerprint(self) -> Mapping[str, Any]:
        """The `fingerprint`; empty if it cannot be determined."""
        try:
            return self.fingerprint
        except Exception:  # data and estimator may hold anything
            return {}

    @property
    def shown(self) -> dict[str, Any]:
        """Settings of the search that a `StudyResult` displays."""
        return {
            "scoring": self.score_name,
            "costs": self.costs,
            "compare": self.compare,
            "watch": self.watch,
            "enqueued": () if self.own_settings else self.enqueue,
            "choose": self.choose,
            "fold_sizes": tuple((len(train), len(v)) for train, v in self.objective.splits),
        }

    def default_name(self) -> str:
        """Return a name that is the same for the same search, and different for any other."""
        return f"{type(self.objective.estimator).__name__}-{summary(self.fingerprint)[:12]}"

    def open(self, name: str, storage: str | None) -> TrialStore:
        """Open the storage, creating the study if it is new, without comparing fingerprints."""
        return TrialStore(
            name,
            self.space,
            storage,
            sampler=self.sampler,
            seed=self.seed,
            costs=self.costs,
            select=self.select,
        )

    def rehearse(self, *, quotes: bool = True) -> None:
        """Try one batch of each fold; see `hpo.training.rehearsal.rehearse`.

        Parameters
        ----------
        quotes : bool, default=True
            Raise for errors without a known cause too. This is ignored for a backend that runs
            trials on its own workers, where the errors may not occur.

        Raises
        ------
        DataError
            If the trials cannot succeed.
        """
        try:
            with time_limit(time.monotonic() + self._rehearsal_seconds):
                self.notes += rehearse(
                    self.objective,
                    rehearsed_points(self.space, self.enqueue),
                    device=devices(self.device)[0],
                    n_threads=self.n_threads,
                    quotes=quotes and not self.backend.runs_trials_itself,
                )
        except TimeIsUp:  # it refuses nothing that may work
            self.notes.append(
                f"The rehearsal, a batch of each fold before the first trial, was not over after "
                f"{self._rehearsal_seconds:g} s and was left out."
            )

    def begin(
        self,
        name: str,
        storage: str | None,
        *,
        fresh: bool = False,
        allowed: Allowed | None = None,
        quotes: bool = True,
        tracked: bool = False,
    ) -> TrialStore:
        """Open the storage, and rehearse unless a trial of the study is complete.

        A new study is rehearsed before anything of it is created; see `rehearse` and `store`.
        """
        exists = not fresh and is_there(storage)
        new = not exists or versioned_name(name, storage, fresh=False) not in study_names(
            storage or ""
        )
        if new:
            self.rehearse(quotes=quotes)
        store = self.store(name, storage, fresh=fresh, allowed=allowed, tracked=tracked)
        if not new and not store.has_complete:
            self.rehearse(quotes=quotes)
        return store

    def store(
        self,
        name: str,
        storage: str | None,
        *,
        fresh: bool = False,
        allowed: Allowed | None = None,
        tracked: bool = False,
    ) -> TrialStore:
        """Open the storage, creating the study if it is new.

        Parameters
        ----------
        name : str
        storage : str or None
        fresh : bool, default=False
            Start anew under the same name.
        allowed : Allowed or None
            What may differ from the stored study; by default nothing.
        tracked : bool, default=False
            Whether a tracker follows the study, from a process that cannot see a study in memory.

        Raises
        ------
        StudyError
            If anything that the scores depend on differs from the stored study.
        """
        stored_name = versioned_name(name, storage, fresh=fresh) if self._add_trials else name
        self.additions = self.read_additions(stored_name, storage)
        if storage is None:  # it cannot be resumed
            return self.open(name, unsaved_storage(name) if tracked else None)
        allowed = allowed or Allowed()
        store, found_differences = opened(self, name, storage, allowed, fresh=fresh)
        if any(difference.kind == SPACE for difference in found_differences):
            extension = extended(self, store, name, storage)
            if extension is None:
                return self.store(name, storage, allowed=allowed, tracked=tracked)
            store, note = extension
            self.notes.append(note)
            self.copied = tuple(store.records())
        elif found_differences:
            remember(store, self)
        store.set_attr("shown", self.shown)
        store.name_metrics([self.score_name, *self.costs])
        return store

    def read_additions(self, name: str, storage: str | None) -> list[Addition]:
        """Return the trials of other studies to add; nothing is changed.

        Parameters
        ----------
        name : str
            Name of this study in its storage.
        storage : str or None

        Raises
        ------
        StudyError
            If their trials were scored in another way.
        """
        if not self._add_trials:
            return []
        return read_additions(
            self._add_trials,
            space=self.space,
            estimator=self.objective.estimator,
            fingerprint=self.fingerprint,
            name=name,
            storage=storage,
        )

    def info(self, store: TrialStore, folder: Path, artifacts: Mapping[str, str]) -> StudyInfo:
        """Return the description of the study for trackers, with the git commit of ``folder``."""
        first_train, first_valid = self.objective.splits[0]
        params = {
            **self._names,
            "seed": self.seed,
            "n_folds": self.objective.n_folds,
            "scoring": self.score_name,
            "select": self.select,
            "folds": "race" if self.races else "all",
            "estimator": type(self.objective.estimator).__name__,
            "n_samples": len(first_train) + len(first_valid),
        }
        return StudyInfo(
            name=store.name,
            key=store.key,
            params=params,
            tags=environment(folder),
            artifacts={
                "search_space.yaml": self.space.to_yaml(),
                **{name: redact(text) for name, text in artifacts.items()},
            },
            copied=self.copied,
        )


def _points(
    space: SearchSpace, sampler: str, n_trials: int | None
) -> tuple[list[dict[str, Any]] | None, int | None]:
    """Return the points of a grid, which are tried in order, and how many points there are.

    Random search with at least as many trials as a finite space has points is a grid search.
    """
    if sampler == "grid":
        grid = space.grid()
        return grid, len(grid)
    n_points = space.size(MOST_POINTS)
    is_exhaustive = n_points is not None and n_trials is not None and n_points <= n_trials
    return (space.grid() if is_exhaustive and sampler == "random" else None), n_points


def _note_on_size(n_trials: int | None, n_points: int | None) -> list[str]:
    if n_trials is None or n_points is None or n_points >= n_trials:
        return []
    return [
        f"The total space of parameters {n_points} is smaller than n_trials={n_trials}: each point "
        f"is tried once, in {n_points} trial{'s' * (n_points != 1)}."
    ]


def _check_costs(costs: Sequence[str], sampler: Any) -> None:
    if isinstance(costs, str):
        raise StudyError(f"costs must be a list of names. Got {costs!r} instead.")
    name = type(getattr(sampler, "inner", sampler)).__name__
    if costs and name in _SINGLE_OBJECTIVE:
        raise PluginError(
            f"{name} searches for one objective, and costs are further ones: use tpe, random, "
            "qmc or gp, or leave costs out."
        )


def _name(spec: Any) -> str:
    return redact(spec) if isinstance(spec, str) else type(spec).__name__


def _check_trial_timeout(executor: BaseExecutor) -> None:
    """Raise `StudyError` if trials run in this process and cannot be interrupted in it."""
    if not executor.trains_here or can_interrupt():
        return
    name = type(executor).__name__.removesuffix("Executor").lower()
    raise StudyError(
        f"trial_timeout cannot end the trials of the executor '{name}' here: they are trained in "
        "this process, and only the main thread of a process can be interrupted, and not on "
        "Windows. Choose executor='process', whose workers can be ended anywhere."
    )
