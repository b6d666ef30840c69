"""Random points."""

from hpo.samplers.base import BaseOptunaFactory, RandomSampler

__all__ = ["Random"]


class Random(BaseOptunaFactory):
    """Creates Optuna's `RandomSampler`."""

    sampler = RandomSampler
    memoryless = True
    n_tries = None  # in a finite space, points are drawn from the untried ones
