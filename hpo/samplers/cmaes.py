"""CMA-ES: a normal distribution that moves and takes the shape of what did well."""

from hpo.samplers.base import BaseOptunaFactory, CmaEsSampler

__all__ = ["CMAES"]


class CMAES(BaseOptunaFactory):
    """Makes Optuna's `CmaEsSampler`."""

    sampler = CmaEsSampler
