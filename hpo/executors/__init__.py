"""How trials are advanced on one machine.

Each public module but ``base`` holds one executor and is found by its name; see `BaseExecutor`.
"""

from typing import TYPE_CHECKING

from hpo._lazy import lazy
from hpo.executors.base import BaseExecutor, Ended, Event, Failed, Reported, Revoked, TimedOut

if TYPE_CHECKING:
    from hpo.executors._build import make_executor
    from hpo.executors._payload import pickled
    from hpo.executors._running import RunningTrial
    from hpo.executors._settings import Settings, settings_of_this_process
    from hpo.executors._training_clock import TrainingClock
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "RunningTrial": "._running",
            "Settings": "._settings",
            "TrainingClock": "._training_clock",
            "make_executor": "._build",
            "pickled": "._payload",
            "settings_of_this_process": "._settings",
        },
    )

__all__ = [
    "BaseExecutor",
    "Ended",
    "Event",
    "Failed",
    "Reported",
    "Revoked",
    "RunningTrial",
    "Settings",
    "TimedOut",
    "TrainingClock",
    "make_executor",
    "pickled",
    "settings_of_this_process",
]
