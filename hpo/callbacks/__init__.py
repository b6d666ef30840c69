"""Training techniques as skorch callbacks; each is imported on first use."""

from typing import TYPE_CHECKING

from hpo._lazy import lazy

if TYPE_CHECKING:
    from hpo.callbacks.averaging import WeightAveraging
    from hpo.callbacks.clipping import GradientClipping
    from hpo.callbacks.freezing import Freezing
    from hpo.callbacks.initialisation import WeightInit
    from hpo.callbacks.schedule import LRSchedule
    from hpo.callbacks.training_end import EndOfTraining, OnceTrained
    from hpo.callbacks.weight_pruning import OncePruned, WeightPruning
    from hpo.callbacks.weight_stats import WeightStats
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "EndOfTraining": ".training_end",
            "Freezing": ".freezing",
            "GradientClipping": ".clipping",
            "LRSchedule": ".schedule",
            "OncePruned": ".weight_pruning",
            "OnceTrained": ".training_end",
            "WeightAveraging": ".averaging",
            "WeightInit": ".initialisation",
            "WeightPruning": ".weight_pruning",
            "WeightStats": ".weight_stats",
        },
    )

__all__ = [
    "EndOfTraining",
    "Freezing",
    "GradientClipping",
    "LRSchedule",
    "OncePruned",
    "OnceTrained",
    "WeightAveraging",
    "WeightInit",
    "WeightPruning",
    "WeightStats",
]
