"""Every combination of the space, each once."""

from hpo.samplers.base import BaseOptunaFactory, RandomSampler

__all__ = ["Grid"]


class Grid(BaseOptunaFactory):
    """Creates a sampler that is never used, because the points of the grid are enqueued."""

    sampler = RandomSampler
    memoryless = True
    repeats = True
