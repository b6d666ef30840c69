"""Quasi-random points, which cover the space more evenly than random ones."""

from hpo.samplers.base import BaseOptunaFactory, QMCSampler

__all__ = ["QMC"]


class QMC(BaseOptunaFactory):
    """Creates Optuna's `QMCSampler`."""

    sampler = QMCSampler
