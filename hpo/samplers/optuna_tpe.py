"""Optuna's tree-structured Parzen estimator."""

from hpo.backends._samplers import BaseOptunaFactory, TPESampler

__all__ = ["OptunaTPE"]


class OptunaTPE(BaseOptunaFactory):
    """Makes Optuna's `TPESampler`."""

    sampler = TPESampler
    memoryless = True
    liar = True
