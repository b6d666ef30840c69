"""A search made ready: its parts built from their names, nothing created yet."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hpo._discovery import build, parse_spec
from hpo._redaction import redact
from hpo.backends.base import BaseBackend
from hpo.exceptions import PluginError, StudyError
from hpo.executors import make_executor
from hpo.pruners import BasePruner
from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.space.likely_points import rehearsed_points
from hpo.storage.finite_points import MOST_POINTS
from hpo.storage.open import is_there
from hpo.storage.studies import study_names, versioned_name
from hpo.storage.trial_store import TrialStore
from hpo.study._adding import Addition, read_additions
from hpo.study._comparing import compared
from hpo.study._differences import SPACE
from hpo.study._environment import environment
from hpo.study._extending import extended
from hpo.study._fingerprint import fingerprint, summary
from hpo.study._notes import note_on_train_split
from hpo.study.opening import Allowed, opened, remember
from hpo.trackers import StudyInfo
from hpo.training.objective import Objective
from hpo.training.rehearsal import rehearse
from hpo.training.threads import devices
from hpo.trial import TrialRecord

__all__ = ["SearchConfig"]

_SINGLE_OBJECTIVE = {"CmaEsSampler", "RaySampler"}


class SearchConfig:
    """What a search runs with.

    Parameters
    ----------
    objective : Objective
    space : SearchSpace
    seed : int
    scoring : str, callable, list, dict or None
        As the objective was given it.
    sampler, pruner, backend : str or object
        Names with options, or objects.
    executor : str or None
        A name with options; None is ``process`` where ``n_jobs`` asks for several trials at a
        time, else ``serial``.
    costs : sequence of str
        See `TrialRecord.cost`.
    compare, watch : sequence of str
        See `Study`; they change nothing but what is shown.
    enqueue : sequence of mapping
        Parameters to try first; see `SearchSpace.points`.
    add_trials : str, StudyResult, or sequence of them
        Other studies whose finished trials are taken in; see `Study`.
    n_trials : int or None
        Trials that are wanted, if that is known: of a finite space no more are made than it has
        points.
        Parameters to try first.
    select : {"best", "last"}
        Which report stands for a trial; see `Study`.
    keep : {"winner", "all"}
        Of which trials the files are kept that callbacks write.
    n_jobs, n_threads, device
        For executors that take them, where their options do not say otherwise.

    Raises
    ------
    SpaceError, PluginError
    """

    def __init__(
        self,
        objective: Objective,
        space: SearchSpace,
        *,
        seed: int,
        scoring: Any = None,
        sampler: Any = "tpe",
        pruner: Any = "median",
        backend: Any = "optuna",
        executor: Any = None,
        costs: Sequence[str] = (),
        compare: Sequence[str] | None = (),
        watch: Sequence[str] = (),
        enqueue: Sequence[Mapping[str, Any]] = (),
        add_trials: Any = (),
        n_trials: int | None = None,
        select: str = "best",
        keep: str = "winner",
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
        self.executor = make_executor(
            executor, objective, n_jobs=n_jobs, n_threads=n_threads, device=device, seed=seed
        )
        own = parse_spec(executor)[1] if isinstance(executor, str) else {}
        self._options = {"n_threads": n_threads, "device": device, **own}
        parallel = self.backend.is_parallel(self.executor)
        self.sampler = make_sampler(sampler, seed, parallel=parallel, space=space)
        chosen = _name(sampler).partition(":")[0].strip()
        self.grid, self.n_points = _points(space, chosen, n_trials)
        _check_costs(self.costs, self.sampler)
        self.compare = compared(compare, space, grid=chosen == "grid")
        self.watch = tuple(watch)
        self.enqueue = space.points(enqueue, "enqueue")
        self._add_trials = add_trials
        self.additions: list[Addition] = []
        """What there is to take in of other studies, once the trial store is open."""
        self.notes = _too_many(n_trials, self.n_points) if chosen != "grid" else []
        self.notes += [note] if (note := note_on_train_split(objective.estimator, space)) else []
        """What the user should know of how the study was opened, and how it will be searched."""
        self.copied: tuple[TrialRecord, ...] | None = None
        """Trials that were taken over into it; None where it has not just been extended."""
        self.select = select
        self.keep = keep
        self._names = {
            "backend": _name(backend),
            "sampler": _name(sampler),
            "pruner": _name(pruner),
        }
        if not self.backend.runs_trials_itself:
            self._names["executor"] = type(self.executor).__name__.removesuffix("Executor").lower()

    @property
    def n_threads(self) -> int:
        """Threads that a trial computes with, and a refit should."""
        return int(self._options["n_threads"])

    @property
    def device(self) -> str | None:
        """Torch device that was asked for; None if none was."""
        device: str | None = self._options["device"]
        return device

    @property
    def score_name(self) -> str:
        """What the trials' score is called: the scorer's name, or ``score`` if it has none."""
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
    def shown(self) -> dict[str, Any]:
        """What a `StudyResult` is told of the search, for those who look at it."""
        return {
            "scoring": self.score_name,
            "costs": self.costs,
            "compare": self.compare,
            "watch": self.watch,
            "enqueued": self.enqueue,
            "fold_sizes": tuple((len(train), len(v)) for train, v in self.objective.splits),
        }

    def default_name(self) -> str:
        """Return a name that the same search has again, and no other one."""
        return f"{type(self.objective.estimator).__name__}-{summary(self.fingerprint)[:12]}"

    def open(self, name: str, storage: str | None) -> TrialStore:
        """Open the storage, making the study if it is new, whatever it was made with."""
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
            Raise for errors without a known cause too. A backend with workers elsewhere is
            left to see for itself whether they occur there.

        Raises
        ------
        DataError
            If nothing can come of the trials.
        """
        self.notes += rehearse(
            self.objective,
            rehearsed_points(self.space, self.enqueue),
            device=devices(self.device)[0],
            n_threads=self.n_threads,
            quotes=quotes and not self.backend.runs_trials_itself,
        )

    def begin(
        self,
        name: str,
        storage: str | None,
        *,
        fresh: bool = False,
        allowed: Allowed | None = None,
        quotes: bool = True,
    ) -> TrialStore:
        """Open the storage, and rehearse unless a trial of the study is complete.

        A new study is rehearsed before anything of it is created; see `rehearse` and `store`.
        """
        there = not fresh and is_there(storage)
        new = not there or versioned_name(name, storage, fresh=False) not in study_names(
            storage or ""
        )
        if new:
            self.rehearse(quotes=quotes)
        store = self.store(name, storage, fresh=fresh, allowed=allowed)
        if not new and not store.has_complete:
            self.rehearse(quotes=quotes)
        return store

    def store(
        self, name: str, storage: str | None, *, fresh: bool = False, allowed: Allowed | None = None
    ) -> TrialStore:
        """Open the storage, making the study if it is new.

        Parameters
        ----------
        name : str
        storage : str or None
        fresh : bool, default=False
            Start anew under the same name.
        allowed : Allowed or None
            What may differ from the study there; by default nothing.

        Raises
        ------
        StudyError
            If the study there was made with something that its scores depend on changed.
        """
        named = versioned_name(name, storage, fresh=fresh) if self._add_trials else name
        self.additions = self.read_additions(named, storage)
        if storage is None:  # nobody comes back to it
            return self.open(name, None)
        allowed = allowed or Allowed()
        store, differing = opened(self, name, storage, allowed, fresh=fresh)
        if any(difference.kind == SPACE for difference in differing):
            done = extended(self, store, name, storage)
            if done is None:
                return self.store(name, storage, allowed=allowed)
            store, note = done
            self.notes.append(note)
            self.copied = tuple(store.records())
        elif differing:
            remember(store, self)
        store.set_attr("shown", self.shown)
        return store

    def read_additions(self, name: str, storage: str | None) -> list[Addition]:
        """Return what there is to take in of other studies; nothing is changed.

        Parameters
        ----------
        name : str
            Of this study, as its storage has it.
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
        """Return what trackers are told of the study; ``folder`` is whose git commit is meant."""
        first_train, first_valid = self.objective.splits[0]
        params = {
            **self._names,
            "seed": self.seed,
            "n_folds": self.objective.n_folds,
            "scoring": self.score_name,
            "select": self.select,
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
    """Return the points that are tried in order, if they are, and how many points there are.

    Random trials that are as many as the points of a finite space are its grid.
    """
    if sampler == "grid":
        grid = space.grid()
        return grid, len(grid)
    n_points = space.size(MOST_POINTS)
    everything = n_points is not None and n_trials is not None and n_points <= n_trials
    return (space.grid() if everything and sampler == "random" else None), n_points


def _too_many(n_trials: int | None, n_points: int | None) -> list[str]:
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
