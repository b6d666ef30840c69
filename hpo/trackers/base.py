"""The base class of trackers."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

from hpo.storage.study_facts import StudyRecord
from hpo.trackers._progress import Progress
from hpo.trial import CHANGED, Report, TrialRecord

__all__ = ["WHOLE", "BaseTracker", "TrialChange", "Written", "number", "step_metrics", "trial_mark"]

WHOLE = "whole"
"""The mark of a trial that is in the target to its end, whatever its record says."""


@dataclass(frozen=True, slots=True)
class Written:
    """What the target of a tracker holds of a study already.

    Parameters
    ----------
    study : str
        The mark that the study was last written with; empty if it has none.
    trials : mapping of int to str
        Number of each trial in the target to the mark that it was last written with.
    progress : int
        The first entries of the study's course that are in the target for sure.
    """

    study: str = ""
    trials: Mapping[int, str] = field(default_factory=dict)
    progress: int = 0


@dataclass(frozen=True, slots=True)
class TrialChange:
    """A trial that differs from what the target holds of it.

    Parameters
    ----------
    record : TrialRecord
        The trial as it stands in the storage.
    mark : str
        The mark to write with it, last of all: it tells that all of the rest is there.
    n_written : int
        The first reports that are in the target for sure; further ones may be there.
    """

    record: TrialRecord
    mark: str
    n_written: int = 0

    @property
    def new_reports(self) -> Sequence[Report]:
        """The reports to write; each has a time that is the same at every attempt."""
        return self.reports[self.n_written :]

    @property
    def reports(self) -> Sequence[Report]:
        """All reports of the trial, those of the first fold alone too."""
        record = self.record
        if all(report.time for report in record.all_reports):
            return record.all_reports
        # Older studies do not have the times.
        since = accumulate(report.seconds for report in record.reports)
        times = [(record.started or 0.0) + seconds for seconds in since]
        return [replace(r, time=time) for r, time in zip(record.reports, times, strict=True)]


class BaseTracker(ABC):
    """Makes a target (a server, a folder, a file) agree with the storage of a study.

    The storage is the truth, and a tracker follows it from a process of its own: that process
    reads the storage again and again and calls the tracker with what the target does not have
    yet. It may be killed anywhere, and then starts again at `open`. So whatever is written twice
    must have the same effect as once, and what has been written is read from the target, never
    remembered elsewhere: the marks of the study and of its trials, which are written last.

    Every method may take its time and raise anything: then the process tries again later,
    starting at `open`. The driver never waits for it while the study runs.

    A tracker is created by the driver and pickled for that process.
    """

    keeps_files = True
    """Whether the tracker takes the report, the plots and the model of a study. The first two are
    not made otherwise."""

    keeps_model = True
    """Whether the model is kept with the study, beside its storage, whoever takes it."""

    @property
    @abstractmethod
    def target(self) -> str:
        """The address of the target, independent of the current folder; empty for nothing."""

    @property
    def page(self) -> str:
        """The web address of the study's trials, once it is open; empty if there is none."""
        return ""

    @abstractmethod
    def open(self, study: StudyRecord) -> Written:
        """Open the study's place in the target, creating it if need be.

        Parameters
        ----------
        study : StudyRecord

        Returns
        -------
        Written
            What is there.
        """

    @abstractmethod
    def write_study(self, study: StudyRecord) -> None:
        """Write the study's settings, state, results and files, and last its ``mark``."""

    @abstractmethod
    def write_trials(self, changes: Sequence[TrialChange]) -> None:
        """Write trials, each with its mark last."""

    def write_progress(self, course: Sequence[Progress]) -> None:  # noqa: B027
        """Write how the study came on, once the trials in question are written.

        Parameters
        ----------
        course : sequence of Progress
            What `Written.progress` does not count; further entries may be there.
        """

    def watch(self, study: StudyRecord) -> None:  # noqa: B027
        """Do what is done now and then while the study runs: called at each look at it."""

    def refused(self) -> Sequence[str]:
        """Return what the target has rejected for good since the last call, as texts."""
        return ()

    def close(self) -> None:  # noqa: B027
        """Finish writing; `open` may follow."""


def trial_mark(record: TrialRecord) -> str:
    """Return the mark of a trial: the number of its reports, its state and the cause of its end."""
    return " ".join(filter(None, [str(len(record.all_reports)), record.state, record.cause]))


def step_metrics(report: Report, scoring: str = "") -> list[tuple[str, float]]:
    """Return what is recorded of a step: names and values, those of the folds as their mean.

    ``score``, the same under the scorer's own name if that is given, ``score_fold_<i>``,
    ``score_<name>`` of further scorers, ``seconds``, and what the estimator records of its
    training under its own name. Of a first fold that is trained alone all names begin with
    ``first_fold_``: its values are not to be taken for those of all folds.
    """
    if report.screening:
        own = {"score": report.fold_values, **report.metrics}
        return [(f"first_fold_{name}", number(each[0])) for name, each in own.items() if each]
    metrics = [("score", number(report.value))]
    metrics += [(f"score_fold_{i}", number(v)) for i, v in enumerate(report.fold_values)]
    for name, values in report.metrics.items():
        as_named = name in report.recorded or name.startswith(("train_", "valid_", CHANGED))
        numbers = [number(value) for value in values]
        mean = sum(numbers) / len(numbers) if numbers else math.nan
        metrics.append((name if as_named else f"score_{name}", mean))
    metrics.append(("seconds", number(report.seconds)))
    if scoring and scoring not in {name for name, _ in metrics}:
        metrics.append((scoring, number(report.value)))
    return metrics


def number(value: Any) -> float:
    """Return a value as a float; nan if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
