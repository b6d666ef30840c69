"""Optuna's Gaussian process."""

from hpo.samplers.base import BaseOptunaFactory, GPSampler

__all__ = ["OptunaGP"]


class OptunaGP(BaseOptunaFactory):
    """Creates Optuna's `GPSampler`."""

    sampler = GPSampler
    n_tries = 0  # it would propose the same point again
