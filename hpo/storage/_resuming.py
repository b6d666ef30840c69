"""Trials that run interrupted ones again, and go on from where these were put aside."""

import dataclasses
from collections.abc import Callable, Sequence

from optuna.trial import FrozenTrial

from hpo.storage.records import RESUMED, RETRY, stored_of
from hpo.training.checkpoints import CheckpointError, CheckpointFiles
from hpo.trial import Cause, Report, Trial, TrialRecord, derive_seed

__all__ = ["Places", "predecessors", "reports_up_to", "resumed", "resumed_step"]

_VOID = {Cause.REVOKED, Cause.RETRIED}
"""Causes of an end after which a training begins anew."""


def predecessors(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that were to run the same point before a trial, the last one first.

    Parameters
    ----------
    trial : FrozenTrial
    trials : sequence of FrozenTrial
        All trials of the study.
    """
    earlier = []
    while (number := trial.user_attrs.get(RETRY)) is not None:
        trial = trials[number]
        earlier.append(trial)
    return earlier


class Places:
    """Numbers of the trials of a study without those that run others again.

    An interrupted trial and the one in its place have one place, and so one seed: the trials of a
    study that was interrupted are those of one that ran through.
    """

    def __init__(self) -> None:
        self._retries: list[int] = []
        self._n_read = 0

    def seed(self, study_seed: int, number: int, trials: Sequence[FrozenTrial]) -> int:
        """Return the seed of trial ``number``; all trials up to it must be there.

        Parameters
        ----------
        study_seed : int
            Seed of the study.
        number : int
        trials : sequence of FrozenTrial
            All trials of the study.
        """
        for trial in trials[self._n_read :]:
            if RETRY in trial.user_attrs:
                self._retries.append(trial.number)
        self._n_read = max(self._n_read, len(trials))
        first = [trials[number], *predecessors(trials[number], trials)][-1]
        if first.number != number:
            stored = stored_of(first).get("seed")
            if stored is not None:
                return int(stored)
        place = first.number - sum(retry < first.number for retry in self._retries)
        return derive_seed(study_seed, "trial", place)


def resumed_step(trial: FrozenTrial) -> int:
    """Return the step from which a trial went on; 0 if it began anew."""
    _, step = stored_of(trial).get(RESUMED, (None, 0))
    return int(step)


def resumed(
    trial: Trial,
    earlier: Sequence[FrozenTrial],
    files: CheckpointFiles,
    record_of: Callable[[FrozenTrial], TrialRecord],
) -> tuple[Trial, str]:
    """Return a trial that goes on from its checkpoint, or the same trial if there is none.

    Parameters
    ----------
    trial : Trial
    earlier : sequence of FrozenTrial
        See `predecessors`.
    files : CheckpointFiles
    record_of : callable
        Returns the record of a trial in the storage.

    Returns
    -------
    trial : Trial
    note : str
        Why a checkpoint is not used; empty as a rule.
    """
    why = "it is of a step whose reports are not in the storage"
    try:
        checkpoint = files.read(trial)
    except CheckpointError as error:
        checkpoint, why = None, str(error)
    else:
        if checkpoint is None:
            return trial, ""
    for record in map(record_of, earlier):
        if checkpoint is None:
            break
        if record.cause in _VOID:
            return trial, ""
        if len(reports_up_to(record, checkpoint.step)) == checkpoint.step:
            step = checkpoint.step
            return dataclasses.replace(trial, resumed_from=record.number, resumed_step=step), ""
    files.remove(trial.seed)
    note = f"trial {trial.number} starts at its first epoch: its checkpoint is not used, because"
    return trial, f"{note} {why}"


def reports_up_to(record: TrialRecord, position: int) -> tuple[Report, ...]:
    """Return the reports of a trial up to a `Report.position`."""
    return tuple(report for report in record.all_reports if report.position <= position)
