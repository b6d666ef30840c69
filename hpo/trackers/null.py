"""A tracker that writes nothing."""

from collections.abc import Sequence

from hpo.storage.study_facts import StudyRecord
from hpo.trackers.base import BaseTracker, TrialChange, Written

__all__ = ["NullTracker"]


class NullTracker(BaseTracker):
    """Tracks nothing: no process is started for it.

    Parameters
    ----------
    keep_model : bool, default=True
        Whether the refitted winner is kept beside the storage all the same, for
        `StudyResult.estimator` and ``hpo export-model``.
    """

    keeps_files = False

    def __init__(self, keep_model: bool = True) -> None:
        self.keeps_model = keep_model

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
