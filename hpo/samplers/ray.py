"""The search algorithms of Ray Tune."""

from typing import Any

from hpo.exceptions import PluginError
from hpo.samplers.base import BaseSampler, BaseSamplerFactory
from hpo.space import SearchSpace

__all__ = ["Ray"]


class Ray(BaseSamplerFactory):
    """Creates a `RaySampler`; its options are those of the algorithm."""

    def make(
        self, options: dict[str, Any], seed: int, *, parallel: bool, space: SearchSpace | None
    ) -> BaseSampler:
        """Return the sampler of the algorithm that the option ``algorithm`` names."""
        try:
            from hpo.samplers._ray import RaySampler
        except ImportError as error:
            raise PluginError(
                f"sampler 'ray' needs Ray Tune, which cannot be imported: {error}. "
                "pip install 'ray[tune]', or choose another sampler."
            ) from error
        algorithm = options.pop("algorithm", None)
        return RaySampler(algorithm, options, space.distributions if space else {}, seed)
