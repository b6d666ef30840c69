"""A Gaussian process that learns from stopped trials too."""

from hpo.backends._gp import StoppedGPSampler
from hpo.backends._samplers import BaseOptunaFactory

__all__ = ["GP"]


class GP(BaseOptunaFactory):
    """Makes a `StoppedGPSampler`."""

    sampler = StoppedGPSampler
    memoryless = True
    n_tries = 0  # it would say the same
