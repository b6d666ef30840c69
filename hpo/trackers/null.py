"""A tracker that listens to nothing."""

from hpo.trackers.base import BaseTracker

__all__ = ["NullTracker"]


class NullTracker(BaseTracker):
    """Tracks nothing."""
