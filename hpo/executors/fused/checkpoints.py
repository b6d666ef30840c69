"""Checkpoints of the trials in batches: all of a batch at once, between two epochs."""

import time
from dataclasses import replace
from weakref import WeakKeyDictionary

from hpo._failures import message_of
from hpo.executors.fused.batch import KINDS, TrialBatch
from hpo.executors.fused.extract import ExtractedTrial
from hpo.executors.fused.seat_state import SeatState
from hpo.training.checkpointing import Checkpointing, ResumeError
from hpo.training.checkpoints import Checkpoint, CheckpointError
from hpo.trial import Trial

__all__ = ["BatchCheckpoints"]


class BatchCheckpoints:
    """Puts the trials of batches aside, and has them go on.

    That a trial goes on bit for bit, where its batch has the same trials as before, is held by
    hpo's tests and needs no proof in each study: all that is trained here is hpo's own.

    Parameters
    ----------
    checkpointing : Checkpointing
    """

    def __init__(self, checkpointing: Checkpointing) -> None:
        self._checkpointing = checkpointing
        self._next: WeakKeyDictionary[TrialBatch, float] = WeakKeyDictionary()

    def save_if_due(self, batch: TrialBatch) -> None:
        """Put the trials of a batch aside, if it is time to."""
        now = time.monotonic()
        if now >= self._next.setdefault(batch, now + self._checkpointing.first_after):
            self.save(batch)

    def save(self, batch: TrialBatch) -> None:
        """Put the trials of a batch aside as they are."""
        checkpointing, began = self._checkpointing, time.perf_counter()
        if checkpointing.off:
            return
        try:
            checkpoints = (
                (trial, Checkpoint(batch.position_of(state), batch.kind, state.dumps()))
                for trial, state in batch.seat_states()
            )
            checkpointing.files.write_batch(batch.name, checkpoints)
        except Exception as error:
            checkpointing.off = (
                f"trials in a batch cannot be put aside ({message_of(error)}): one that is "
                "interrupted starts again at its first epoch"
            )
            return
        checkpointing.pace.took(time.perf_counter() - began)
        self._next[batch] = time.monotonic() + checkpointing.pace.seconds

    def kind(self, trial: Trial) -> str:
        """Return the `TrialBatch.kind` in which a trial was put aside; empty if it was in none."""
        if trial.resumed_from is None:
            return ""
        try:
            checkpoint = self._checkpointing.files.read(trial)
        except CheckpointError:  # `resume` tells
            return ""
        return checkpoint.kind if checkpoint else ""

    def resume(self, extracted: ExtractedTrial) -> ExtractedTrial | None:
        """Return a trial that goes on from its checkpoint; None if a worker process must do so.

        Raises
        ------
        ResumeError
            If it cannot go on.
        """
        trial = extracted.trial
        try:
            checkpoint = self._checkpointing.files.read(trial)
        except CheckpointError as error:
            raise ResumeError(str(error)) from None
        if checkpoint is None or checkpoint.step != trial.resumed_step:
            raise ResumeError("its checkpoint is gone, or of another step")
        if checkpoint.kind not in KINDS:
            return None
        try:
            state = SeatState.loads(checkpoint.state, extracted.member)
        except Exception as error:
            raise ResumeError(f"its state cannot be restored ({message_of(error)})") from error
        return replace(extracted, member=state.model, resumed=state)
