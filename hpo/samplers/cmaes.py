"""CMA-ES, which adapts a normal distribution to the best points."""

from hpo.samplers._stored_optimizer import CheckedCmaEsSampler
from hpo.samplers.base import BaseOptunaFactory

__all__ = ["CMAES"]


class CMAES(BaseOptunaFactory):
    """Creates Optuna's `CmaEsSampler`."""

    sampler = CheckedCmaEsSampler
