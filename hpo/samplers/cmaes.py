"""CMA-ES, which adapts a normal distribution to the best points."""

from hpo.samplers.base import BaseOptunaFactory, CmaEsSampler

__all__ = ["CMAES"]


class CMAES(BaseOptunaFactory):
    """Creates Optuna's `CmaEsSampler`."""

    sampler = CmaEsSampler
