"""Trackers, which are notified of the events of a study.

Each public module holds one tracker and is found by its name; see `BaseTracker`.
"""

from hpo.trackers.base import BaseTracker

__all__ = ["BaseTracker"]
