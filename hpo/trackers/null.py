"""A tracker that writes nothing."""

from collections.abc import Sequence

from hpo.storage.study_facts import StudyRecord
from hpo.trackers.base import BaseTracker, TrialChange, Written

__all__ = ["NullTracker"]


class NullTracker(BaseTracker):
    """Tracks nothing: no process is started for it."""

    keeps_files = False

    @property
    def target(self) -> str:
        """No target."""
        return ""

    def open(self, study: StudyRecord) -> Written:
        """Return that nothing is there."""
        return Written()

    def write_study(self, study: StudyRecord) -> None:
        """Ignore the study."""

    def write_trials(self, changes: Sequence[TrialChange]) -> None:
        """Ignore trials."""
