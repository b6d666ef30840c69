"""Random points."""

from hpo.samplers.base import BaseOptunaFactory, RandomSampler

__all__ = ["Random"]


class Random(BaseOptunaFactory):
    """Makes Optuna's `RandomSampler`."""

    sampler = RandomSampler
    memoryless = True
    n_tries = None  # points of a finite space are drawn from those that are left
