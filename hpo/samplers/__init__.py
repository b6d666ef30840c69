"""Samplers, which propose the parameters of trials.

Each public module except ``base`` defines how one sampler is created, and is found by its name;
see `BaseSamplerFactory`.
"""

from typing import TYPE_CHECKING

from hpo._lazy import lazy

if TYPE_CHECKING:
    from hpo.samplers.base import (
        BaseOptunaFactory,
        BaseSamplerFactory,
        PerTrialSampler,
        make_sampler,
    )
else:
    __getattr__, __dir__ = lazy(  # these modules import Optuna
        __name__,
        {
            "BaseOptunaFactory": ".base",
            "BaseSamplerFactory": ".base",
            "PerTrialSampler": ".base",
            "make_sampler": ".base",
        },
    )

__all__ = ["BaseOptunaFactory", "BaseSamplerFactory", "PerTrialSampler", "make_sampler"]
