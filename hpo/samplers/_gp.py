"""A Gaussian process that learns from stopped trials too."""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import GPSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo._private_parts import note_missing, private_part
from hpo.samplers._random_share import RandomShare

__all__ = ["StoppedGPSampler", "expected_values"]

_LEAST_COMPLETE = 2

_GIVEN = ("study", "completed_trials", "running_trials", "search_space")
"""What the part of Optuna's sampler is given that this one has in its own way."""

_INSTEAD = "the Gaussian process is Optuna's own, which learns from complete trials alone"

_ENDED = 4
"""So many ended trials do for a complete one at the beginning."""

_NEAR = 0.25
"""Share of the complete trials that tell what a stopped one would have gained."""


class StoppedGPSampler(GPSampler):
    """Optuna's Gaussian process, which is also told what stopped trials would have come to.

    Optuna's learns from complete trials alone: with a pruner that stops most trials early it
    proposes near them again. Here a stopped trial counts with its last value and what the complete
    trials that were like it at that step have gained from there on; see `expected_values`.

    Parameters
    ----------
    n_startup_trials : int, default=10
        Complete trials before the process is asked; four times as many that have ended, of which
        two are complete, do as well. Until then trials are random.
    random_share : float, default=0.1
        Share of the later trials that are uniform random, from 0 to 1: a process that is sure of
        a wrong place stays there.
    n_stopped : int, default=100
        How many of the stopped trials count, the latest ones: the time that a proposal takes grows
        with the cube of the trials that do.
    seed : int, default=0

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    A study of several objectives is left to Optuna's rule. A proposal takes 0.05 to 0.5 s: for
    budgets of up to a few hundred trials.
    """

    def __init__(
        self,
        *,
        n_startup_trials: int = 10,
        random_share: float = 0.1,
        n_stopped: int = 100,
        seed: int = 0,
    ) -> None:
        if n_startup_trials < 1 or n_stopped < 0:
            raise ValueError(
                "n_startup_trials must be at least 1 and n_stopped at least 0. "
                f"Got {n_startup_trials} and {n_stopped} instead."
            )
        super().__init__(
            seed=seed, n_startup_trials=_LEAST_COMPLETE, warn_independent_sampling=False
        )
        self._n_begin, self._n_stopped = n_startup_trials, n_stopped
        self._random = RandomShare(random_share, seed)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose, once enough trials have ended, unless it is the turn of a random one."""
        private_part("optuna.samplers", "GPSampler._sample_relative_impl", _INSTEAD)
        if trial.number in self._random or not self._may_begin(study):
            return {}
        return super().sample_relative(study, trial, search_space)

    def _may_begin(self, study: Study) -> bool:
        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        trials = study.get_trials(deepcopy=False, states=ended)
        n_complete = sum(trial.state is TrialState.COMPLETE for trial in trials)
        return n_complete >= self._n_begin or len(trials) >= _ENDED * self._n_begin

    def _sample_relative_impl(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Have Optuna's process learn from more trials than the complete ones."""
        theirs = super()._sample_relative_impl
        if tuple(inspect.signature(theirs).parameters) != _GIVEN:
            part = f"GPSampler._sample_relative_impl({', '.join(_GIVEN)})"
            note_missing("optuna", part, _INSTEAD)
            return theirs(*args, **kwargs)
        study, complete, running, space = inspect.signature(theirs).bind(*args, **kwargs).args
        if len(study.directions) == 1 and self._n_stopped:
            pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
            # What broke a constraint (it ran out of memory) says nothing of its score.
            able = [t for t in pruned if space.keys() <= t.params.keys() and not t.constraints]
            complete = complete + _as_complete(able[-self._n_stopped :], complete)
        return theirs(study, complete, running, space)


def _as_complete(
    stopped: Sequence[FrozenTrial], complete: Sequence[FrozenTrial]
) -> list[FrozenTrial]:
    """Return copies of the stopped trials with the values that are expected of them."""
    found = []
    for trial, value in zip(stopped, expected_values(stopped, complete), strict=True):
        if value is not None:
            known = copy.copy(trial)
            known.state, known.values = TrialState.COMPLETE, [value]
            found.append(known)
    return found


def expected_values(
    stopped: Sequence[FrozenTrial], complete: Sequence[FrozenTrial]
) -> list[float | None]:
    """Return what stopped trials would have come to; None where nothing is known.

    The last value, and the median of what the complete trials have gained from that step on: of
    the quarter of them whose values were nearest to it there. It is not above the median of the
    complete trials, for others were better where the trial was stopped.

    Parameters
    ----------
    stopped, complete : sequence of FrozenTrial
        Of a study that maximizes.
    """
    ends = np.array([trial.values[0] for trial in complete])
    return [_expected(trial, complete, ends) for trial in stopped]


def _expected(
    trial: FrozenTrial, complete: Sequence[FrozenTrial], ends: np.ndarray
) -> float | None:
    if not trial.intermediate_values:
        return None
    step, value = max(trial.intermediate_values.items())
    there = np.array([other.intermediate_values.get(step, np.nan) for other in complete])
    known = np.flatnonzero(np.isfinite(there))
    if not np.isfinite(value) or not len(known):
        return None
    nearest = known[np.argsort(np.abs(there[known] - value), kind="stable")]
    near = nearest[: max(1, int(_NEAR * len(known)))]
    gained = float(np.median(ends[near] - there[near]))
    return min(value + gained, float(np.median(ends)))
