"""A tracker that ignores all events."""

from hpo.trackers.base import BaseTracker

__all__ = ["NullTracker"]


class NullTracker(BaseTracker):
    """Tracks nothing."""
