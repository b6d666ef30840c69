"""Every combination of the space, each once."""

from hpo.samplers.base import BaseOptunaFactory, RandomSampler

__all__ = ["Grid"]


class Grid(BaseOptunaFactory):
    """Makes a sampler that has nothing to propose: the points of the grid are enqueued."""

    sampler = RandomSampler
    memoryless = True
    repeats = True
