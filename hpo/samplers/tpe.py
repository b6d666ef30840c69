"""A tree-structured Parzen estimator whose good trials are a tenth of the complete ones."""

from collections.abc import Mapping
from typing import Any

from hpo.samplers._tpe import CompletesTPESampler
from hpo.samplers.base import BaseOptunaFactory, BaseSampler, PerTrialSampler, seeded
from hpo.space import SearchSpace
from hpo.trial import derive_seed

__all__ = ["TPE"]


class TPE(BaseOptunaFactory):
    """Creates a `CompletesTPESampler` per trial; all of them share the data on the study."""

    sampler = CompletesTPESampler
    memoryless = True
    liar = True

    def build(
        self, options: Mapping[str, Any], seed: int, space: SearchSpace | None
    ) -> BaseSampler:
        """Return a sampler that knows the order of the parameters."""
        sampler = seeded(CompletesTPESampler, options, derive_seed(seed, "sampler"))
        sampler.expect(list(space.distributions) if space else [])
        return PerTrialSampler(sampler.reseeded, seed)
