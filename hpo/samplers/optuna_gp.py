"""Optuna's Gaussian process."""

from hpo.samplers.base import BaseOptunaFactory, GPSampler

__all__ = ["OptunaGP"]


class OptunaGP(BaseOptunaFactory):
    """Makes Optuna's `GPSampler`."""

    sampler = GPSampler
    n_tries = 0  # it would say the same
