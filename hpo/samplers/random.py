"""Random points."""

from hpo.backends._samplers import BaseOptunaFactory, RandomSampler

__all__ = ["Random"]


class Random(BaseOptunaFactory):
    """Makes Optuna's `RandomSampler`."""

    sampler = RandomSampler
    memoryless = True
