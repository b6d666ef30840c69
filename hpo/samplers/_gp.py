"""A Gaussian process sampler that also learns from pruned trials."""

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
from hpo.samplers._acquisition import PARTS, greatest
from hpo.samplers._random_share import RandomShare

__all__ = ["StoppedGPSampler", "expected_values"]

_LEAST_COMPLETE = 2

_ARGUMENTS = ("study", "completed_trials", "running_trials", "search_space")
"""Arguments of the private method of Optuna's sampler that this sampler overrides."""

_FALLBACK = "the Gaussian process is Optuna's own, which learns from complete trials alone"

_SLOWLY = "proposals take longer"

_ENDED_PER_COMPLETE = 4
"""At the beginning, this many finished trials count as much as one complete trial."""

_NEAREST_SHARE = 0.25
"""Share of the complete trials that are used to extrapolate a pruned one."""


class StoppedGPSampler(GPSampler):
    """Optuna's Gaussian process sampler, which here also learns from pruned trials.

    Optuna's learns from complete trials only: with a pruner that stops most trials early, it
    proposes points near the pruned ones again. Here a pruned trial counts with its last value
    plus the gain, from that step on, of the complete trials that were similar at that step; see
    `expected_values`.

    Parameters
    ----------
    n_startup_trials : int, default=10
        Number of complete trials before the model is used; alternatively, four times as many
        finished trials of which two are complete. Until then trials are random.
    random_share : float, default=0.1
        Share of the later trials that are uniform random, from 0 to 1. Without them, a model that
        is certain of a wrong region would stay there.
    n_stopped : int, default=100
        Number of pruned trials that count, the latest ones: the time for a proposal grows with
        the cube of the number of trials used.
    seed : int, default=0

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    A study with several objectives learns from complete trials alone. A proposal takes 0.03 to
    0.1 s, a twentieth to a third of Optuna's; see `hpo.samplers._acquisition`.
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
        """Propose a point, unless too few trials have finished or the trial is a random one."""
        private_part("optuna.samplers", "GPSampler._sample_relative_impl", _FALLBACK)
        if trial.number in self._random or not self._may_begin(study):
            return {}
        return super().sample_relative(study, trial, search_space)

    def _may_begin(self, study: Study) -> bool:
        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        trials = study.get_trials(deepcopy=False, states=ended)
        n_complete = sum(trial.state is TrialState.COMPLETE for trial in trials)
        return n_complete >= self._n_begin or len(trials) >= _ENDED_PER_COMPLETE * self._n_begin

    def _sample_relative_impl(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Call Optuna's method with pruned trials added to the complete ones."""
        optuna_impl = super()._sample_relative_impl
        if tuple(inspect.signature(optuna_impl).parameters) != _ARGUMENTS:
            part = f"GPSampler._sample_relative_impl({', '.join(_ARGUMENTS)})"
            note_missing("optuna", part, _FALLBACK)
            return optuna_impl(*args, **kwargs)
        study, complete, running, space = inspect.signature(optuna_impl).bind(*args, **kwargs).args
        if len(study.directions) == 1 and self._n_stopped:
            pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
            # A trial that violated a constraint (ran out of memory) says nothing about the score.
            usable = [t for t in pruned if space.keys() <= t.params.keys() and not t.constraints]
            complete = complete + _as_complete(usable[-self._n_stopped :], complete)
        return optuna_impl(study, complete, running, space)

    def _optimize_acqf(self, acqf: Any, best_params: np.ndarray | None) -> np.ndarray:
        """Find where the acquisition function is greatest; Optuna means this to be overridden."""
        missing = [name for name in PARTS if not hasattr(acqf, name)]
        if missing:
            note_missing("optuna", f"BaseAcquisitionFunc.{missing[0]}", _SLOWLY)
            return super()._optimize_acqf(acqf, best_params)
        return greatest(acqf, best_params, self._rng.rng)


def _as_complete(
    stopped: Sequence[FrozenTrial], complete: Sequence[FrozenTrial]
) -> list[FrozenTrial]:
    """Return copies of the pruned trials as complete trials with their expected values."""
    copies = []
    for trial, value in zip(stopped, expected_values(stopped, complete), strict=True):
        if value is not None:
            completed = copy.copy(trial)
            completed.state, completed.values = TrialState.COMPLETE, [value]
            copies.append(completed)
    return copies


def expected_values(
    stopped: Sequence[FrozenTrial], complete: Sequence[FrozenTrial]
) -> list[float | None]:
    """Return the expected final values of pruned trials; None where they cannot be estimated.

    The expected value is the last value plus the median gain, from that step on, of the quarter of
    the complete trials whose values at that step were nearest. It is at most the median of the
    complete trials, since others were better where the trial was stopped.

    Parameters
    ----------
    stopped, complete : sequence of FrozenTrial
        Trials of a study that maximizes.
    """
    ends = np.array([trial.values[0] for trial in complete])
    return [_expected(trial, complete, ends) for trial in stopped]


def _expected(
    trial: FrozenTrial, complete: Sequence[FrozenTrial], ends: np.ndarray
) -> float | None:
    if not trial.intermediate_values:
        return None
    step, value = max(trial.intermediate_values.items())
    values_at_step = np.array([other.intermediate_values.get(step, np.nan) for other in complete])
    finite = np.flatnonzero(np.isfinite(values_at_step))
    if not np.isfinite(value) or not len(finite):
        return None
    nearest = finite[np.argsort(np.abs(values_at_step[finite] - value), kind="stable")]
    near = nearest[: max(1, int(_NEAREST_SHARE * len(finite)))]
    gained = float(np.median(ends[near] - values_at_step[near]))
    return min(value + gained, float(np.median(ends)))
