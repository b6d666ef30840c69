"""The base class of trackers."""

from hpo.observer import BaseObserver

__all__ = ["BaseTracker"]


class BaseTracker(BaseObserver):
    """Notified of the events of a study, in order, by the driver process.

    Every method must return at once and never raise: a tracker that uses something slow or
    unreliable does so in the background. A tracker overrides the methods that it needs.
    """

    keeps_artifacts = False
    """Whether this tracker stores the report, the plots and the model."""
