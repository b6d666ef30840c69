"""The base class of observers, which the driver process notifies of the events of a study."""

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo.trial import Report, TrialRecord

__all__ = ["BaseObserver", "StudyInfo"]


@dataclass(frozen=True, slots=True)
class StudyInfo:
    """The description of a study when it starts or is resumed.

    Parameters
    ----------
    name : str
        Name of the study.
    key : str
        Identifies the study across restarts and machines; stored with the study.
    params : mapping of str to object
        The study's settings (backend, sampler, pruner, seed, n_folds, ...).
    tags : mapping of str to str
        The environment: versions of the main packages, git commit, host.
    artifacts : mapping of str to str
        File name to text: the study file, the search space.
    data : mapping of str to object
        ``name``, ``digest``, ``n_samples``, ``shape``, ``columns`` and ``source`` of the data,
        and ``n_test`` of the held-out part; empty if they are not known.
    copied : tuple of TrialRecord, or None
        Finished trials copied into a study that has just been extended, which are all its trials;
        None for any other study.
    """

    name: str
    key: str
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    copied: tuple[TrialRecord, ...] | None = None


class BaseObserver(ABC):  # noqa: B024 - every method is a hook with a default
    """Notified of the events of a study, in order, by the driver process.

    Every method must return at once. An observer overrides the methods that it needs.
    """

    def on_study_start(self, info: StudyInfo) -> None:  # noqa: B027
        """Handle the start of a study, or its continuation after a restart."""

    def on_trial_start(self, record: TrialRecord) -> None:  # noqa: B027
        """Handle the start of a trial."""

    def trial_trained_by(self, record: TrialRecord) -> None:  # noqa: B027
        """Handle how a trial is trained (``record.trained_by``), when this is known or changes."""

    def on_screening(self, record: TrialRecord, report: Report) -> None:  # noqa: B027
        """Handle a report of the first fold, trained alone: the last of ``record.screening``."""

    def on_report(self, record: TrialRecord, report: Report) -> None:  # noqa: B027
        """Handle a report of all folds; ``report`` is the last of ``record.reports``."""

    def on_trial_end(self, record: TrialRecord) -> None:  # noqa: B027
        """Handle the end of a trial; ``record`` is final."""

    def on_study_end(  # noqa: B027
        self,
        metrics: Mapping[str, float],
        params: Mapping[str, Any],
        artifacts: Mapping[str, Path],
        *,
        state: str = "complete",
    ) -> None:
        """Handle the end of a study.

        Parameters
        ----------
        metrics : mapping of str to float
            ``best_score``, ``test_score``, ``n_trials``, ...
        params : mapping of str to object
            ``best_<name>`` of each parameter of the winner, and ``trained_by``: the
            numbers of trials by how they were trained.
        artifacts : mapping of str to Path
            Name to a local file that is copied: report, plots, the refitted model.
        state : {"complete", "failed", "interrupted"}
        """

    def close(self, timeout: float = 60.0) -> str:
        """Send buffered records, waiting at most ``timeout`` seconds.

        Returns
        -------
        str
            A note for the user (where the records are, what could not be sent and what happens to
            it); empty if there is none.
        """
        return ""
