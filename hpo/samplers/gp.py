"""A Gaussian process that also learns from pruned trials."""

from hpo.samplers._gp import StoppedGPSampler
from hpo.samplers.base import BaseOptunaFactory

__all__ = ["GP"]


class GP(BaseOptunaFactory):
    """Creates a `StoppedGPSampler`."""

    sampler = StoppedGPSampler
    memoryless = True
    n_tries = 0  # it would propose the same point again
