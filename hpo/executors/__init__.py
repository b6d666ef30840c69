"""How trials are advanced on one machine.

Each public module holds one executor and is found by its name; see `BaseExecutor`.
"""

from hpo.executors._base import BaseExecutor, Ended, Event, Failed, Reported, Revoked

__all__ = ["BaseExecutor", "Ended", "Event", "Failed", "Reported", "Revoked"]
