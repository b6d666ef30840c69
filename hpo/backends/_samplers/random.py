"""Random points."""

from hpo.backends._sampling import BaseOptunaFactory, RandomSampler

__all__ = ["Random"]


class Random(BaseOptunaFactory):
    """Makes Optuna's `RandomSampler`."""

    sampler = RandomSampler
    memoryless = True
