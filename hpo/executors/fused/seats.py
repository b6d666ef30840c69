"""The places of trials in a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hpo.executors.fused.extract import ExtractedTrial
from hpo.executors.fused.seat_state import FoldScores
from hpo.training.cross_validation import FoldPast
from hpo.training.row_scores import RowRecorder

__all__ = ["Seat", "position"]


@dataclass
class Seat:
    """One trial in a slot of a batch."""

    extracted: ExtractedTrial
    folds: list[FoldScores]
    nth: int
    recorder: RowRecorder | None = None
    step: int = 0
    first_step: int = 0
    past: list[FoldPast] = field(default_factory=list)
    """What the first fold had at each step, where it is trained before the others."""
    screens: bool = False
    """Whether the first fold alone is in training."""

    @classmethod
    def of(
        cls, extracted: ExtractedTrial, nth: int, recorder: RowRecorder | None, *, screens: bool
    ) -> "Seat":
        """Return a seat for a trial, which begins or goes on."""
        resumed, past = extracted.resumed, list(extracted.past)
        if resumed is None:
            folds = [FoldScores() for _ in extracted.member.states]
            return cls(extracted, folds, nth, recorder, past=past, screens=screens)
        if recorder is not None and resumed.rows is not None:
            recorder.load_state(resumed.rows)
        step, past = resumed.step, list(resumed.past)
        return cls(
            extracted, list(resumed.folds), nth, recorder, step, step, past=past, screens=screens
        )

    @property
    def is_over(self) -> bool:
        """Whether the trial has made all its steps, or all its folds have ended early."""
        if self.step >= self.extracted.n_steps:
            return True
        first_is_over = self.screens or not self.past or self.past[-1].step <= self.step
        return first_is_over and all(fold.finished for fold in self.folds)

    @property
    def reported(self) -> tuple[int, int]:
        """Its last step of the first fold alone, and of all folds; 0 before the first one."""
        return (self.step, 0) if self.screens else (position(0, self.past), self.step)


def position(step: int, past: Sequence[FoldPast], *, screens: bool = False) -> int:
    """Return the `Report.position` of a step."""
    return step + (past[-1].step if past and not screens else 0)
