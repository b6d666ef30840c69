"""Optuna's tree-structured Parzen estimator."""

from hpo.samplers.base import BaseOptunaFactory, TPESampler

__all__ = ["OptunaTPE"]


class OptunaTPE(BaseOptunaFactory):
    """Creates Optuna's `TPESampler`."""

    sampler = TPESampler
    memoryless = True
    liar = True
