"""A sampler that leaves each trial to another one."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

__all__ = ["DelegatingSampler"]


class DelegatingSampler(BaseSampler):
    """Base of samplers that choose, trial by trial, who proposes."""

    @abstractmethod
    def sampler_for(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        """Return the sampler that proposes a trial."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Delegate."""
        return self.sampler_for(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Delegate."""
        return self.sampler_for(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Delegate."""
        sampler = self.sampler_for(study, trial)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Delegate."""
        self.sampler_for(study, trial).before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Delegate."""
        self.sampler_for(study, trial).after_trial(study, trial, state, values)
