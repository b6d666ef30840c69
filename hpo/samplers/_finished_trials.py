"""Finished trials of a study as arrays; each is read only once, since it never changes again."""

import bisect
import math
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

__all__ = ["FinishedTrials"]

_FREE, _RUNNING, _FINISHED = 0, 1, 2
_RANKED_STATES = {TrialState.COMPLETE, TrialState.PRUNED}

Order = list[tuple[float, ...]]
"""Sort keys that end with the number of the trial, in ascending order."""


class FinishedTrials:
    """The data of a study's trials that a sampler needs, cached between proposals.

    Row ``i`` of every array is trial ``i``. Parameters are stored in Optuna's internal form (a
    choice as its index), with nan if a trial does not have the parameter.

    Parameters
    ----------
    n_best : int
        Maximum number of best trials that `best` can return.
    """

    def __init__(self, n_best: int) -> None:
        self._n_best = n_best
        self._of: weakref.ref[Study] | None = None
        self._reset()

    def __getstate__(self) -> dict[str, Any]:
        # The study is not pickled with its sampler; an unpickled copy reads the trials again.
        return {"_n_best": self._n_best, "_of": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()

    def _reset(self) -> None:
        self.n_complete = 0
        """Number of COMPLETE trials."""
        self.n_finished = 0
        """Number of COMPLETE and PRUNED trials."""
        self.running: list[FrozenTrial] = []
        """Trials that were running at the last `read`."""
        self._n_read = 0
        self._open: list[int] = []
        self.common: dict[str, BaseDistribution] = {}
        """Parameters that all finished trials have, with the same distribution."""
        self.groups: list[dict[str, BaseDistribution]] = []
        """Parameters grouped by the finished trials that have them, in as few groups as can be."""
        self._columns: dict[str, np.ndarray] = {}
        self._status = np.zeros(64, dtype=np.int8)
        self._complete: Order = []
        self._pruned: Order = []
        self._infeasible: Order = []

    def read(self, study: Study) -> None:
        """Read the trials that have finished since the last call, and which ones are running."""
        if self._of is None or self._of() is not study:
            self._of = weakref.ref(study)
            self._reset()
        trials = study.get_trials(deepcopy=False)
        self._grow(len(trials))
        unread = [*self._open, *range(self._n_read, len(trials))]
        self._n_read = len(trials)
        self._open, self.running = [], []
        for number in unread:
            self._add(trials[number], study)

    def _grow(self, n: int) -> None:
        size = len(self._status)
        if n <= size:
            return
        more = max(n, 2 * size) - size
        self._status = np.append(self._status, np.zeros(more, dtype=np.int8))
        for name, column in self._columns.items():
            self._columns[name] = np.append(column, np.full(more, np.nan))

    def _add(self, trial: FrozenTrial, study: Study) -> None:
        if not trial.state.is_finished():
            self._open.append(trial.number)
            if trial.state is TrialState.RUNNING:
                self.running.append(trial)
        elif trial.state in _RANKED_STATES:
            self._status[trial.number] = _FINISHED
            distributions = trial.distributions
            candidates = self.common.items() if self.n_finished else sorted(distributions.items())
            self.common = {
                name: dist for name, dist in candidates if distributions.get(name) == dist
            }
            self.groups = _split_groups(self.groups, distributions)
            self.n_finished += 1
            self.n_complete += trial.state is TrialState.COMPLETE
            self.put(trial, trial.params)
            if len(study.directions) == 1:
                self._rank(trial, study.direction)
        else:
            self._status[trial.number] = _FREE

    def put(self, trial: FrozenTrial, params: Mapping[str, Any]) -> None:
        """Fill the row of a trial; a running one is included in the next `split`."""
        for name, value in params.items():
            if name not in self._columns:
                self._columns[name] = np.full(len(self._status), np.nan)
            if name in trial.distributions:
                internal = trial.distributions[name].to_internal_repr(value)
                self._columns[name][trial.number] = internal

    def _rank(self, trial: FrozenTrial, direction: StudyDirection) -> None:
        """Insert a trial in the order of Optuna's ``_split_trials``."""
        violation = sum(v for v in trial.constraints.values() if v > 0)
        sign = -1.0 if direction is StudyDirection.MAXIMIZE else 1.0
        if violation > 0:
            self._insert(self._infeasible, (violation, trial.number))
        elif trial.state is TrialState.COMPLETE:
            assert trial.value is not None
            self._insert(self._complete, (sign * trial.value, trial.number))
        else:
            self._insert(self._pruned, (*_pruned_key(trial, sign), trial.number))

    def _insert(self, order: Order, key: tuple[float, ...]) -> None:
        bisect.insort(order, key)
        del order[self._n_best :]

    def best(self, n: int) -> list[int]:
        """Return the numbers of the ``n`` best finished trials, sorted.

        Complete trials are ranked first, by value; then pruned ones, by the step that they
        reached and the value there; then those that violate a constraint.
        """
        ordered = [*self._complete, *self._pruned, *self._infeasible]
        return sorted(int(key[-1]) for key in ordered[:n])

    def split(
        self, names: Sequence[str], n_best: int, without: int, *, running: bool
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return the parameters of the best trials and those of all others.

        Parameters
        ----------
        names : sequence of str
            Parameters; trials that lack one of them are excluded from both results.
        n_best : int
        without : int
            Number of the trial that is being sampled, which is excluded.
        running : bool
            Whether running trials are included in the others.

        Returns
        -------
        best, others : dict of str to ndarray
            One value per trial, in the order of the trials' numbers.
        """
        selected = self._status[: self._n_read] == _FINISHED
        for trial in self.running if running else ():
            selected[trial.number] = trial.number != without
        columns = {name: self._column(name) for name in names}
        for column in columns.values():
            selected &= ~np.isnan(column)
        good = [number for number in self.best(n_best) if selected[number]]
        selected[good] = False
        others = np.flatnonzero(selected)
        return (
            {name: column[good] for name, column in columns.items()},
            {name: column[others] for name, column in columns.items()},
        )

    def _column(self, name: str) -> np.ndarray:
        column = self._columns.get(name)
        return np.full(self._n_read, np.nan) if column is None else column[: self._n_read]


def _split_groups(
    groups: Sequence[Mapping[str, BaseDistribution]], of_trial: Mapping[str, BaseDistribution]
) -> list[dict[str, BaseDistribution]]:
    """Return the groups, each split into the parameters that a trial has and those it lacks."""
    grouped = set().union(*groups)
    parts = [
        {name: dist for name, dist in group.items() if (name in of_trial) is has}
        for group in groups
        for has in (True, False)
    ]
    parts.append({name: dist for name, dist in of_trial.items() if name not in grouped})
    return [part for part in parts if part]


def _pruned_key(trial: FrozenTrial, sign: float) -> tuple[float, float]:
    """Return the sort key of a pruned trial: more steps are better, then the last value counts."""
    if not trial.intermediate_values:
        return 1.0, 0.0
    step, value = max(trial.intermediate_values.items())
    return float(-step), math.inf if math.isnan(value) else sign * value
