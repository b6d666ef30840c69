"""The points that a study has still to try: enqueued ones, a finite space, or without limit."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from hpo.space import SearchSpace
from hpo.storage._resuming import predecessors, resumed_step
from hpo.storage.finite_points import FinitePoints
from hpo.storage.records import (
    FIXED,
    RETRY,
    SOURCE,
    SURPLUS,
    cause_of,
    params_of,
    was_interrupted,
)
from hpo.storage.tried_points import Tried, key_of
from hpo.trial import Cause, TrialRecord

__all__ = ["Agenda"]


class Agenda:
    """The points that a study has still to try.

    Parameters
    ----------
    study : optuna.Study
        Its ``stop`` is replaced: some of Optuna's samplers call it when they have nothing more to
        propose, but Optuna's own works only inside `Study.optimize`.
    space : SearchSpace
    retried : set of int
        Numbers of failed trials that are run again and therefore do not count.
    """

    def __init__(self, study: optuna.Study, space: SearchSpace, retried: set[int]) -> None:
        self._study = study
        self._space = space
        self._points = FinitePoints.of(space)
        self._tried = Tried(self._space.distributions)
        self._limited = self._stopped = False
        self._retried = retried
        study.stop = self._stop  # type: ignore[method-assign]

    def _stop(self) -> None:
        self._stopped = True

    def enqueue(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Enqueue points to be tried before the sampler's; see `TrialStore.enqueue`."""
        distributions = self._space.distributions
        tried_keys = {key_of(params_of(trial), distributions) for trial in self._counted()}
        for point in points:
            stored = self._space.keep(point)
            key = key_of(stored, distributions)
            if key in tried_keys or (
                self._leaves_open(stored) and any(key <= counted for counted in tried_keys)
            ):
                continue
            tried_keys.add(key)
            self._study.enqueue_trial(stored)

    def _leaves_open(self, stored: Mapping[str, Any]) -> bool:
        space = self._space
        return any(n not in stored and space.is_active(n, stored) for n in space.distributions)

    def new(self, records: Sequence[TrialRecord], source: str) -> dict[str, TrialRecord]:
        """Return the trials of another study that are not in this one and were not tried in it.

        The keys are ``source/number``, which identifies where a trial came from.
        """
        distributions = self._space.distributions
        trials = self._study.get_trials(deepcopy=False)
        known_sources = {trial.user_attrs.get(SOURCE) for trial in trials}
        tried = Tried(distributions)
        tried.read(trials)
        by_source = {f"{source}/{record.number}": record for record in records}
        return {
            mark: record
            for mark, record in by_source.items()
            if mark not in known_sources
            and key_of(self._space.keep(record.trial.params), distributions) not in tried
        }

    def set_grid(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Try only these points."""
        self.enqueue(points)
        self._limited = True

    @property
    def left(self) -> float:
        """How many more trials there are to run."""
        if self._stopped or self._sampler_is_done():
            return 0
        if self._points is None and not self._limited:
            return math.inf
        trials = self._study.get_trials(deepcopy=False)
        n_waiting = sum(trial.state is OptunaState.WAITING for trial in trials)
        if self._limited or self._points is None:
            return n_waiting
        self._tried.read(trials)
        return max(n_waiting, sum(key not in self._tried for key in self._points.keys))

    def _sampler_is_done(self) -> bool:
        """Return whether a sampler with a list of points (Optuna's GridSampler) is exhausted."""
        done = getattr(self._study.sampler, "is_exhausted", None)
        return done is not None and bool(done(self._study))

    def requeue_interrupted(self, *, withdrawn: bool = True) -> None:
        """Enqueue the parameters of interrupted and retried trials that were not enqueued yet.

        Several drivers may do so at once; see `is_surplus`.

        Parameters
        ----------
        withdrawn : bool
            Also those of trials that were beyond the budget.
        """
        trials = self._study.get_trials(deepcopy=False)
        retried = {trial.user_attrs.get(RETRY) for trial in trials}
        for trial in trials:
            if trial.number in retried or not self._deserves_another(trial):
                continue
            if withdrawn or cause_of(trial) != Cause.WITHDRAWN:
                # Its driver may have died before all parameters of a waiting trial were taken.
                params = trial.system_attrs.get(FIXED, {}) | trial.params
                self._study.enqueue_trial(params, user_attrs={RETRY: trial.number})

    def is_surplus(self, trial: FrozenTrial) -> bool:
        """Return whether a trial that was just asked for is one too many.

        Another driver may have enqueued the same retry, or taken the last point of a grid.
        """
        retry = trial.user_attrs.get(RETRY)
        if retry is None:
            return self._limited and FIXED not in trial.system_attrs
        earlier = self._study.get_trials(deepcopy=False)[: trial.number]
        return any(other.user_attrs.get(RETRY) == retry for other in earlier)

    @property
    def next(self) -> FrozenTrial | None:
        """The waiting trial that is taken next, if there is one."""
        waiting = self._study.get_trials(deepcopy=False, states=(OptunaState.WAITING,))
        return waiting[0] if waiting else None

    def n_died(self, trial: FrozenTrial, start: int = 0) -> int:
        """Return how many drivers died before a trial, while they ran the same parameters.

        Those do not count whose trainings were put aside further on than they began: such a
        training comes to its end, however often it is interrupted.

        Parameters
        ----------
        trial : FrozenTrial
        start : int, default=0
            The step from which it goes on.
        """
        n_died = 0
        for earlier in self.predecessors(trial):
            began = resumed_step(earlier)
            n_died += cause_of(earlier) == Cause.DRIVER_DIED and start <= began
            start = began
        return n_died

    def predecessors(self, trial: FrozenTrial) -> list[FrozenTrial]:
        """Return the trials that were to run a trial's point before it, the last one first."""
        if RETRY not in trial.user_attrs:
            return []
        return predecessors(trial, self._study.get_trials(deepcopy=False))

    def _counted(self) -> list[FrozenTrial]:
        trials = self._study.get_trials(deepcopy=False)
        return [trial for trial in trials if not self._deserves_another(trial)]

    def _deserves_another(self, trial: FrozenTrial) -> bool:
        if SURPLUS in trial.system_attrs:
            return False
        return was_interrupted(trial) or trial.number in self._retried
