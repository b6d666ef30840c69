"""Who proposes trials.

Each public module but ``base`` says how one sampler is made and is found by its name; see
`BaseSamplerFactory`.
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
    __getattr__, __dir__ = lazy(  # with Optuna
        __name__,
        {
            "BaseOptunaFactory": ".base",
            "BaseSamplerFactory": ".base",
            "PerTrialSampler": ".base",
            "make_sampler": ".base",
        },
    )

__all__ = ["BaseOptunaFactory", "BaseSamplerFactory", "PerTrialSampler", "make_sampler"]
