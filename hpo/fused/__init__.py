"""Training of many models in one loop, over leading axes of folds and models.

It depends on torch only. `FusedModels` trains the models; `certify` proves, with the user's own
module and `torch.optim`, that it trains the same weights.
"""

from hpo.fused._blocks import fits
from hpo.fused._criteria import OF_CLASSES, OF_NUMBERS, Criterion, widen
from hpo.fused._leaves import (
    REPLAYED,
    BatchableModule,
    dropout_rates,
    rate_attribute,
    replay_dropout,
    write_state,
)
from hpo.fused._parametrized import WEIGHT_NORM
from hpo.fused._plan import ModelState, Plan, Schedule
from hpo.fused._replay import Replay
from hpo.fused._rounding import perturbed, rounding_explains
from hpo.fused._updates import UPDATES
from hpo.fused.certify import TOLERANCE_FLOAT32, Reference, ReferenceTrainer, certify
from hpo.fused.engine import FusedModels
from hpo.fused.errors import DivergedError, NotFusibleError

__all__ = [
    "OF_CLASSES",
    "OF_NUMBERS",
    "REPLAYED",
    "TOLERANCE_FLOAT32",
    "UPDATES",
    "WEIGHT_NORM",
    "BatchableModule",
    "Criterion",
    "DivergedError",
    "FusedModels",
    "ModelState",
    "NotFusibleError",
    "Plan",
    "Reference",
    "ReferenceTrainer",
    "Replay",
    "Schedule",
    "certify",
    "dropout_rates",
    "fits",
    "perturbed",
    "rate_attribute",
    "replay_dropout",
    "rounding_explains",
    "widen",
    "write_state",
]
