"""The places of trials in a batch."""

from dataclasses import dataclass

from hpo.executors.fused.extract import ExtractedTrial
from hpo.executors.fused.seat_state import FoldScores
from hpo.training.row_scores import RowRecorder

__all__ = ["Seat"]


@dataclass
class Seat:
    """One trial in a slot of a batch."""

    extracted: ExtractedTrial
    folds: list[FoldScores]
    nth: int
    recorder: RowRecorder | None = None
    step: int = 0
    first_step: int = 0

    @classmethod
    def of(cls, extracted: ExtractedTrial, nth: int, recorder: RowRecorder | None) -> "Seat":
        """Return a seat for a trial, which begins or goes on."""
        resumed = extracted.resumed
        if resumed is None:
            folds = [FoldScores() for _ in extracted.member.states]
            return cls(extracted, folds, nth, recorder)
        if recorder is not None and resumed.rows is not None:
            recorder.load_state(resumed.rows)
        return cls(extracted, list(resumed.folds), nth, recorder, resumed.step, resumed.step)

    @property
    def is_over(self) -> bool:
        """Whether the trial has made all its steps, or all its folds have ended early."""
        return self.step >= self.extracted.n_steps or all(fold.finished for fold in self.folds)
