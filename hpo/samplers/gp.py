"""A Gaussian process that learns from stopped trials too."""

from hpo.samplers._gp import StoppedGPSampler
from hpo.samplers.base import BaseOptunaFactory

__all__ = ["GP"]


class GP(BaseOptunaFactory):
    """Makes a `StoppedGPSampler`."""

    sampler = StoppedGPSampler
    memoryless = True
    n_tries = 0  # it would say the same
