"""The sampler that suits the search: a Gaussian process or a tree-structured Parzen estimator."""

from collections.abc import Sequence
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo._discovery import check_options
from hpo.exceptions import PluginError
from hpo.samplers._delegating import DelegatingSampler
from hpo.samplers.base import BaseSamplerFactory, make_sampler
from hpo.space import SearchSpace

__all__ = ["Auto", "AutoSampler", "choice"]

MOST_PARAMETERS = 20
"""Parameters beyond which a Gaussian process has too little to go by."""
LEAST_COMPLETE, LEAST_ENDED = 10, 40
"""Complete trials, or complete and stopped ones, from which a Gaussian process proposes."""
MOST_TRIALS = 250
"""Complete and stopped trials up to which it does: a proposal grows with the cube of them."""
MOST_STOPPED = 100
"""Stopped trials that it looks at."""


def choice(
    space: SearchSpace, *, slow: bool, parallel: bool, n_objectives: int = 1
) -> tuple[str, str]:
    """Return the name of the sampler that suits a search, and why, in a few words.

    A Gaussian process finds better points in fewer trials where the space is one of numbers, and
    takes a twentieth of a second and more for a proposal.

    Parameters
    ----------
    space : SearchSpace
    slow : bool
        Whether a trial takes much longer than a proposal.
    parallel : bool
        Whether several trials run at once.
    n_objectives : int, default=1
    """
    n_names = sum(isinstance(d, CategoricalDistribution) for d in space.distributions.values())
    against = {
        "several objectives": n_objectives > 1,
        "quick trials": not slow,
        "several trials at a time": parallel,
        "a space with conditions": len(space.parts) > 1 or bool(space.conditions),
        "a space of names": 2 * n_names > len(space),
        f"more than {MOST_PARAMETERS} parameters": len(space) > MOST_PARAMETERS,
    }
    for reason, holds in against.items():
        if holds:
            return "tpe", reason
    return "gp", "slow trials on a space of numbers"


class Auto(BaseSamplerFactory):
    """Creates the sampler that `choice` names.

    Options are ``slow`` (whether a trial takes much longer than a proposal; in a study, whether
    the estimator is trained in epochs) and ``n_objectives``.
    """

    def make(
        self, options: dict[str, Any], seed: int, *, parallel: bool, space: SearchSpace | None
    ) -> BaseSampler:
        """Return a sampler; see `BaseSamplerFactory.make`."""
        check_options(f"sampler '{self.name}'", _options, options)
        if not isinstance(options.get("slow", True), bool):
            raise PluginError(f"sampler 'auto': slow is true or false. Got {options['slow']!r}.")
        tpe = make_sampler("tpe", seed, parallel=parallel, space=space)
        if space is None or choice(space, **_options(**options), parallel=parallel)[0] == "tpe":
            return tpe
        return AutoSampler(make_sampler("gp", seed, parallel=parallel, space=space), tpe)


def _options(*, slow: bool = True, n_objectives: int = 1) -> dict[str, Any]:
    return {"slow": slow, "n_objectives": n_objectives}


class AutoSampler(DelegatingSampler):
    """Proposes by a Gaussian process while trials are enough and not too many, else by TPE.

    Which one depends on the study's trials alone, so a study that goes on is proposed the same.

    Parameters
    ----------
    gp, tpe : optuna.samplers.BaseSampler
    """

    def __init__(self, gp: BaseSampler, tpe: BaseSampler) -> None:
        self.gp, self.tpe = gp, tpe
        self._number: int | None = None
        self._current = tpe

    def sampler_for(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        """Return the one that suits the number of trials that have ended."""
        if trial.number != self._number:
            states = (TrialState.COMPLETE, TrialState.PRUNED)
            trials = study.get_trials(deepcopy=False, states=states)
            n_complete = sum(trial.state is TrialState.COMPLETE for trial in trials)
            n_used = n_complete + min(len(trials) - n_complete, MOST_STOPPED)
            enough = n_complete >= LEAST_COMPLETE or len(trials) >= LEAST_ENDED
            suits = enough and n_used <= MOST_TRIALS
            self._number, self._current = trial.number, self.gp if suits else self.tpe
        return self._current

    def reseed_rng(self) -> None:
        """Delegate."""
        self.gp.reseed_rng()
        self.tpe.reseed_rng()

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Tell both: the other one may be asked next."""
        self.gp.after_trial(study, trial, state, values)
        self.tpe.after_trial(study, trial, state, values)
