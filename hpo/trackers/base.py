"""What every tracker is."""

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo.trial import Report, TrialRecord

__all__ = ["BaseTracker", "StudyInfo"]


@dataclass(frozen=True, slots=True)
class StudyInfo:
    """What a tracker is told of a study when it starts or goes on.

    Parameters
    ----------
    name : str
        Name of the study.
    key : str
        Identifies the study across restarts and machines; kept in its storage.
    params : mapping of str to object
        The study's settings (backend, sampler, pruner, seed, n_folds, ...).
    tags : mapping of str to str
        Where it runs: versions of the main packages, git commit, host.
    artifacts : mapping of str to str
        File name to text: the study file, the search space.
    copied : tuple of TrialRecord, or None
        Finished trials that a study that has just been extended has taken over, which are all
        that it has; None of any other.
    """

    name: str
    key: str
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    copied: tuple[TrialRecord, ...] | None = None


class BaseTracker(ABC):  # noqa: B024 - every method is a hook with a default
    """Told what happens, in order, by the driver process.

    Every method returns at once and never raises: a tracker that talks to something slow
    or broken does so elsewhere. A tracker overrides what it wants to hear.
    """

    keeps_artifacts = False
    """Whether the report, the plots and the model are worth making for this tracker."""

    def on_study_start(self, info: StudyInfo) -> None:  # noqa: B027
        """Hear that a study starts, or goes on after a restart."""

    def on_trial_start(self, record: TrialRecord) -> None:  # noqa: B027
        """Hear that a trial begins."""

    def trial_trained_by(self, record: TrialRecord) -> None:  # noqa: B027
        """Hear how a trial is trained (``record.trained_by``), when it is known or changes."""

    def on_report(self, record: TrialRecord, report: Report) -> None:  # noqa: B027
        """Hear of a step; ``report`` is the last of ``record.reports``."""

    def on_trial_end(self, record: TrialRecord) -> None:  # noqa: B027
        """Hear that a trial ended; ``record`` is final."""

    def on_study_end(  # noqa: B027
        self,
        metrics: Mapping[str, float],
        params: Mapping[str, Any],
        artifacts: Mapping[str, Path],
        *,
        state: str = "complete",
    ) -> None:
        """Hear the study's outcome.

        Parameters
        ----------
        metrics : mapping of str to float
            ``best_score``, ``test_score``, ``n_trials``, ...
        params : mapping of str to object
            ``best_<name>`` of each parameter of the winner, and ``trained_by``: how many trials
            were trained how.
        artifacts : mapping of str to Path
            Name to a local file that is copied: report, plots, the refitted model.
        state : {"complete", "failed", "interrupted"}
        """

    def close(self, timeout: float = 60.0) -> str:
        """Hand over what is still held back, waiting at most ``timeout`` seconds.

        Returns
        -------
        str
            What the user should know (where the records are, what could not be sent and what
            happens to it); empty if there is nothing to say.
        """
        return ""
